"""How well the videos follow their drivers, and what each driver alone changes.

For self and cross videos errors and correlations of following, landmark distances if there is a true video,
and the control matrix of protocol `control_follow`; for control videos the matrix of `control_change`. If the
clips are the demo corpus's, the same against its ground truth, under a scorer's name of its own, and of the
renderer's pictures of cross and control videos, which are the method "ground truth" there: what the reader
sees in perfect pictures. If MediaPipe's FaceLandmarker is given, expression also by its blendshapes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.controls import Control
from evaluation.generation.files import GENERATED_VIDEOS, GeneratedVideos, open_generated
from evaluation.generation.reenactment import Reenactment, ReenactmentPlan
from evaluation.metrics.control.following import ControlReference
from evaluation.metrics.control.matrix import (
    ControlMatrix,
    ControlPair,
    FollowedVideo,
    control_change,
    control_follow,
)
from evaluation.metrics.metric import (
    MeasuredVideo,
    Metric,
    load_metrics,
    recipe_settings,
    resolve_metric_weights,
    scorer_name,
)
from evaluation.readings.cross_truth import open_cross_truth
from evaluation.readings.demo_truth import SCORER as DEMO_TRUTH
from evaluation.readings.demo_truth import read_truth_of_clips, sources_with_truth
from evaluation.readings.face import SCORER, FaceReader
from evaluation.readings.measures import AnyReadings
from evaluation.readings.official_panels import official_folder, panel_files, read_official_video
from evaluation.readings.videos import VideoReadings, cut, read_blendshapes, read_everything
from evaluation.records import (
    COPY_PORTRAIT,
    COPY_TARGET,
    GROUND_TRUTH,
    MODEL,
    OFFICIAL_PUBLISHED,
    RECORDS_TABLE,
    MetricRecord,
    Task,
    write_records,
)
from evaluation.suites.labelled_expressions import labelled_expressions, write_labelled_expressions
from preprocessing.process_pool import default_workers
from preprocessing.table_schema import column, table_schema
from storage.fingerprint import file_sha256
from storage.publishing import BuildReport, Published, Recipe, materialise
from weights.resolve import ResolvedWeights, write_pretrained_weights

logger = logging.getLogger(__name__)

CONTROL_EVALUATION: Final = "control_evaluation"
CODE_VERSION: Final = "4"
MATRIX_TABLE: Final = "control_matrix.parquet"
AGAINST_TRUTH: Final = f"{SCORER} against {DEMO_TRUTH}"
"""Videos are read as usual, drivers are what the demo corpus was rendered with: gains have no unit."""
MATRIX_SCHEMA: Final = table_schema(
    column("method", pa.string(), "what produced the videos"),
    column("scorer", pa.string(), "what measured"),
    column("protocol", pa.string(), "control_change or control_follow"),
    column("driver", pa.string(), "lip, pose, eye or expression"),
    column("measure", pa.string(), "what was measured in the output"),
    column("correlation", pa.float64(), "pooled over pairs; null if there is none"),
    column("gain", pa.float64(), "slope of the output over the driver; null if there is none"),
    column("still", pa.bool_(), "the driver moved and the output did not: counts as 0 in the score"),
    column("pairs", pa.int64(), "number of pairs of videos"),
)


@dataclass
class ControlTable:
    """Results of the evaluation, collected reader by reader.

    Attributes:
        records: Of all metrics.
        cells: Of matrices, in the long form of `control_matrix.parquet`.
        scores: Score of each matrix, by protocol, method and scorer.
    """

    records: list[MetricRecord] = field(default_factory=list)
    cells: list[dict[str, str | float | int | None]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)

    def add_matrix(self, matrix: ControlMatrix, task: Task, method: str, scorer: str) -> None:
        """Add the records, cells and score of a matrix."""
        self.records += matrix.records(task, method, scorer)
        for cell in matrix.cells:
            self.cells.append(
                {
                    "method": method,
                    "scorer": scorer,
                    "protocol": matrix.protocol,
                    "driver": cell.control,
                    "measure": cell.measure,
                    "correlation": cell.pooled.correlation,
                    "gain": cell.pooled.gain,
                    "still": cell.pooled.still,
                    "pairs": sum(pair.correlation is not None for pair in cell.pairs.values()),
                }
            )
        if matrix.score is not None:
            name = [matrix.protocol, method, *([] if scorer == SCORER else [scorer])]
            self.scores[" ".join(name)] = matrix.score


def run_control_evaluation(
    root: UPath, config: EvaluationConfig, *, workers: int | None = None, force: bool = False
) -> Published:
    """Publish `metric_records.parquet` and `control_matrix.parquet` of a run, unless they are up to date.

    Args:
        root: With the published `generated_videos`.
        config: The run, the folder of the released model's published panels, the FaceLandmarker's weights.
        workers: Processes that read faces; None: one for each core.
        force: Measure again.

    Raises:
        FileNotFoundError: weights that a setting names do not exist.
        ValueError: there are no videos, or weights are not the expected ones.
        RuntimeError: a process that reads faces died.
    """
    from evaluation.metrics import table

    videos, generated = open_generated(root, config.run)
    panels = official_folder(config)
    sources = sources_with_truth(root, generated)
    metrics = (
        *table.FACE_METRICS,
        *table.LANDMARK_METRICS,
        *table.BLENDSHAPE_METRICS,
        *table.MATRIX_METRICS,
    )
    files = resolve_metric_weights(metrics, config)
    settings = recipe_settings(metrics, files) | {
        "official_panels": {path.name: file_sha256(path) for path in panel_files(panels)},
        "clips_with_truth": len(sources),
    }
    inputs = {GENERATED_VIDEOS: videos.as_input()}
    recipe = Recipe(CONTROL_EVALUATION, config.run, CODE_VERSION, settings, inputs)
    processes = default_workers() if workers is None else workers

    def build(work: Path) -> BuildReport:
        results = ControlTable()
        _measure_faces(results, root, generated, sources, processes)
        _measure_blendshapes(results, generated, files, processes)
        if panels is not None:
            with FaceReader() as reader:
                measure_official(results, panels, reader)
        write_records(work / RECORDS_TABLE, results.records)
        write_pretrained_weights(work, files.values())
        write_labelled_expressions(labelled_expressions(results.records, generated), work)
        pq.write_table(pa.Table.from_pylist(results.cells, schema=MATRIX_SCHEMA), work / MATRIX_TABLE)
        scores = {f"{name} score": round(value, 4) for name, value in results.scores.items()}
        counts = {"records": len(results.records), "clips_with_truth": len(sources), **scores}
        return BuildReport(counts=counts, refusals={})

    return materialise(root, recipe, build, force=force)


def _measure_faces(
    results: ControlTable, root: UPath, generated: GeneratedVideos, sources: Mapping[str, Path], workers: int
) -> None:
    from evaluation.metrics import table

    metrics = (*table.FACE_METRICS, *table.LANDMARK_METRICS)
    logger.info("Reading the faces of %d videos", len(generated.plan.reenactments))
    readings = read_everything(generated, workers, open_cross_truth(root, generated))
    add_records(results, generated.plan, readings, metrics, SCORER)
    add_matrices(results, generated.plan, readings, SCORER)
    if sources:
        logger.info("Comparing with the demo corpus's ground truth of %d clips", len(sources))
        truths = read_truth_of_clips(root, generated, sources)
        # Landmarks have no ground truth.
        add_records(results, generated.plan, readings, table.FACE_METRICS, AGAINST_TRUTH, truths)
        add_matrices(results, generated.plan, readings, AGAINST_TRUTH, truths)


def _measure_blendshapes(
    results: ControlTable,
    generated: GeneratedVideos,
    files: Mapping[str, ResolvedWeights | None],
    workers: int,
) -> None:
    from evaluation.metrics import table

    metrics, missing = load_metrics(table.BLENDSHAPE_METRICS, files)
    results.records += missing
    landmarker = files["face_landmarker_weights"]
    if landmarker is None:
        return
    scorer = scorer_name("face_landmarker", landmarker)
    logger.info("Reading the blendshapes of %d videos by %s", len(generated.plan.reenactments), scorer)
    readings = read_blendshapes(generated, landmarker.path, workers)
    add_records(results, generated.plan, readings, metrics, scorer)
    add_matrices(results, generated.plan, readings, scorer)


def measure_official(results: ControlTable, folder: Path, reader: FaceReader) -> None:
    """Add the records of the released model's published videos; videos of other people drive them."""
    from evaluation.metrics import table

    logger.info("Reading the released model's published videos in %s", folder)
    videos = [read_official_video(path, reader) for path in panel_files(folder)]
    for video in videos:
        measured = MeasuredVideo("cross", OFFICIAL_PUBLISHED, SCORER, video.name)
        for metric in table.FACE_METRICS:
            results.records += metric.records([(measured, video.output, ControlReference(video.drivers))])
    results.add_matrix(control_follow(videos), "cross", OFFICIAL_PUBLISHED, SCORER)


