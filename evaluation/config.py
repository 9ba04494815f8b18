"""What a person chooses of an evaluation. Imports no torch: forms and command lines are made of it."""

from typing import Literal

from pydantic import Field

from preprocessing.schema import MAXIMUM_CLIP_FRAMES
from storage.settings import Settings

ChosenSplit = Literal["train", "validation", "test"]


class EvaluationConfig(Settings):
    """Which run is evaluated, on which videos, and with which outside weights.

    Raises:
        ValueError: a value is out of its bounds.
    """

    run: str = Field(
        default="", description="Training run whose last stage makes the videos; empty: the one trained last"
    )
    split: ChosenSplit = Field(default="test", description="Split of the data set that clips are drawn from")
    self_videos: int = Field(default=6, ge=0, description="Videos in which a clip drives its own first frame")
    cross_videos: int = Field(default=6, ge=0, description="Videos driven by four clips of other people")
    control_bases: int = Field(
        default=3, ge=0, description="Self videos of which each control is changed alone, four videos each"
    )
    frames: int = Field(
        default=MAXIMUM_CLIP_FRAMES, ge=1, le=MAXIMUM_CLIP_FRAMES, description="Frames of a video at most"
    )
    seed: int = Field(default=0, ge=0, description="Of the draw of clips")
    protocol_file: str = Field(
        default="",
        description="reenactment_plan.json of another evaluation, to be made again; empty: draw one",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto takes the GPU where there is one"
    )
    syncnet_weights: str = Field(
        default="",
        description="syncnet_v2 (of `pdfgc weights`), or its file, for LSE; empty: lip encoders alone",
    )
    csim_weights: str = Field(
        default="",
        description="buffalo_l (of `pdfgc weights`), or an ArcFace ONNX file; empty: CSIM is missing",
    )
    lpips_weights: str = Field(
        default="", description="alexnet (of `pdfgc weights`), or its file; empty: LPIPS is missing"
    )
    fid_weights: str = Field(
        default="", description="fid_inception (of `pdfgc weights`), or its file; empty: FID is missing"
    )
    face_landmarker_weights: str = Field(
        default="",
        description="face_landmarker (of `pdfgc weights`), or its task file, for expression by "
        "blendshapes; empty: these rows are missing",
    )
    official_panels: str = Field(
        default="",
        description="Folder of the released model's published panel videos; empty: "
        "PDFGC_OFFICIAL_PANELS, else none",
    )
