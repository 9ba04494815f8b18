"""What a person chooses of a training run. Imports no torch: forms and command lines are made of it."""

from typing import Literal

from pydantic import Field

from storage.settings import Settings

PresetName = Literal["tiny_cpu", "small_gpu", "paper"]


class TrainingConfig(Settings):
    """The few things that differ from run to run; all else stands in the preset (`training/runs/`).

    Raises:
        ValueError: a value is out of its bounds.
    """

    preset: PresetName = Field(
        default="tiny_cpu",
        description="Networks, losses and schedule: tiny_cpu (64 px, minutes), small_gpu, paper",
    )
    run: str = Field(
        default="default",
        min_length=1,
        description="Name of the training run; each name keeps its own weights",
    )
    parents_run: str = Field(
        default="", description="Run whose earlier stages this one starts from; empty: the same run"
    )
    steps: int = Field(default=0, ge=0, description="Training steps; 0: the preset's")
    batch_size: int = Field(default=0, ge=0, description="Rows a process and step; 0: the preset's")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto takes the GPU where there is one"
    )
    processes: int = Field(
        default=0, ge=0, description="Training processes (DDP); 0: one a GPU, one on a CPU"
    )
    workers: int = Field(
        default=-1, ge=-1, description="Loader processes of each training process; -1: the preset's"
    )
    precision: Literal["preset", "float32", "bfloat16"] = Field(
        default="preset", description="Arithmetic of the networks (autocast)"
    )
    seed: int = Field(default=0, ge=0, description="Of weights, order and noise")
    decorrelation: bool = Field(
        default=True, description="Stage 3: keep the lips out of the expression (L_decor); False: ablation"
    )
    vgg19_weights: str = Field(
        default="",
        description="vgg19 (of `pdfgc weights`), or torchvision's file, for the perceptual loss; "
        "empty: fixed random filters",
    )
    deep3d_weights: str = Field(
        default="",
        description="deep3d_facerecon (of `pdfgc weights`), or its file, as φ (the 3-D face) in "
        "the losses of stages 1 and 3; empty: perception",
    )
    emonet_weights: str = Field(
        default="",
        description="emonet_8 or emonet_5 (of `pdfgc weights`), or its file, as ψ (emotion) in the "
        "losses of stages 1 and 3; empty: perception",
    )
    l2cs_weights: str = Field(
        default="",
        description="l2cs_gaze360 (of `pdfgc weights`), or its file, as the gaze estimator in the "
        "losses of stage 3; empty: perception",
    )
    start_from: str = Field(
        default="",
        description="pdfgc_official (of `pdfgc weights`), or a folder with the four released files: "
        "what stages 1 to 3 begin as (presets small_gpu, paper); empty: random, or the stages before",
    )
    maximum_corrupt_clips: int = Field(
        default=0, ge=0, description="Clips a process may skip as unreadable before it stops"
    )
    allow_mixed_labellers: bool = Field(
        default=False, description="Train although labels that the stage reads come of different labellers"
    )
