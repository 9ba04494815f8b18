"""What every step cost over all batches, from the manifests: the figures of `pdfgc status`."""

from collections.abc import Sequence
from dataclasses import dataclass

from upath import UPath

from preprocessing.orchestration.step_costs import step_cost
from preprocessing.orchestration.steps import STEPS
from storage.publishing import current


@dataclass(frozen=True)
class StepTotal:
    """One step over all batches that have it."""

    step: str
    batches: int
    seconds: float
    frames_per_second: float | None  # None where the step counts no frames
    cpu_milliseconds_per_frame: float | None
    peak_memory_mebibytes: float  # the largest of all batches; 0: not measured
    refused_share: float | None  # mean over batches; None where the step refuses nothing
    finished_at: str  # the newest, UTC, ISO 8601; empty where nothing is made


def step_totals(root: UPath, keys: Sequence[str]) -> list[StepTotal]:
    """A row a step, in their order."""
    return [_total(root, step, keys) for step in STEPS]


def _total(root: UPath, step: str, keys: Sequence[str]) -> StepTotal:
    manifests = [found.manifest for key in keys if (found := current(root, step, key)) is not None]
    costs = [step_cost(manifest) for manifest in manifests]
    frames = sum(cost.frames for cost in costs)
    seconds = sum(cost.seconds for cost in costs)
    shares = [cost.refused_share for cost in costs if cost.refused_share is not None]
    return StepTotal(
        step=step,
        batches=len(costs),
        seconds=seconds,
        frames_per_second=frames / seconds if frames and seconds else None,
        cpu_milliseconds_per_frame=1000 * sum(cost.cpu_seconds for cost in costs) / frames
        if frames
        else None,
        peak_memory_mebibytes=max((cost.peak_memory_mebibytes for cost in costs), default=0.0),
        refused_share=sum(shares) / len(shares) if shares else None,
        finished_at=max((manifest.finished_at for manifest in manifests), default=""),
    )
