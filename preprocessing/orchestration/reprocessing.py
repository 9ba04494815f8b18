"""The reprocessing plan: which batches are stale, why, and about how long their steps take.

`plan_reprocessing` only reads. `save_plan` writes the plan under the root for whoever carries it out.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from upath import UPath

from preprocessing.orchestration.chosen_settings import Changes, read_chosen
from preprocessing.orchestration.step import VideoBatch
from preprocessing.orchestration.steps import (
    STEPS,
    TO_TRY_AGAIN,
    PreprocessingSettings,
    resolve_step_weights,
    why_stale,
)
from preprocessing.sources.stored_catalog import count_missing, load_batches
from storage.integrity.faults import Fault
from storage.integrity.sealed_json import is_sealed, read_sealed, sealed
from storage.objects import is_local, read_bytes, write_bytes
from storage.publishing import Published, current
from weights.resolve import ResolvedWeights

PLAN_FIELDS: Final = ("name", "batches", "changes")
PLAN_AGAIN: Final = "remove it; the job reprocess_stale writes it again"
NOT_THERE: Final = "not there yet"
BATCHES_LISTED: Final = 20  # in errors
BUCKET_THREADS: Final = 32  # each small request to a bucket takes tens of milliseconds
PLAN_FOLDER: Final = "operations"
PLAN_NAME: Final = "reprocessing_plan.json"
DRY_RUN_NAME: Final = "reprocessing_dry_run.json"  # must not replace a plan that is being carried out

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StaleBatch:
    """A batch with steps to run."""

    batch: str
    reasons: Mapping[str, str]  # step -> why; without steps stale only through upstream steps
    steps: tuple[str, ...]  # these and everything downstream, in the order to run
    seconds: float | None  # estimate for `steps`; None if one of them was never measured

    @property
    def why(self) -> str:
        """The reasons in one line."""
        return "; ".join(f"{step}: {reason}" for step, reason in self.reasons.items())


@dataclass(frozen=True)
class HeldBack:
    """A batch with missing videos, whose stale `face_tracks` would lose clips if rebuilt."""

    batch: str
    reason: str
    missing_videos: int
    videos: int


@dataclass(frozen=True)
class ReprocessingPlan:
    """Stale batches of those that were examined."""

    stale: tuple[StaleBatch, ...]
    held_back: tuple[HeldBack, ...]
    batches: int  # examined

    @property
    def seconds(self) -> float | None:
        """Estimate for all batches in sequence; None if a step was never measured."""
        parts = [batch.seconds for batch in self.stale if batch.seconds is not None]
        return sum(parts) if len(parts) == len(self.stale) else None


@dataclass(frozen=True)
class _BatchState:
    """What is published of a batch, and why its steps are stale."""

    batch: VideoBatch
    published: Mapping[str, Published]
    reasons: Mapping[str, str]  # of every stale step, as if its upstream steps were current


def plan_reprocessing(
    root: UPath, settings: PreprocessingSettings, keys: Sequence[str] = (), *, changes: Changes | None = None
) -> ReprocessingPlan:
    """Find the batches with steps whose fingerprint changed, or whose files are missing or damaged.

    A batch with missing videos keeps its `face_tracks`, even if they are stale: rebuilt, they would lose the
    clips of those videos. It is listed as held back; its steps downstream are still planned.

    Args:
        root: from `open_root`.
        settings: of the deployment; those that were chosen for all or some batches (`chosen_settings`) count
            over them.
        keys: batches to examine; empty for all.
        changes: of this plan alone; they count over all others.

    Raises:
        FileNotFoundError: weights of a step's backend do not exist.
        ValueError: an unknown batch, or weights that cannot be used.
    """
    batches = load_batches(root)
    unknown = sorted(set(keys) - {batch.key for batch in batches})
    if unknown:
        known = ", ".join(batch.key for batch in batches[:BATCHES_LISTED])
        more = ", …" if len(batches) > BATCHES_LISTED else ""
        raise ValueError(f"no batch {', '.join(unknown)} under {root}; available: {known or 'none'}{more}")
    examined = [batch for batch in batches if not keys or batch.key in keys]
    chosen = read_chosen(root)
    settings_of = {batch.key: chosen.of(batch.key, settings, changes) for batch in examined}
    weights_of = {one: resolve_step_weights(one) for one in set(settings_of.values())}
    states: list[_BatchState] = []
    with ThreadPoolExecutor(1 if is_local(root) else BUCKET_THREADS) as pool:
        for state in pool.map(
            lambda batch: _examine(root, batch, settings_of[batch.key], weights_of[settings_of[batch.key]]),
            examined,
        ):
            states.append(state)
            if len(states) % 100 == 0:
                logger.info("Examined %d of %d batches", len(states), len(examined))
    missing, rates = count_missing(root), _seconds_per_video(states)
    held_back = [
        held for state in states if (held := _held_back(state, missing.get(state.batch.key, 0))) is not None
    ]
    kept = {held.batch for held in held_back}
    stale = [
        batch for state in states if (batch := _stale(state, rates, state.batch.key in kept)) is not None
    ]
    return ReprocessingPlan(tuple(stale), tuple(held_back), len(examined))


def _examine(
    root: UPath, batch: VideoBatch, settings: PreprocessingSettings, weights: Mapping[str, ResolvedWeights]
) -> _BatchState:
    published = {name: found for name in STEPS if (found := current(root, name, batch.key)) is not None}
    reasons = {name: why_stale(root, name, batch, settings, weights.get(name)) for name in STEPS}
    return _BatchState(
        batch, published, {name: reason for name, reason in reasons.items() if reason is not None}
    )


def _held_back(state: _BatchState, missing: int) -> HeldBack | None:
    reason = state.reasons.get("face_tracks")
    if reason is None or reason == NOT_THERE or reason.endswith(TO_TRY_AGAIN) or not missing:
        return None
    return HeldBack(state.batch.key, reason, missing, len(state.batch.videos))


def _stale(state: _BatchState, rates: Mapping[str, float], keep_face_tracks: bool) -> StaleBatch | None:
    steps: list[str] = []
    reasons: dict[str, str] = {}
    for name, step in STEPS.items():
        if name == "face_tracks" and keep_face_tracks:
            continue
        upstream_stale = any(upstream in steps for upstream in step.upstream)
        if name in state.reasons and not upstream_stale:
            reasons[name] = state.reasons[name]
        if name in reasons or upstream_stale:
            steps.append(name)
    if not steps:
        return None
    return StaleBatch(state.batch.key, reasons, tuple(steps), _estimate(state, steps, rates))


def _estimate(state: _BatchState, steps: Sequence[str], rates: Mapping[str, float]) -> float | None:
    """The steps' last duration for this batch, or else their mean per video in other batches."""
    total = 0.0
    for name in steps:
        if name in state.published:
            total += state.published[name].manifest.seconds
        elif name in rates:
            total += rates[name] * len(state.batch.videos)
        else:
            return None
    return total


