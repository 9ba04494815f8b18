"""What a step costs and how much it refuses, from manifests: of one build, and over all batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from upath import UPath

from preprocessing.orchestration.steps import STEPS
from storage.manifest import Manifest
from storage.publishing import current

KEPT: Final[Mapping[str, str]] = {
    "face_tracks": "candidates",
    "clips": "clips",
    "lip_sync_scores": "scored",
    "eye_anchors": "anchors",
    "shards": "samples",
    "dataset": "samples",
}
"""Asset -> the count of what it kept, next to its refusals."""


@dataclass(frozen=True)
class StepCost:
    """Cost of one build."""

    seconds: float
    cpu_seconds: float
    peak_memory_mebibytes: float  # 0: not measured
    frames: int | float  # 0 if the step counts none
    refused_share: float | None  # refused / (kept + refused); None if neither was counted

    @property
    def frames_per_second(self) -> float | None:
        """Frames processed a second; None if the step counts none."""
        return self.frames / self.seconds if self.frames and self.seconds else None

    @property
    def cpu_milliseconds_per_frame(self) -> float | None:
        """CPU time a frame; None if the step counts none."""
        return 1000 * self.cpu_seconds / self.frames if self.frames else None


@dataclass(frozen=True)
class StepTotal:
    """Cost of a step over all batches."""

    step: str
    batches: int
    seconds: float
    frames_per_second: float | None  # None if the step counts no frames
    cpu_milliseconds_per_frame: float | None
    peak_memory_mebibytes: float  # maximum over batches; 0: not measured
    refused_share: float | None  # mean over batches; None if the step refuses nothing
    finished_at: str  # of the last build, UTC, ISO 8601; empty if there is none


def step_cost(manifest: Manifest) -> StepCost:
    """The cost of a manifest's build."""
    refused = sum(manifest.refusals.values())
    total = refused + manifest.counts.get(KEPT.get(manifest.asset, ""), 0)
    return StepCost(
        manifest.seconds,
        manifest.cpu_seconds,
        manifest.peak_memory_mebibytes,
        manifest.counts.get("frames", 0),
        refused / total if total else None,
    )


def step_totals(root: UPath, keys: Sequence[str]) -> list[StepTotal]:
    """A total for each step of `STEPS`, over the batches that have it."""
    return [_total(root, step, keys) for step in STEPS]


def _total(root: UPath, step: str, keys: Sequence[str]) -> StepTotal:
    manifests = [published.manifest for key in keys if (published := current(root, step, key)) is not None]
    costs = [step_cost(manifest) for manifest in manifests]
    frames = sum(cost.frames for cost in costs)
    seconds = sum(cost.seconds for cost in costs)
    cpu_seconds = sum(cost.cpu_seconds for cost in costs)
    shares = [cost.refused_share for cost in costs if cost.refused_share is not None]
    return StepTotal(
        step=step,
        batches=len(costs),
        seconds=seconds,
        frames_per_second=frames / seconds if frames and seconds else None,
        cpu_milliseconds_per_frame=1000 * cpu_seconds / frames if frames else None,
        peak_memory_mebibytes=max((cost.peak_memory_mebibytes for cost in costs), default=0.0),
        refused_share=sum(shares) / len(shares) if shares else None,
        finished_at=max((manifest.finished_at for manifest in manifests), default=""),
    )
