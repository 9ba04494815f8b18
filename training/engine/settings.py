"""How any stage is optimised and logged."""

from typing import Final, Literal

from pydantic import Field

from storage.settings import Settings

Precision = Literal["float32", "bfloat16"]


class OptimizerSettings(Settings):
    """Adam with a step-wise decaying learning rate.

    Defaults: found unused in the official code; unverified as the paper's.
    """

    learning_rate: float = Field(default=1e-4, gt=0, description="Initial learning rate")
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = Field(
        default=1e-3, ge=0, description="L2 penalty added to the gradient, as in `torch.optim.Adam`"
    )
    decay_every_steps: int = Field(
        default=80_000, ge=1, description="Steps between decays of the learning rate"
    )
    decay_factor: float = Field(default=0.93, gt=0, description="Factor of each decay")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step; a function of the step alone, so that a resumed run has the same."""
        return self.learning_rate * self.decay_factor ** (step // self.decay_every_steps)


GENERATOR_OPTIMIZER: Final = OptimizerSettings(learning_rate=2e-3, weight_decay=0.0)
"""StyleGAN2's rate for weights of unit variance, scaled in use: Adam moves a weight by about the rate at each
step, and in a run it must be able to move by its own size. The official code's rate of 1e-4 and decay of 1e-3
belong to its Gaussian initialisation of deviation 0.02. On unit-variance weights that decay is about thirty
times the gradient of the columns that read the small codes, and erases them (docs/training.md)."""
DISCRIMINATOR_OPTIMIZER: Final = OptimizerSettings(weight_decay=0.0)
"""Spectral normalisation makes the weights' scale, which is what decay changes, irrelevant."""


class TrainerSettings(Settings):
    """What decides the trained weights, beside the stage's own settings."""

    steps: int = Field(ge=1, description="Training steps")
    batch_size: int = Field(ge=1, description="Samples per process and step")
    precision: Precision = "float32"
    gradient_clip_norm: float = Field(
        default=0.0, ge=0, description="Maximum norm of the gradient; 0: no clipping"
    )
    ema_decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="EMA decay of the averaged networks; warmed up, see `training.engine.ema`",
    )
    gather_over_ranks: bool = Field(
        default=False,
        description="Several processes train as one with all their rows: negatives of the batch, memory "
        "banks and batch normalisation are those of all processes. Off: each process has its own",
    )
    channels_last: bool = True
    compiled: bool = Field(default=False, description="Use torch.compile")
    seed: int = Field(default=0, ge=0, description="Seed of weights, sample order and noise")
    maximum_corrupt_clips: int = Field(
        default=0, ge=0, description="Unreadable clips that a process skips before it fails"
    )


class LoggingConfig(Settings):
    """How often a run logs, saves and evaluates; none of it changes the trained weights."""

    log_every_steps: int = Field(default=10, ge=1, description="Steps between logged losses")
    checkpoint_every_steps: int = Field(default=200, ge=1, description="Steps between checkpoints")
    checkpoint_every_minutes: float = Field(
        default=10.0, gt=0, description="Also a checkpoint when the last one is this old"
    )
    checkpoints_kept: int = Field(default=2, ge=1, description="Checkpoints kept, the latest")
    samples_every_steps: int = Field(default=200, ge=1, description="Steps between sample grids")
    held_out_every_steps: int = Field(
        default=0, ge=0, description="Steps between held-out evaluations; 0: at the end only"
    )
    held_out_rows: int = Field(
        default=512, ge=1, description="Maximum number of validation samples of a held-out evaluation"
    )
    finite_check_every_steps: int = Field(
        default=1,
        ge=1,
        description="Steps between checks for NaN and infinity; 1 synchronises with the GPU every step",
    )
    workers: int = Field(default=1, ge=0, description="Data loader workers")
    prefetch_batches: int = Field(default=4, ge=1, description="Batches prefetched per worker")
