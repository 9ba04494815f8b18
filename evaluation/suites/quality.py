"""Picture quality of a run's videos, and whether they show the portrait's person.

Self videos are compared with the true clip, cross videos of a rendered corpus with the renderer's pictures,
both at the side of the networks' pictures. Which metrics:
`evaluation.metrics.table.QUALITY_METRICS`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.generation.files import (
    GENERATED_VIDEOS,
    GeneratedVideos,
    open_generated,
    resize_roundtrip,
)
from evaluation.generation.reenactment import Reenactment
from evaluation.metrics.metric import (
    MeasuredVideo,
    Metric,
    load_metrics,
    recipe_settings,
    resolve_metric_weights,
)
from evaluation.readings.cross_truth import CrossTruth, open_cross_truth
from evaluation.readings.face import FaceReader
from evaluation.records import (
    COPY_PORTRAIT,
    COPY_TARGET,
    GROUND_TRUTH,
    MODEL,
    RECORDS_TABLE,
    MetricRecord,
    Task,
    write_records,
)
from storage.publishing import BuildReport, Published, Recipe, materialise
from weights.resolve import write_pretrained_weights

logger = logging.getLogger(__name__)

QUALITY_EVALUATION: Final = "quality_evaluation"
CODE_VERSION: Final = "1"
METHODS: Final = (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)
TASKS: Final[tuple[Task, ...]] = ("self", "cross")


def run_quality_evaluation(root: UPath, config: EvaluationConfig, *, force: bool = False) -> Published:
    """Publish `metric_records.parquet` for the videos of a run, unless it is up to date.

    Raises:
        FileNotFoundError: weights that a setting names do not exist.
        ValueError: there are no videos, or weights are not the expected ones or may not be used.
    """
    from evaluation.metrics import table

    videos, generated = open_generated(root, config.run)
    files = resolve_metric_weights(table.QUALITY_METRICS, config)
    truth = open_cross_truth(root, generated)
    recipe = Recipe(
        QUALITY_EVALUATION,
        config.run,
        CODE_VERSION,
        recipe_settings(table.QUALITY_METRICS, files)
        | {"cross_truth": not truth.missing_because, "clips_with_truth": len(truth.sources)},
        {GENERATED_VIDEOS: videos.as_input()},
    )

    def build(work: Path) -> BuildReport:
        logger.info("Measuring the pictures of %d videos", len(generated.plan.reenactments))
        metrics = [metric.at_side(generated.facts.side_px) for metric in table.QUALITY_METRICS]
        ready, records = load_metrics(metrics, files)
        records = measure_quality(generated, ready, truth) + records
        write_records(work / RECORDS_TABLE, records)
        write_pretrained_weights(work, files.values())
        missing = sum(record.value is None for record in records)
        return BuildReport(counts={"records": len(records), "missing": missing}, refusals={})

    return materialise(root, recipe, build, force=force)


def measure_quality(
    generated: GeneratedVideos, metrics: Sequence[Metric[Any, Any]], truth: CrossTruth
) -> list[MetricRecord]:
    """Records of all self and cross videos; the pictures of one reenactment are in memory at a time."""
    from evaluation.animation.media import errors_naming  # loads FFmpeg's libraries

    records: list[MetricRecord] = []
    single = [metric for metric in metrics if not metric.over_all_videos]
    with ExitStack() as stack:
        landmarks = _Landmarks(stack)
        for task in TASKS:
            for reenactment in generated.plan.of_task(task):
                with errors_naming(generated.video(reenactment.name)):
                    records += _measure_reenactment(generated, reenactment, single, landmarks, truth)
    return records + _measure_sets(generated, [metric for metric in metrics if metric.over_all_videos])


class _Landmarks:
    """Finds landmarks for the metrics that ask for them; MediaPipe is loaded at the first call."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._reader: FaceReader | None = None

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[T, 478, 3], NaN without a face."""
        if self._reader is None:
            self._reader = self._stack.enter_context(FaceReader())
        return self._reader.read(pictures).landmarks_px


def _measure_reenactment(
    generated: GeneratedVideos,
    reenactment: Reenactment,
    metrics: Sequence[Metric[Any, Any]],
    landmarks: Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]],
    truth: CrossTruth,
) -> list[MetricRecord]:
    from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo

    videos: dict[str, PictureVideo] = {}
    for method in METHODS:
        if (pictures := generated.method_frames(reenactment, method)) is not None:
            videos[method] = PictureVideo(list(pictures), landmarks)
    portrait = PictureVideo([generated.portrait(reenactment.name)], landmarks)
    missing, cross = truth.missing_because, None
    if reenactment.task == "cross" and not missing:
        side_px = generated.facts.side_px
        pictures = [resize_roundtrip(crop, side_px) for crop in truth.crops(reenactment)]
        cross = PictureVideo(pictures, landmarks)
    reference = PictureReference(portrait, videos.get(GROUND_TRUTH), cross, missing)
    records: list[MetricRecord] = []
    for method, video in videos.items():
        if method == COPY_TARGET and GROUND_TRUTH in videos:  # the same pictures
            of_truth = [record for record in records if record.method == GROUND_TRUTH]
            records += [replace(record, method=COPY_TARGET) for record in of_truth]
            continue
        for metric in metrics:
            measured = MeasuredVideo(reenactment.task, method, metric.scorer, reenactment.name)
            records += metric.records([(measured, video, reference)])
    return records


def _measure_sets(generated: GeneratedVideos, metrics: Sequence[Metric[Any, Any]]) -> list[MetricRecord]:
    records: list[MetricRecord] = []
    for task in TASKS:
        frames = sum(reenactment.frames for reenactment in generated.plan.of_task(task))
        for metric in metrics if frames else ():
            for method in METHODS:
                measured = MeasuredVideo(task, method, metric.scorer, f"{frames} pictures against {frames}")
                pictures = _all_pictures(generated, task, method)
                truth = _all_pictures(generated, task, GROUND_TRUTH)
                records += metric.records([(measured, pictures, truth)])
    return records


def _all_pictures(generated: GeneratedVideos, task: Task, method: str) -> Iterator[NDArray[np.uint8]]:
    for reenactment in generated.plan.of_task(task):
        yield from generated.method_frames(reenactment, method) or ()
