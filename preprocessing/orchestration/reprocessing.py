"""Which batches must be worked on again, why, and about how long that takes. Changes nothing."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from upath import UPath

from preprocessing.labellers.weights import LabellerWeights
from preprocessing.orchestration.steps import STEPS, Batch, PreprocessingSettings, why_stale
from preprocessing.sources.stored_catalog import count_missing, load_batches
from storage.publishing import Published, current
from storage.transfer import is_local

NOT_THERE: Final = "not there yet"
BUCKET_THREADS: Final = 32  # a bucket answers each small question in tens of milliseconds


@dataclass(frozen=True)
class StaleBatch:
    """A batch with work to do."""

    batch: str
    reasons: Mapping[str, str]  # step -> why; only steps that are stale of themselves, not by those above
    steps: tuple[str, ...]  # these and all that read them: what to run, in order
    seconds: float | None  # estimate for `steps`; None where one of them was never measured

    @property
    def why(self) -> str:
        """The reasons in one line."""
        return "; ".join(f"{step}: {reason}" for step, reason in self.reasons.items())


@dataclass(frozen=True)
class HeldBack:
    """A batch whose face_tracks would lose clips if made again."""

    batch: str
    reason: str
    missing_videos: int
    videos: int


@dataclass(frozen=True)
class ReprocessingPlan:
    """What to do, and what was looked at."""

    stale: tuple[StaleBatch, ...]
    held_back: tuple[HeldBack, ...]
    batches: int

    @property
    def seconds(self) -> float | None:
        """Estimate for everything, one batch after the other; None where some step was never measured."""
        parts = [batch.seconds for batch in self.stale if batch.seconds is not None]
        return sum(parts) if len(parts) == len(self.stale) else None


@dataclass(frozen=True)
class _Look:
    """What a look at one batch found."""

    batch: Batch
    made: Mapping[str, Published]
    own_reasons: Mapping[str, str]  # of every step, as if those above were up to date


def plan_reprocessing(
    root: UPath,
    settings: PreprocessingSettings,
    keys: Sequence[str] = (),
    progress: Callable[[str], None] = print,
    weights: Mapping[str, LabellerWeights] | None = None,
) -> ReprocessingPlan:
    """Look at every batch for steps whose fingerprint no longer fits, or whose files are gone or damaged.

    A batch whose videos are no longer all there keeps its `face_tracks`, even stale ones: made again, they
    would lose the clips of the missing videos. It is held back, and said so; what lies below is re-done.

    Args:
        root: from `open_root`.
        settings: that everything should be made by.
        keys: batches to look at; none for all.
        progress: takes a line now and then.
        weights: step -> the weights that its backend runs.

    Raises:
        ValueError: a key that is no batch, or a step's backend wants weights that are not given.
    """
    batches = load_batches(root)
    unknown = sorted(set(keys) - {batch.key for batch in batches})
    if unknown:
        raise ValueError(f"no such batch: {', '.join(unknown)}; `pdfgc status` lists them")
    wanted = [batch for batch in batches if not keys or batch.key in keys]
    with ThreadPoolExecutor(1 if is_local(root) else BUCKET_THREADS) as pool:
        looks = []
        for look in pool.map(lambda batch: _look(root, batch, settings, weights or {}), wanted):
            looks.append(look)
            if len(looks) % 100 == 0:
                progress(f"{len(looks)} of {len(wanted)} batches looked at")
    missing, rates = count_missing(root), _seconds_per_video(looks)
    held = [one for look in looks if (one := _held_back(look, missing.get(look.batch.key, 0))) is not None]
    kept = {one.batch for one in held}
    stale = [one for look in looks if (one := _stale(look, rates, look.batch.key in kept)) is not None]
    return ReprocessingPlan(tuple(stale), tuple(held), len(wanted))


def _look(
    root: UPath, batch: Batch, settings: PreprocessingSettings, weights: Mapping[str, LabellerWeights]
) -> _Look:
    made = {name: found for name in STEPS if (found := current(root, name, batch.key)) is not None}
    reasons = {name: why_stale(root, name, batch, settings, weights.get(name)) for name in STEPS}
    return _Look(batch, made, {name: reason for name, reason in reasons.items() if reason is not None})


def _held_back(look: _Look, missing: int) -> HeldBack | None:
    reason = look.own_reasons.get("face_tracks")
    if reason is None or reason == NOT_THERE or not missing:
        return None
    return HeldBack(look.batch.key, reason, missing, len(look.batch.videos))


def _stale(look: _Look, rates: Mapping[str, float], keep_face_tracks: bool) -> StaleBatch | None:
    steps: list[str] = []
    reasons: dict[str, str] = {}
    for name, step in STEPS.items():
        if name == "face_tracks" and keep_face_tracks:
            continue
        below_stale = any(upstream in steps for upstream in step.upstream)
        if name in look.own_reasons and not below_stale:
            reasons[name] = look.own_reasons[name]
        if name in reasons or below_stale:
            steps.append(name)
    if not steps:
        return None
    return StaleBatch(look.batch.key, reasons, tuple(steps), _estimate(look, steps, rates))


def _estimate(look: _Look, steps: Sequence[str], rates: Mapping[str, float]) -> float | None:
    """What the steps took for this batch before, else what they took elsewhere, by number of videos."""
    total = 0.0
    for name in steps:
        if name in look.made:
            total += look.made[name].manifest.seconds
        elif name in rates:
            total += rates[name] * len(look.batch.videos)
        else:
            return None
    return total


def _seconds_per_video(looks: Sequence[_Look]) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    videos: dict[str, int] = defaultdict(int)
    for look in looks:
        for name, published in look.made.items():
            seconds[name] += published.manifest.seconds
            videos[name] += len(look.batch.videos)
    return {name: seconds[name] / videos[name] for name in seconds if videos[name]}
