"""What a person chooses of a training run. Imports no torch: forms and command lines are made of it."""

from dataclasses import dataclass, field
from typing import Literal

from storage.settings import setting

PresetName = Literal["tiny_cpu", "small_gpu", "paper"]


@dataclass(frozen=True)
class TrainingChoice:
    """The few things that differ from run to run; all else stands in the preset (`training/runs/`).

    Raises:
        ValueError: a value is out of its bounds.
    """

    preset: PresetName = field(
        default="tiny_cpu",
        metadata={
            "description": "Networks, losses and schedule: tiny_cpu (64 px, minutes), small_gpu, paper"
        },
    )
    run: str = field(
        default="default",
        metadata={"description": "Name of the training run; each name keeps its own weights"},
    )
    parents_run: str = field(
        default="",
        metadata={"description": "Run whose earlier stages this one starts from; empty: the same run"},
    )
    steps: int = field(default=0, metadata={"description": "Training steps; 0: the preset's", "minimum": 0})
    batch_size: int = field(
        default=0, metadata={"description": "Rows a process and step; 0: the preset's", "minimum": 0}
    )
    device: Literal["auto", "cpu", "cuda"] = field(
        default="auto", metadata={"description": "auto takes the GPU where there is one"}
    )
    processes: int = field(
        default=0,
        metadata={"description": "Training processes (DDP); 0: one a GPU, one on a CPU", "minimum": 0},
    )
    workers: int = field(
        default=-1,
        metadata={
            "description": "Loader processes of each training process; -1: the preset's",
            "minimum": -1,
        },
    )
    precision: Literal["preset", "float32", "bfloat16"] = field(
        default="preset", metadata={"description": "Arithmetic of the networks (autocast)"}
    )
    seed: int = field(default=0, metadata={"description": "Of weights, order and noise", "minimum": 0})
    decorrelation: bool = field(
        default=True,
        metadata={"description": "Stage 3: keep the lips out of the expression (L_decor); False: ablation"},
    )
    vgg19_weights: str = field(
        default="",
        metadata={
            "description": "vgg19 (of `pdfgc weights`), or torchvision's file, for the perceptual loss; "
            "empty: fixed random filters"
        },
    )
    deep3d_weights: str = field(
        default="",
        metadata={
            "description": "deep3d_facerecon (of `pdfgc weights`), or its file, as φ (the 3-D face) in "
            "the losses of stages 1 and 3; empty: perception"
        },
    )
    emonet_weights: str = field(
        default="",
        metadata={
            "description": "emonet_8 or emonet_5 (of `pdfgc weights`), or its file, as ψ (emotion) in the "
            "losses of stages 1 and 3; empty: perception"
        },
    )
    l2cs_weights: str = field(
        default="",
        metadata={
            "description": "l2cs_gaze360 (of `pdfgc weights`), or its file, as the gaze estimator in the "
            "losses of stage 3; empty: perception"
        },
    )
    start_from: str = field(
        default="",
        metadata={
            "description": "pdfgc_official (of `pdfgc weights`), or a folder with the four released files: "
            "what stages 1 to 3 begin as (presets small_gpu, paper); empty: random, or the stages before"
        },
    )
    maximum_corrupt_clips: int = field(
        default=0,
        metadata={"description": "Clips a process may skip as unreadable before it stops", "minimum": 0},
    )
    allow_mixed_labellers: bool = setting(
        False, "Train although labels that the stage reads come of different labellers"
    )

    def __post_init__(self) -> None:
        counts = {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "processes": self.processes,
            "seed": self.seed,
            "maximum_corrupt_clips": self.maximum_corrupt_clips,
        }
        wrong = {name: value for name, value in counts.items() if value < 0}
        if wrong or self.workers < -1:
            raise ValueError(f"these must be 0 or more (workers: -1 or more): {wrong or self.workers}")
        if not self.run:
            raise ValueError("the training run needs a name")