def add_records(
    results: ControlTable,
    plan: ReenactmentPlan,
    readings: VideoReadings[AnyReadings],
    metrics: Sequence[Metric[Any, Any]],
    scorer: str,
    truths: Mapping[str, AnyReadings] | None = None,
) -> None:
    """Add the metrics of every self and cross video, of all methods.

    Args:
        results: Grows.
        plan: The videos.
        readings: Of the videos and clips.
        metrics: Of such readings.
        scorer: Name of what read them.
        truths: By clip: drivers as they were rendered, in place of their readings.
    """
    for reenactment in (*plan.of_task("self"), *plan.of_task("cross")):
        truth = (
            cut(readings.clips[reenactment.portrait], reenactment.frames)
            if reenactment.task == "self"
            else None
        )
        reference = ControlReference(_drivers(reenactment, truths or readings.clips), truth)
        for method, output in _outputs(reenactment, readings).items():
            measured = MeasuredVideo(reenactment.task, method, scorer, reenactment.name)
            for metric in metrics:
                results.records += metric.records([(measured, output, reference)])


def add_matrices(
    results: ControlTable,
    plan: ReenactmentPlan,
    readings: VideoReadings[AnyReadings],
    scorer: str,
    truths: Mapping[str, AnyReadings] | None = None,
) -> None:
    """Add both matrices, for the model and the baselines; arguments as `add_records`."""
    drivers = truths or readings.clips
    videos: dict[str, list[FollowedVideo[AnyReadings]]] = {}
    for reenactment in plan.of_task("cross"):
        for method, output in _outputs(reenactment, readings).items():
            video = FollowedVideo(output, _drivers(reenactment, drivers), reenactment.name)
            videos.setdefault(method, []).append(video)
    for method, followed in videos.items():
        results.add_matrix(control_follow(followed), "cross", method, scorer)
    groups: dict[str, list[Reenactment]] = {}
    for reenactment in plan.of_task("control"):
        assert reenactment.base is not None
        groups.setdefault(reenactment.base, []).append(reenactment)
    methods = (MODEL, *([GROUND_TRUTH] if readings.truths else []), COPY_PORTRAIT, COPY_TARGET)
    for method in methods if groups else ():
        pairs = [
            _pair(plan.named(base), changed, readings, drivers, method) for base, changed in groups.items()
        ]
        results.add_matrix(control_change(pairs), "control", method, scorer)


