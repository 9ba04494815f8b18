"""How nearly the videos follow their drivers, and what each driver alone moves.

Rows of self and cross videos: following errors and correlations, landmark distances where there is a truth,
and the control matrix of following; of the control videos: the matrix of changes. Where the clips are the
demo corpus's, the same against its truth, under a scorer's name of its own. Where MediaPipe's FaceLandmarker
is given, expression once more by its blendshapes, likewise.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.generation.files import GENERATED_VIDEOS, GeneratedVideos, open_generated
from evaluation.records import OFFICIAL_PUBLISHED, RECORDS_TABLE, write_records
from preprocessing.process_pool import default_workers
from preprocessing.table_schema import column, table_schema
from storage.fingerprint import JsonValue, file_sha256
from storage.publishing import BuildReport, Published, Recipe, materialise
from weights.resolve import ResolvedWeights, resolve_weights, write_pretrained_weights

if TYPE_CHECKING:  # its module loads OpenCV
    from evaluation.suites.control_rows import ControlTable

CONTROL_EVALUATION: Final = "control_evaluation"
CODE_VERSION: Final = "2"
MATRIX_TABLE: Final = "control_matrix.parquet"
OFFICIAL_VARIABLE: Final = "PDFGC_OFFICIAL_PANELS"
MATRIX_SCHEMA: Final = table_schema(
    column("method", pa.string(), "whose videos"),
    column("scorer", pa.string(), "what measured"),
    column("protocol", pa.string(), "control_change or control_follow"),
    column("driver", pa.string(), "lip, pose, eye or expression"),
    column("measure", pa.string(), "what was measured of the output"),
    column("correlation", pa.float64(), "pooled over pairs; null where there is none"),
    column("gain", pa.float64(), "slope of the output over the driver; null where there is none"),
    column("still", pa.bool_(), "the driver's moved and the output's did not: counts as 0 in the score"),
    column("pairs", pa.int64(), "pairs of videos behind it"),
)
Progress = Callable[[str], None]


def run_control_evaluation(
    root: UPath,
    config: EvaluationConfig,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: Progress,
) -> Published:
    """Measure a run's videos unless that is done: `metric_records.parquet` and `control_matrix.parquet`.

    Args:
        root: With the published `generated_videos`.
        config: Whose run; where the released model's published panels lie; the FaceLandmarker's weights.
        workers: Processes that read faces; None: one a core.
        force: Measure anew.
        progress: Lines for people.

    Raises:
        FileNotFoundError: weights are named and are not there.
        ValueError: there are no videos, or weights are not what they should be.
        RuntimeError: a process that reads faces died.
    """
    from evaluation.readings.clip_truth import sources_with_truth

    videos, made = open_generated(root, config.run)
    panels = official_folder(config)
    sources = sources_with_truth(root, made)
    settings: dict[str, JsonValue] = {
        "official_panels": {path.name: file_sha256(path) for path in panel_files(panels)},
        "clips_with_truth": len(sources),
    }
    landmarker = resolve_weights(config.face_landmarker_weights, "face_landmarker_weights")
    if landmarker is not None:
        settings["face_landmarker_sha256"] = landmarker.sha256
    inputs = {GENERATED_VIDEOS: videos.manifest.content_digest}
    recipe = Recipe(CONTROL_EVALUATION, config.run, CODE_VERSION, settings, inputs)
    processes = default_workers() if workers is None else workers
    return materialise(
        root,
        recipe,
        lambda work: _measure(_Task(root, made, panels, sources, landmarker, processes), work, progress),
        force=force,
    )


def official_folder(config: EvaluationConfig) -> Path | None:
    """Where the released model's published panels lie; None where nobody says so."""
    told = config.official_panels or os.environ.get(OFFICIAL_VARIABLE, "")
    return Path(told).expanduser() if told else None


def panel_files(folder: Path | None) -> list[Path]:
    """The published panel videos.

    Raises:
        ValueError: a folder is named and holds none.
    """
    from evaluation.readings.official_panels import FILES

    if folder is None:
        return []
    files = sorted(folder.glob(FILES))
    if not files:
        raise ValueError(f"{folder} holds none of the released model's published panel videos ({FILES})")
    return files


@dataclass(frozen=True)
class _Task:
    """What to measure."""

    root: UPath
    made: GeneratedVideos
    panels: Path | None
    sources: Mapping[str, Path]
    landmarker: ResolvedWeights | None
    workers: int


def _measure(task: _Task, work: Path, progress: Progress) -> BuildReport:
    from evaluation.readings.clip_truth import read_truth_of_clips
    from evaluation.readings.videos import read_everything
    from evaluation.suites.control_rows import ControlTable, add_change, add_follow, add_rows

    progress(f"reading the faces of {len(task.made.plan.reenactments)} videos")
    readings = read_everything(task.made, task.workers)
    table = ControlTable()
    add_rows(table, task.made.plan, readings)
    add_follow(table, task.made.plan, readings)
    add_change(table, task.made.plan, readings)
    if task.sources:
        progress(f"against the demo corpus's truth of {len(task.sources)} clips")
        truths = read_truth_of_clips(task.root, task.made, task.sources)
        add_rows(table, task.made.plan, readings, truths)
        add_follow(table, task.made.plan, readings, truths)
        add_change(table, task.made.plan, readings, truths)
    _add_blendshapes(table, task, progress)
    if task.panels is not None:
        progress("reading the released model's published videos")
        _add_official(table, task.panels)
    write_records(work / RECORDS_TABLE, table.rows)
    write_pretrained_weights(work, [task.landmarker])
    pq.write_table(pa.Table.from_pylist(table.cells, schema=MATRIX_SCHEMA), work / MATRIX_TABLE)
    scores = {f"{name} score": round(value, 4) for name, value in table.scores.items()}
    return BuildReport(
        counts={"figures": len(table.rows), "clips_with_truth": len(task.sources), **scores}, refusals={}
    )


def _add_blendshapes(table: "ControlTable", task: _Task, progress: Progress) -> None:
    from evaluation.metrics.control.blendshape_following import missing_rows
    from evaluation.readings.blendshapes import scorer_name
    from evaluation.readings.videos import read_blendshapes
    from evaluation.suites.control_rows import add_blendshape_rows, add_change, add_follow

    if task.landmarker is None:
        table.rows.extend(missing_rows())
        return
    scorer, plan = scorer_name(task.landmarker.sha256), task.made.plan
    progress(f"reading the blendshapes of {len(plan.reenactments)} videos by {scorer}")
    readings = read_blendshapes(task.made, task.landmarker.path, task.workers)
    add_blendshape_rows(table, plan, readings, scorer)
    add_follow(table, plan, readings, scorer=scorer)
    add_change(table, plan, readings, scorer=scorer)


def _add_official(table: "ControlTable", folder: Path) -> None:
    from evaluation.readings.face import FaceReader
    from evaluation.readings.official_panels import official_figures
    from evaluation.suites.control_rows import add_matrix

    with FaceReader() as reader:
        official = official_figures(folder, reader)
    table.rows.extend(official.rows)
    if official.matrix is not None:
        add_matrix(table, official.matrix, OFFICIAL_PUBLISHED)
