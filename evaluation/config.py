"""What a person chooses of an evaluation. Imports no torch: forms and command lines are made of it."""

from dataclasses import dataclass, field
from typing import Literal

from preprocessing.schema import MAXIMUM_CLIP_FRAMES

ChosenSplit = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class EvaluationChoice:
    """Which run is evaluated, on which videos, and with which outside weights.

    Raises:
        ValueError: a value is out of its bounds.
    """

    run: str = field(
        default="",
        metadata={
            "description": "Training run whose last stage makes the videos; empty: the one trained last"
        },
    )
    split: ChosenSplit = field(
        default="test", metadata={"description": "Split of the data set that clips are drawn from"}
    )
    self_videos: int = field(
        default=6,
        metadata={"description": "Videos in which a clip drives its own first frame", "minimum": 0},
    )
    cross_videos: int = field(
        default=6,
        metadata={"description": "Videos driven by four clips of other people", "minimum": 0},
    )
    control_bases: int = field(
        default=3,
        metadata={
            "description": "Self videos of which each control is changed alone, four videos each",
            "minimum": 0,
        },
    )
    frames: int = field(
        default=MAXIMUM_CLIP_FRAMES,
        metadata={
            "description": "Frames of a video at most",
            "minimum": 1,
            "maximum": MAXIMUM_CLIP_FRAMES,
        },
    )
    seed: int = field(default=0, metadata={"description": "Of the draw of clips", "minimum": 0})
    protocol_file: str = field(
        default="",
        metadata={
            "description": "reenactment_plan.json of another evaluation, to be made again; empty: draw one"
        },
    )
    device: Literal["auto", "cpu", "cuda"] = field(
        default="auto", metadata={"description": "auto takes the GPU where there is one"}
    )
    syncnet_weights: str = field(
        default="",
        metadata={
            "description": "syncnet_v2 (of `pdfgc weights`), or its file, for LSE; empty: lip encoders alone"
        },
    )
    csim_weights: str = field(
        default="",
        metadata={
            "description": "buffalo_l (of `pdfgc weights`), or an ArcFace ONNX file; empty: CSIM is missing"
        },
    )
    lpips_weights: str = field(
        default="",
        metadata={"description": "alexnet (of `pdfgc weights`), or its file; empty: LPIPS is missing"},
    )
    fid_weights: str = field(
        default="",
        metadata={"description": "fid_inception (of `pdfgc weights`), or its file; empty: FID is missing"},
    )
    face_landmarker_weights: str = field(
        default="",
        metadata={
            "description": "face_landmarker (of `pdfgc weights`), or its task file, for expression by "
            "blendshapes; empty: these rows are missing"
        },
    )
    official_panels: str = field(
        default="",
        metadata={
            "description": "Folder of the released model's published panel videos; empty: "
            "PDFGC_OFFICIAL_PANELS, else none"
        },
    )

    def __post_init__(self) -> None:
        counts = {
            "self_videos": self.self_videos,
            "cross_videos": self.cross_videos,
            "control_bases": self.control_bases,
            "seed": self.seed,
        }
        wrong = {name: value for name, value in counts.items() if value < 0}
        if wrong or not 1 <= self.frames <= MAXIMUM_CLIP_FRAMES:
            raise ValueError(
                f"these must be 0 or more: {wrong}; frames is {self.frames}, need 1 to {MAXIMUM_CLIP_FRAMES}"
            )
