"""Asset checks of the evaluations, run with the asset.

Missing videos or tables block the report; a baseline that beats the model warns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dagster import AssetCheckResult, AssetCheckSeverity, AssetCheckSpec
from upath import UPath

from evaluation.generation.files import GENERATED_VIDEOS, open_generated
from evaluation.records import COPY_PORTRAIT, MODEL, MetricRecord, Summary, summarise
from evaluation.suites.control import CONTROL_EVALUATION
from evaluation.suites.lip_sync import LIP_SYNC_EVALUATION
from evaluation.suites.quality import QUALITY_EVALUATION
from pipelines.training.checks import Verdict

EVERY_VIDEO: Final = "every_video_made"


@dataclass(frozen=True)
class FigureCheck:
    """A check of a table of figures."""

    description: str
    blocking: bool
    look: Callable[[Sequence[MetricRecord]], Verdict]


def has_figures(rows: Sequence[MetricRecord]) -> Verdict:
    """The model has figures, or reasons why not, and some are figures."""
    mine = [row for row in rows if row.method == MODEL]
    measured = sum(row.value is not None for row in mine)
    explanation = f"{measured} of the model's {len(mine)} figures are there"
    return Verdict(measured > 0, explanation, {"figures": measured, "missing": len(mine) - measured})


def every_metric_measured(rows: Sequence[MetricRecord]) -> Verdict:
    """No metric of the model is without a single figure; where weights are not given that is so."""
    empty = [
        f"{summary.key.metric} ({summary.key.task}): {next(iter(summary.missing))}"
        for summary in summarise(rows)
        if summary.key.method == MODEL and summary.mean is None
    ]
    explanation = "; ".join(empty[:4]) if empty else "every metric has figures"
    return Verdict(not empty, explanation, {"metrics without a figure": len(empty)})


def beats_still_portrait(metric: str) -> Callable[[Sequence[MetricRecord]], Verdict]:
    """A check that the model's mean is better than the portrait's held still, in every task."""

    def look(rows: Sequence[MetricRecord]) -> Verdict:
        means = {summary.key: summary for summary in summarise([row for row in rows if row.metric == metric])}
        pairs = [
            (summary, other)
            for key, summary in means.items()
            for other_key, other in means.items()
            if key.method == MODEL
            and other_key.method == COPY_PORTRAIT
            and (key.task, key.scorer) == (other_key.task, other_key.scorer)
            and summary.mean is not None
            and other.mean is not None
        ]
        if not pairs:
            return Verdict(passed=False, explanation=f"{metric}: nothing to compare", figures={})
        told = [
            f"{one.key.task} ({one.key.scorer}) {one.mean:.4g} to {other.mean:.4g}" for one, other in pairs
        ]
        behind = sum(not _is_better(one, other) for one, other in pairs)
        return Verdict(
            behind == 0, f"{metric}, model to still portrait: {'; '.join(told)}", {"behind": behind}
        )

    return look


def _is_better(model: Summary, other: Summary) -> bool:
    assert model.mean is not None
    assert other.mean is not None
    return model.mean > other.mean if model.direction == "higher" else model.mean < other.mean


_COMMON: Final = {
    "has_figures": FigureCheck("The model was measured by this evaluation.", blocking=True, look=has_figures),
    "every_metric_measured": FigureCheck(
        "No metric is without a figure of the model; those that want weights are, where none are given.",
        blocking=False,
        look=every_metric_measured,
    ),
}
FIGURE_CHECKS: Final[Mapping[str, Mapping[str, FigureCheck]]] = {
    LIP_SYNC_EVALUATION: _COMMON
    | {
        "lips_beat_still_portrait": FigureCheck(
            "Lips fit the sound better than the portrait's, held still.",
            blocking=False,
            look=beats_still_portrait("lse_c_crop"),
        )
    },
    CONTROL_EVALUATION: _COMMON
    | {
        "yaw_beats_still_portrait": FigureCheck(
            "The head turns with its driver more nearly than the portrait, held still.",
            blocking=False,
            look=beats_still_portrait("yaw_error"),
        )
    },
    QUALITY_EVALUATION: _COMMON,
}


def figure_check_specs(evaluation: str) -> list[AssetCheckSpec]:
    """The checks of an evaluation, for its asset."""
    return [
        AssetCheckSpec(name, asset=evaluation, description=check.description, blocking=check.blocking)
        for name, check in FIGURE_CHECKS[evaluation].items()
    ]


def run_figure_checks(evaluation: str, rows: Sequence[MetricRecord]) -> list[AssetCheckResult]:
    """Look at an evaluation's figures."""
    return [
        _result(name, check.look(rows), blocking=check.blocking)
        for name, check in FIGURE_CHECKS[evaluation].items()
    ]


def videos_check_spec() -> AssetCheckSpec:
    """The check of `generated_videos`, for its asset."""
    told = "Every video of the list is there, and every clip that drives one."
    return AssetCheckSpec(EVERY_VIDEO, asset=GENERATED_VIDEOS, description=told, blocking=True)


def videos_check(root: UPath, run: str) -> AssetCheckResult:
    """Look for every video."""
    _, made = open_generated(root, run)
    wanted = [made.video(one.name) for one in made.plan.reenactments]
    wanted += [made.clip(key) for key in made.plan.clips()]
    missing = [path.name for path in wanted if not path.is_file()]
    told = f"missing: {', '.join(missing[:4])}" if missing else f"all {len(wanted)} files are there"
    figures = {"files": len(wanted), "missing": len(missing)}
    return _result(EVERY_VIDEO, Verdict(not missing, told, figures), blocking=True)


def _result(name: str, verdict: Verdict, *, blocking: bool) -> AssetCheckResult:
    return AssetCheckResult(
        passed=verdict.passed,
        check_name=name,
        severity=AssetCheckSeverity.ERROR if blocking else AssetCheckSeverity.WARN,
        description=verdict.explanation,
        metadata=dict(verdict.figures),
    )
