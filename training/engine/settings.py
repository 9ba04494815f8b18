"""How a stage is optimised and how its loop runs, whatever the stage."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class OptimiserSettings:
    """Adam with a rate that falls in steps.

    Defaults: left over in the official code, unverified as the paper's.

    Raises:
        ValueError: a value is out of its bounds.
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = 1e-3  # L2, added to the gradient as `torch.optim.Adam` does
    decay_every_steps: int = 80_000
    decay_factor: float = 0.93

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or self.weight_decay < 0 or self.decay_every_steps < 1:
            raise ValueError(f"{self}: the rate must be above 0, decay not below 0, its steps at least 1")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step; a function of the step alone, so a resumed run has the same."""
        return self.learning_rate * self.decay_factor ** (step // self.decay_every_steps)


@dataclass(frozen=True)
class LoopSettings:
    """What decides the weights that come out, beside the stage's own settings."""

    steps: int
    batch_size: int  # rows a process
    precision: Precision = "float32"
    gradient_clip_norm: float = 0.0  # 0: none
    average_decay: float = 0.999  # EMA of the generator; reached slowly, see `training.engine.ema`
    channels_last: bool = True
    compiled: bool = False  # torch.compile
    seed: int = 0
    maximum_corrupt_clips: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.gradient_clip_norm < 0:
            raise ValueError(f"{self}: steps and batch_size are at least 1, gradient_clip_norm at least 0")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay is {self.average_decay}, need 0 to below 1")


@dataclass(frozen=True)
class Cadence:
    """When the loop tells, saves and looks; none of it changes the weights."""

    log_every_steps: int = 10
    checkpoint_every_steps: int = 200
    checkpoints_kept: int = 2
    samples_every_steps: int = 200
    held_out_every_steps: int = 0  # 0: at the end alone
    held_out_rows: int = 512  # at most, of the validation split
    finite_check_every_steps: int = 1  # 1 waits for the GPU at every step; the keys of all are kept
    workers: int = 1  # loader processes
    prefetch_batches: int = 4

    def __post_init__(self) -> None:
        least = (
            self.log_every_steps,
            self.checkpoint_every_steps,
            self.checkpoints_kept,
            self.samples_every_steps,
            self.held_out_rows,
            self.finite_check_every_steps,
            self.prefetch_batches,
        )
        if min(least) < 1 or self.held_out_every_steps < 0 or self.workers < 0:
            raise ValueError(f"{self}: held_out_every_steps and workers are at least 0, all else at least 1")
