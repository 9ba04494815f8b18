"""Settings of an evaluation. Imports no torch: Dagster's forms and the command line are made from them."""

from typing import Literal

from pydantic import Field

from preprocessing.schema import MAXIMUM_CLIP_FRAMES
from storage.settings import Settings
from training.jobs.config import ADVANCED, PRETRAINED

SplitChoice = Literal["auto", "test", "validation", "held_out_clips", "train"]


class EvaluationConfig(Settings):
    """Which run is evaluated, on which videos, and with which pretrained weights.

    Raises:
        ValueError: a value is out of its bounds.
    """

    run: str = Field(
        default="",
        description="Training run to evaluate, or starter; empty: the run trained last, else the starter",
    )
    split: SplitChoice = Field(
        default="auto",
        description="Clips to draw from: people held out for test or validation, held-out clips of people "
        "that were trained on (where no person is held out), or training clips; auto: the first of these "
        "with two clips",
    )
    self_videos: int = Field(
        default=6, ge=0, description="Self-reenactment videos: a clip drives its own first frame"
    )
    cross_videos: int = Field(
        default=6,
        ge=0,
        description="Cross-reenactment videos: four clips of other identities drive a portrait",
    )
    control_bases: int = Field(
        default=3,
        ge=0,
        description="Self-reenactments of which each control is varied alone, in four videos each",
    )
    frames: int = Field(
        default=MAXIMUM_CLIP_FRAMES, ge=1, le=MAXIMUM_CLIP_FRAMES, description="Maximum frames per video"
    )
    seed: int = Field(default=0, ge=0, description="Seed of the drawn clips", json_schema_extra=ADVANCED)
    plan_file: str = Field(
        default="",
        description="reenactment_plan.json of another evaluation to repeat; empty: draw a plan",
        json_schema_extra=ADVANCED,
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device; auto: the GPU if there is one"
    )
    syncnet_weights: str = Field(
        default="",
        description="SyncNet for LSE: syncnet_v2 (of `pdfgc weights`) or its file; empty: the lip "
        "encoders alone",
        json_schema_extra=PRETRAINED,
    )
    csim_weights: str = Field(
        default="",
        description="ArcFace for CSIM: buffalo_l (of `pdfgc weights`) or an ONNX file; empty: no CSIM",
        json_schema_extra=PRETRAINED,
    )
    lpips_weights: str = Field(
        default="",
        description="AlexNet for LPIPS: alexnet (of `pdfgc weights`) or its file; empty: no LPIPS",
        json_schema_extra=PRETRAINED,
    )
    fid_weights: str = Field(
        default="",
        description="Inception for FID: fid_inception (of `pdfgc weights`) or its file; empty: no FID",
        json_schema_extra=PRETRAINED,
    )
    face_landmarker_weights: str = Field(
        default="",
        description="Blendshapes for expression: face_landmarker (of `pdfgc weights`) or its task file; "
        "empty: no such metrics",
        json_schema_extra=PRETRAINED,
    )
    official_panels: str = Field(
        default="",
        description="Folder with the released model's published videos; empty: PDFGC_OFFICIAL_PANELS, "
        "else none",
        json_schema_extra=PRETRAINED,
    )