def _drivers(reenactment: Reenactment, clips: Mapping[str, AnyReadings]) -> dict[Control, AnyReadings]:
    return {control: cut(clips[key], reenactment.frames) for control, key in reenactment.drivers.items()}


def _outputs(reenactment: Reenactment, readings: VideoReadings[AnyReadings]) -> dict[str, AnyReadings]:
    """Readings of a reenactment's videos by method; a cross video has a true one if it can be rendered."""
    frames = reenactment.frames
    outputs = {MODEL: readings.rendered[reenactment.name]}
    if reenactment.task == "self":
        outputs[GROUND_TRUTH] = cut(readings.resized[reenactment.portrait], frames)
    elif reenactment.name in readings.truths:
        outputs[GROUND_TRUTH] = readings.truths[reenactment.name]
    outputs[COPY_PORTRAIT] = readings.still(reenactment)
    outputs[COPY_TARGET] = cut(readings.resized[reenactment.drivers["pose"]], frames)
    return outputs


def _pair(
    base: Reenactment,
    changed: Sequence[Reenactment],
    readings: VideoReadings[AnyReadings],
    drivers: Mapping[str, AnyReadings],
    method: str,
) -> ControlPair:
    other = changed[0].drivers[changed[0].changed()]
    return ControlPair(
        base=_outputs(base, readings)[method],
        source=drivers[other],
        own=drivers[base.portrait],
        changed={reenactment.changed(): _outputs(reenactment, readings)[method] for reenactment in changed},
        name=changed[0].name.rsplit("-", 1)[0],
    )
