"""Asset checks of the evaluation. Missing videos or values block the report; a better baseline warns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from upath import UPath

from evaluation.generation.files import open_generated
from evaluation.records import COPY_PORTRAIT, MODEL, MetricRecord, Summary, summarise
from evaluation.suites.control import CONTROL_EVALUATION
from evaluation.suites.lip_sync import LIP_SYNC_EVALUATION
from evaluation.suites.quality import QUALITY_EVALUATION
from pipelines.checks import CheckDefinition
from storage.checks import CheckOutcome

Records = Sequence[MetricRecord]
RecordsCheck = CheckDefinition[Records]


def check_has_values(records: Records) -> CheckOutcome:
    """At least one record of the model has a value."""
    model = [record for record in records if record.method == MODEL]
    measured = sum(record.value is not None for record in model)
    description = f"{measured} of {len(model)} records of the model have a value"
    return CheckOutcome(measured > 0, description, {"measured": measured, "missing": len(model) - measured})


def check_every_metric_measured(records: Records) -> CheckOutcome:
    """Every metric has a value for the model; without their weights some have none."""
    missing = [
        f"{summary.key.metric} ({summary.key.task}): {next(iter(summary.missing))}"
        for summary in summarise(records)
        if summary.key.method == MODEL and summary.mean is None
    ]
    description = "; ".join(missing[:4]) if missing else "every metric has values"
    return CheckOutcome(not missing, description, {"metrics without values": len(missing)})


def beats_static_portrait(metric: str) -> Callable[[Records], CheckOutcome]:
    """A check that the model's mean is better than that of the static portrait, in every task."""

    def check(records: Records) -> CheckOutcome:
        means = {
            summary.key: summary
            for summary in summarise([record for record in records if record.metric == metric])
            if summary.mean is not None
        }
        pairs = [
            (model, portrait)
            for key, model in means.items()
            for other, portrait in means.items()
            if (key.method, other.method) == (MODEL, COPY_PORTRAIT)
            and (key.task, key.scorer) == (other.task, other.scorer)
        ]
        if not pairs:
            return CheckOutcome(False, f"{metric}: nothing to compare")
        values = [
            f"{model.key.task} ({model.key.scorer}) {model.mean:.4g} vs. {portrait.mean:.4g}"
            for model, portrait in pairs
        ]
        worse = sum(not _is_better(model, portrait) for model, portrait in pairs)
        description = f"{metric}, model vs. static portrait: {'; '.join(values)}"
        return CheckOutcome(worse == 0, description, {"not better": worse})

    return check


def _is_better(model: Summary, portrait: Summary) -> bool:
    assert model.mean is not None
    assert portrait.mean is not None
    return model.mean > portrait.mean if model.direction == "higher" else model.mean < portrait.mean


_COMMON: Final = (
    RecordsCheck("has_values", "The model was measured.", blocking=True, check=check_has_values),
    RecordsCheck(
        "every_metric_measured",
        "Every metric has values for the model. Without its pretrained weights a metric has none.",
        blocking=False,
        check=check_every_metric_measured,
    ),
)
RECORDS_CHECKS: Final[Mapping[str, tuple[RecordsCheck, ...]]] = {
    LIP_SYNC_EVALUATION: (
        *_COMMON,
        RecordsCheck(
            "lip_sync_beats_static_portrait",
            "Lip sync is better than that of the static portrait.",
            blocking=False,
            check=beats_static_portrait("lse_c_crop"),
        ),
    ),
    CONTROL_EVALUATION: (
        *_COMMON,
        RecordsCheck(
            "yaw_beats_static_portrait",
            "The yaw error is smaller than that of the static portrait.",
            blocking=False,
            check=beats_static_portrait("yaw_error"),
        ),
    ),
    QUALITY_EVALUATION: _COMMON,
}


def check_every_video(videos: tuple[UPath, str]) -> CheckOutcome:
    """All files of the reenactment plan of a (root, run) exist."""
    _, generated = open_generated(*videos)
    paths = [generated.video(reenactment.name) for reenactment in generated.plan.reenactments]
    paths += [generated.clip(key) for key in generated.plan.clips()]
    missing = [path.name for path in paths if not path.is_file()]
    description = f"missing: {', '.join(missing[:4])}" if missing else f"all {len(paths)} files exist"
    return CheckOutcome(not missing, description, {"files": len(paths), "missing": len(missing)})


VIDEO_CHECKS: Final = (
    CheckDefinition(
        "every_video_exists",
        "Every video of the plan and every driving clip exists.",
        blocking=True,
        check=check_every_video,
    ),
)
