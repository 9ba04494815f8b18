"""What a step cost and how much it refused: from a manifest, for the UI, the terminal and estimates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from storage.manifest import Manifest

KEPT: Final[Mapping[str, str]] = {
    "face_tracks": "candidates",
    "clips": "clips",
    "lip_sync_scores": "scored",
    "eye_anchors": "anchors",
    "shards": "samples",
    "dataset": "samples",
}
"""Which count tells what a step kept; its refusals stand beside it."""


@dataclass(frozen=True)
class StepCost:
    """One build of a step."""

    seconds: float
    cpu_seconds: float
    peak_memory_mebibytes: float  # 0: not measured
    frames: int | float  # 0 where the step counts none
    refused_share: float | None  # of kept and refused together; None where neither was counted

    @property
    def frames_per_second(self) -> float | None:
        """Frames that the step came through a second; None where it counts none."""
        return self.frames / self.seconds if self.frames and self.seconds else None

    @property
    def cpu_milliseconds_per_frame(self) -> float | None:
        """CPU time of a frame; None where the step counts none."""
        return 1000 * self.cpu_seconds / self.frames if self.frames else None


def step_cost(manifest: Manifest) -> StepCost:
    """The cost of the build that a manifest tells of."""
    refused = sum(manifest.refusals.values())
    total = refused + manifest.counts.get(KEPT.get(manifest.asset, ""), 0)
    return StepCost(
        manifest.seconds,
        manifest.cpu_seconds,
        manifest.peak_memory_mebibytes,
        manifest.counts.get("frames", 0),
        refused / total if total else None,
    )
