"""The `Metric` type: a row of the tables in `evaluation.metrics.table`.

A suite prepares two objects for each video, the generated one and its reference, and hands them to every
metric of its table. The metric returns a `Measurement`; name, unit and direction of the record come from the
table alone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from evaluation.config import EvaluationConfig
from evaluation.records import (
    ALL_VIDEOS,
    COPY_PORTRAIT,
    COPY_TARGET,
    GROUND_TRUTH,
    MODEL,
    OFFICIAL_PUBLISHED,
    Direction,
    MetricRecord,
    Task,
)
from storage.fingerprint import WEIGHTS_DIGITS, JsonValue
from weights.resolve import ResolvedWeights, resolve_weights

Generated = TypeVar("Generated")
Reference = TypeVar("Reference")
ALL_METHODS: Final = (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET, OFFICIAL_PUBLISHED)


@dataclass(frozen=True)
class Measurement:
    """A value, or the reason why there is none."""

    value: float | None
    missing_because: str = ""


@dataclass(frozen=True)
class MeasuredVideo:
    """The columns of a `MetricRecord` that do not depend on the metric."""

    task: Task
    method: str
    scorer: str
    video: str


@dataclass(frozen=True)
class MetricWeights:
    """Pretrained weights that a metric needs.

    Attributes:
        name: In the list of `pdfgc weights`.
        setting: Field of the evaluation's settings that names the weights or their file.
    """

    name: str
    setting: str

    @property
    def missing_because(self) -> str:
        """Reason of the records that stand for the metric when the setting is empty."""
        option = f"--{self.setting.replace('_', '-')}"
        return (
            f"no {self.name} weights: run `pdfgc weights fetch {self.name}`, then pass {option} {self.name}"
        )


@dataclass(frozen=True)
class Metric(Generic[Generated, Reference]):
    """One metric.

    Attributes:
        name: In records, protocol included. `{side_px}` is replaced by the side of the pictures.
        protocol: How it is measured; metrics of different protocols do not compare.
        unit: Of the value; empty if dimensionless.
        direction: Which values are better.
        measure: Value of a generated video against its reference. None if the function needs a network:
            then `load` returns it.
        load: Loads the network from the file that `weights` names and returns the function. None for metrics
            that work on what the suite's own reader or scorer returned.
        weights: Pretrained weights without which the metric is not measured; None if it needs none.
        scorer: Network or library that measures; empty if that is the suite's reader or scorer.
        tasks: Reenactment tasks on which it is measured.
        methods: Methods for which it is measured.
        over_all_videos: The function takes all videos of a task at once and gives one value.

    Raises:
        ValueError: neither `measure` nor `load`, both, or `load` without `weights`.
    """

    name: str
    protocol: str
    unit: str
    direction: Direction
    measure: Callable[[Generated, Reference], Measurement] | None = None
    load: Callable[[Path], Callable[[Generated, Reference], Measurement]] | None = None
    weights: MetricWeights | None = None
    scorer: str = ""
    tasks: tuple[Task, ...] = ("self", "cross")
    methods: tuple[str, ...] = ALL_METHODS
    over_all_videos: bool = False

    def __post_init__(self) -> None:
        if (self.measure is None) == (self.load is None):
            raise ValueError(f"metric {self.name}: need either measure or load")
        if self.load is not None and self.weights is None:
            raise ValueError(f"metric {self.name}: load needs weights")

    def applies_to(self, task: Task, method: str) -> bool:
        """Whether videos of a task and method are measured."""
        return task in self.tasks and method in self.methods

    def record(self, video: MeasuredVideo, measurement: Measurement) -> MetricRecord:
        """The record of a measurement."""
        return MetricRecord(
            self.name,
            video.task,
            video.method,
            video.scorer,
            video.video,
            measurement.value,
            self.unit,
            self.direction,
            measurement.missing_because,
        )

    def records(self, videos: Iterable[tuple[MeasuredVideo, Generated, Reference]]) -> list[MetricRecord]:
        """Records of the videos to which the metric applies; for metrics that need no `load`."""
        assert self.measure is not None, f"{self.name}: load it first"
        return [
            self.record(video, self.measure(generated, reference))
            for video, generated, reference in videos
            if self.applies_to(video.task, video.method)
        ]

    def missing_records(self) -> list[MetricRecord]:
        """Records that say which weights are missing, one for each task."""
        assert self.weights is not None
        missing = Measurement(None, self.weights.missing_because)
        scorer = self.scorer or self.weights.name
        return [self.record(MeasuredVideo(task, MODEL, scorer, ALL_VIDEOS), missing) for task in self.tasks]

    def at_side(self, side_px: int) -> "Metric[Generated, Reference]":
        """The metric of pictures of one side."""
        return replace(self, name=self.name.format(side_px=side_px))


def load_metrics(
    metrics: Iterable[Metric[Generated, Reference]], files: Mapping[str, ResolvedWeights | None]
) -> tuple[list[Metric[Generated, Reference]], list[MetricRecord]]:
    """Metrics ready to measure, and the records of those whose weights are missing.

    Args:
        metrics: Rows of a table.
        files: Setting -> its file, None if the setting is empty.

    Returns:
        Every metric of the first list has `measure`. The scorer's name ends with the digest of its weights,
        so that values of different weights are never averaged.

    Raises:
        ValueError: a file does not hold the weights of the metric.
    """
    ready: list[Metric[Generated, Reference]] = []
    missing: list[MetricRecord] = []
    for metric in metrics:
        file = None if metric.weights is None else files[metric.weights.setting]
        if metric.weights is not None and file is None:
            missing += metric.missing_records()
        elif metric.load is None:
            ready.append(metric)
        else:
            assert file is not None  # `load` comes with weights
            scorer = scorer_name(metric.scorer, file)
            ready.append(replace(metric, measure=metric.load(file.path), load=None, scorer=scorer))
    return ready, missing


def scorer_name(name: str, file: ResolvedWeights) -> str:
    """Name of a scorer with the digest of its weights."""
    return f"{name}:{file.sha256[:WEIGHTS_DIGITS]}"


def resolve_metric_weights(
    metrics: Iterable[Metric[Any, Any]], config: EvaluationConfig
) -> dict[str, ResolvedWeights | None]:
    """Setting -> its file, None if the setting is empty, of all weights that a table's metrics need.

    Raises:
        FileNotFoundError: a file that a setting names does not exist.
        ValueError: a setting does not take the weights it names, or their licence was not accepted.
    """
    settings = dict.fromkeys(metric.weights.setting for metric in metrics if metric.weights is not None)
    return {setting: resolve_weights(getattr(config, setting), setting) for setting in settings}


def recipe_settings(
    metrics: Iterable[Metric[Any, Any]], files: Mapping[str, ResolvedWeights | None]
) -> dict[str, JsonValue]:
    """Part of a suite's fingerprint: a new metric or other weights make its records stale."""
    return {
        "metrics": [metric.name for metric in metrics],
        "weights_sha256": {name: None if file is None else file.sha256 for name, file in files.items()},
    }