def _seconds_per_video(states: Sequence[_BatchState]) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    videos: dict[str, int] = defaultdict(int)
    for state in states:
        for name, published in state.published.items():
            seconds[name] += published.manifest.seconds
            videos[name] += len(state.batch.videos)
    return {name: seconds[name] / videos[name] for name in seconds if videos[name]}


@dataclass(frozen=True)
class PlannedBatch:
    """Steps to run for one batch."""

    batch: str
    why: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class SavedPlan:
    """A plan as saved. The next one replaces it and contains whatever was not started."""

    name: str  # of the Dagster run that made it
    batches: tuple[PlannedBatch, ...]
    changes: Changes = field(default_factory=dict)  # settings of this plan alone, which its runs are given


def save_plan(
    root: UPath, name: str, plan: ReprocessingPlan, changes: Changes | None = None, *, dry_run: bool
) -> UPath:
    """Write a plan, replacing the last one of its kind (real or dry run); returns the file.

    `changes` are the settings that it was made with and that its runs must have.
    """
    batches = tuple(PlannedBatch(batch.batch, batch.why, batch.steps) for batch in plan.stale)
    path = root / PLAN_FOLDER / (DRY_RUN_NAME if dry_run else PLAN_NAME)
    write_bytes(path, _plan_text(SavedPlan(name, batches, changes or {})).encode())
    return path


def read_saved_plan(root: UPath) -> SavedPlan | None:
    """The last plan that was not a dry run; None if there is none.

    Raises:
        ValueError: it is damaged.
    """
    return _read_plan(root, PLAN_NAME)


def check_saved_plans(root: UPath) -> list[Fault]:
    """The saved plans that are damaged."""
    faults: list[Fault] = []
    for name in (PLAN_NAME, DRY_RUN_NAME):
        path = f"{PLAN_FOLDER}/{name}"
        try:
            plan = _read_plan(root, name)
            text = "" if plan is None else read_bytes(root / path).decode()
        except ValueError as error:
            faults.append(Fault("record", path, "a plan", str(error), PLAN_AGAIN))
            continue
        if plan is not None and is_sealed(text) and text != _plan_text(plan):
            faults.append(Fault("record", path, "the text that was written", "other spaces", PLAN_AGAIN))
    return faults


def _plan_text(plan: SavedPlan) -> str:
    return json.dumps(sealed(asdict(plan)), indent=1)


def _read_plan(root: UPath, name: str) -> SavedPlan | None:
    path = root / PLAN_FOLDER / name
    try:
        value = read_sealed(read_bytes(path).decode(), PLAN_FIELDS)
        rows: list[dict[str, Any]] = value["batches"]
        batches = tuple(PlannedBatch(row["batch"], row["why"], tuple(row["steps"])) for row in rows)
        return SavedPlan(value["name"], batches, value.get("changes", {}))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}; {PLAN_AGAIN}") from error
