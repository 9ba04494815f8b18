"""Settings of `pdfgc referee`. Imports no torch: the command line is made from them."""

from typing import Literal

from pydantic import Field

from storage.settings import Settings

Framing = Literal["auto", "whole", "aligned"]


class RefereeConfig(Settings):
    """How videos of any program are measured, and with which pretrained weights."""

    framing: Framing = Field(
        default="auto",
        description="whole: square pictures of one face as they are; aligned: the face is followed and cut "
        "out as in the data set, which names every metric `aligned`; auto: whole if all pictures are square",
    )
    seconds: float = Field(
        default=10.0, gt=0, le=60, description="What is measured of each video, from its beginning"
    )
    lip_encoders: str = Field(
        default="starter",
        description="Run whose lip encoders score lip sync (protocol crop); empty: SyncNet alone",
    )
    syncnet_weights: str = Field(
        default="", description="SyncNet for LSE: syncnet_v2 (of `pdfgc weights`) or its file; empty: none"
    )
    csim_weights: str = Field(
        default="",
        description="ArcFace for CSIM: buffalo_l (of `pdfgc weights`) or an ONNX file; empty: none",
    )
    lpips_weights: str = Field(
        default="", description="AlexNet for LPIPS: alexnet (of `pdfgc weights`) or its file; empty: none"
    )
    fid_weights: str = Field(
        default="",
        description="Inception for FID: fid_inception (of `pdfgc weights`) or its file; empty: none",
    )
    face_landmarker_weights: str = Field(
        default="",
        description="Blendshapes for expression: face_landmarker (of `pdfgc weights`) or its task file; "
        "empty: none",
    )
