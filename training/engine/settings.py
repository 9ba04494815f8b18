"""How a stage is optimised and how its loop runs, whatever the stage."""

from typing import Literal

from pydantic import Field

from storage.settings import Settings

Precision = Literal["float32", "bfloat16"]


class OptimiserSettings(Settings):
    """Adam with a rate that falls in steps.

    Defaults: left over in the official code, unverified as the paper's.

    Raises:
        ValueError: a value is out of its bounds.
    """

    learning_rate: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = Field(
        default=1e-3, ge=0, description="L2, added to the gradient as `torch.optim.Adam` does"
    )
    decay_every_steps: int = Field(default=80_000, ge=1)
    decay_factor: float = Field(default=0.93, gt=0)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step; a function of the step alone, so a resumed run has the same."""
        return self.learning_rate * self.decay_factor ** (step // self.decay_every_steps)


class LoopSettings(Settings):
    """What decides the weights that come out, beside the stage's own settings."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1, description="Rows a process")
    precision: Precision = "float32"
    gradient_clip_norm: float = Field(default=0.0, ge=0, description="0: none")
    average_decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="EMA of the generator; reached slowly, see `training.engine.ema`",
    )
    channels_last: bool = True
    compiled: bool = Field(default=False, description="Torch.compile")
    seed: int = Field(default=0, ge=0)
    maximum_corrupt_clips: int = Field(default=0, ge=0)


class Cadence(Settings):
    """When the loop tells, saves and looks; none of it changes the weights."""

    log_every_steps: int = Field(default=10, ge=1)
    checkpoint_every_steps: int = Field(default=200, ge=1)
    checkpoints_kept: int = Field(default=2, ge=1)
    samples_every_steps: int = Field(default=200, ge=1)
    held_out_every_steps: int = Field(default=0, ge=0, description="0: at the end alone")
    held_out_rows: int = Field(default=512, ge=1, description="At most, of the validation split")
    finite_check_every_steps: int = Field(
        default=1, ge=1, description="1 waits for the GPU at every step; the keys of all are kept"
    )
    workers: int = Field(default=1, ge=0, description="Loader processes")
    prefetch_batches: int = Field(default=4, ge=1)
