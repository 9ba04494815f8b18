"""The configuration of a training run. Imports no torch: forms and options are made from it."""

from typing import Final, Literal

from pydantic import Field, JsonValue, model_validator

from storage.settings import Settings

STARTER_NAME: Final = "starter"
"""Name of the model in `weights/starter`, which no training run can have."""
EXPORTED_SUFFIX: Final = ".safetensors"
"""Of exported models, `pdfgc export`."""
PRETRAINED: Final[dict[str, JsonValue]] = {"form_group": "pretrained"}
ADVANCED: Final[dict[str, JsonValue]] = {"form_group": "advanced"}
PresetName = Literal["tiny_cpu", "starter", "small_gpu", "paper"]


class TrainingConfig(Settings):
    """What differs from run to run; everything else is set by the preset (`training/runs/`)."""

    preset: PresetName = Field(
        default="tiny_cpu",
        description="Networks, losses and schedule; tiny_cpu trains at 64 px in minutes",
    )
    run: str = Field(
        default="default",
        min_length=1,
        description="Name of the training run; each run has its own weights",
    )
    parents_run: str = Field(
        default="", description="Run whose earlier stages to start from; empty: the same run"
    )
    # Numbers, not None, which the launchpad would leave out.
    steps: int | None = Field(default=0, ge=0, description="Training steps; 0: the preset's")
    batch_size: int | None = Field(
        default=0, ge=0, description="Samples per process and step; 0: the preset's"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device; auto: the GPU if there is one"
    )
    processes: int = Field(
        default=0,
        ge=0,
        description="Training processes (DDP); 0: one per GPU, or one on the CPU",
        json_schema_extra=ADVANCED,
    )
    workers: int | None = Field(
        default=-1,
        ge=-1,
        description="Data loader workers per training process; -1: the preset's",
        json_schema_extra=ADVANCED,
    )
    precision: Literal["preset", "float32", "bfloat16"] = Field(
        default="preset",
        description="Precision of the networks (autocast)",
        json_schema_extra=ADVANCED,
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Seed of weights, sample order and noise",
        json_schema_extra=ADVANCED,
    )
    appearance_path: Literal["preset", "map", "warp"] = Field(
        default="preset",
        description="How identity reaches the generator. map: an appearance map and code, as released; warp: "
        "also the portrait itself, warped (ours); preset: paper map, the others warp",
        json_schema_extra=ADVANCED,
    )
    decorrelation: bool = Field(
        default=True,
        description="Stage 3: decorrelate lips and expression (L_decor)",
        json_schema_extra=ADVANCED,
    )
    vgg19_weights: str = Field(
        default="",
        description="VGG-19 of the perceptual loss: vgg19 (of `pdfgc weights`) or torchvision's file; "
        "random: fixed random filters, with tiny_cpu also if empty; small_gpu and paper need a value",
        json_schema_extra=PRETRAINED,
    )
    deep3d_weights: str = Field(
        default="",
        description="φ (3D face) in the losses of stages 1 and 3: deep3d_facerecon (of `pdfgc weights`) "
        "or its file; empty: the stage's face reader",
        json_schema_extra=PRETRAINED,
    )
    emonet_weights: str = Field(
        default="",
        description="ψ (emotion) in the losses of stages 1 and 3: emonet_8 or emonet_5 (of `pdfgc "
        "weights`) or its file; empty: the stage's face reader",
        json_schema_extra=PRETRAINED,
    )
    l2cs_weights: str = Field(
        default="",
        description="Gaze estimator in the losses of stage 3: l2cs_gaze360 (of `pdfgc weights`) or its "
        "file; empty: the stage's face reader",
        json_schema_extra=PRETRAINED,
    )
    appearance_weights: str = Field(
        default="",
        description="Initial trunk of stage 1's appearance encoder (presets small_gpu, paper): resnext50 (of "
        "`pdfgc weights`) or torchvision's file; empty: random. Unverified: the official code's left-over "
        "configuration has one, of which network is unknown",
        json_schema_extra=PRETRAINED,
    )
    start_from: str = Field(
        default="",
        description="Initial weights. starter, or a .safetensors file of `pdfgc export`: of every stage, "
        "with the preset that it was trained with (starter, for the starter model). pdfgc_official (of "
        "`pdfgc weights`) or a folder with the four released files: of stages 1 to 3, with presets "
        "small_gpu and paper. Empty: random, or the earlier stages",
        json_schema_extra=PRETRAINED,
    )
    maximum_corrupt_clips: int = Field(
        default=0,
        ge=0,
        description="Unreadable clips that a process skips before it fails",
        json_schema_extra=ADVANCED,
    )
    allow_mixed_labellers: bool = Field(
        default=False,
        description="Train even if the labels that a stage reads come from different labellers",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _check_run(self) -> "TrainingConfig":
        if self.run == STARTER_NAME:
            raise ValueError(f"run must not be {STARTER_NAME!r}, the name of the starter model")
        return self
