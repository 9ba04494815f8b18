"""`pdfgc referee`: measures a list of videos, and writes the report page and its tables into a folder."""

import logging
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from evaluation.animation.limited_reading import READING_LIMITS, LimitedReader
from evaluation.config import EvaluationConfig
from evaluation.metrics import table
from evaluation.metrics.lip_sync.distance import LipSyncScorer
from evaluation.metrics.metric import Metric, load_metrics, resolve_metric_weights, scorer_name
from evaluation.readings.face import SCORER
from evaluation.records import ALL_VIDEOS, MODEL, MetricRecord, write_records
from evaluation.referee.config import RefereeConfig
from evaluation.referee.listing import RefereeRow, RefusedRow, RefusedRowError, read_list
from evaluation.referee.measure import Measured, RowMeasurer, RowMedia, read_row
from evaluation.referee.reading import MediaReader, choose_framing
from evaluation.report.key_figures import FigureBook, KeyFigure
from evaluation.report.matrix import MATRIX_TABLE, read_matrix
from evaluation.report.summary import REPORT_PAGE, REPORT_TABLE, SUMMARY_TABLE
from evaluation.suites.control import MATRIX_SCHEMA
from preprocessing.schema import CROP_SIDE_PX
from storage.atomic import partial_path, remove
from storage.disk import disk_errors_at
from storage.gc.scratch import dead_partials
from weights.resolve import ResolvedWeights

logger = logging.getLogger(__name__)

ALIGNED_SUFFIX: Final = " of aligned faces"
"""Of the scorers' names in framing `aligned`: never in one column with values of whole pictures."""
WEIGHTS: Final = (
    "syncnet_weights",
    "csim_weights",
    "lpips_weights",
    "fid_weights",
    "face_landmarker_weights",
)
TABLES: Final[Mapping[str, Sequence[Metric[Any, Any]]]] = {
    "face": table.FACE_METRICS,
    "blendshape": table.BLENDSHAPE_METRICS,
    "quality": table.QUALITY_METRICS,
    "lip_sync": table.LIP_SYNC_METRICS,
}
NOT_IMPLEMENTED: Final[Mapping[str, str]] = {
    "fvd_i3d": "not implemented: its network, I3D trained on Kinetics-400, is in no Python package, and "
    "FVD of fewer than some hundred videos says nothing",
    "e_fid_deep3d": "not implemented: it needs the coefficients of Deep3DFaceRecon, whose weights are in no "
    "package, and some hundred videos; blendshape errors compare expressions video by video",
}
"""Metrics of the literature that are left out, and why."""


@dataclass(frozen=True)
class RefereeResult:
    """What was measured.

    Attributes:
        folder: Of the written files.
        rows: Rows that were measured.
        refused: Rows that were left out.
        records: Of every metric.
        framing: whole or aligned.
        figures: Ten of them, as on the page's first screen.
    """

    folder: Path
    rows: Sequence[RefereeRow]
    refused: Sequence[RefusedRow]
    records: Sequence[MetricRecord]
    framing: str
    figures: Sequence[KeyFigure]


def referee(listed: Path, folder: Path, config: RefereeConfig, root: UPath) -> RefereeResult:
    """Measure a list and write `report.html`, `report.parquet`, `summary.parquet`, `control_matrix.parquet`.

    Args:
        listed: See `evaluation.referee.listing`.
        folder: Created if it does not exist; files of these names in it are replaced.
        config: Framing, length, weights.
        root: Of the run whose lip encoders score.

    Raises:
        FileNotFoundError: there is no list, or weights that a setting names do not exist.
        ValueError: no row can be measured, or weights are not the expected ones.
    """
    from evaluation.referee.page import write_page
    from evaluation.report.results import derive_results
    from evaluation.report.summary import write_summary

    rows, refused = read_list(listed)
    _require_rows(listed, rows, refused)
    with LimitedReader(READING_LIMITS) as limited:
        framing = choose_framing(rows, config.framing, limited)
    files = resolve_files(config)
    scorers = load_scorers(config, files, root)
    metrics, missing = ready_metrics(files)
    with disk_errors_at(folder):  # before hours of measuring
        folder.mkdir(parents=True, exist_ok=True)
        for left in dead_partials([folder]):  # of a killed referee
            remove(left)
        with whole_files(folder):
            pass
    suffix = ALIGNED_SUFFIX if framing == "aligned" else ""
    landmarker = files["face_landmarker_weights"]
    done: list[RefereeRow] = []
    films: list[RowMedia] = []
    task_file = None if landmarker is None else landmarker.path
    with (
        LimitedReader(READING_LIMITS) as limited,
        MediaReader(framing, config.seconds, task_file, limited) as reader,
    ):
        name = "" if landmarker is None else scorer_name("face_landmarker", landmarker)
        measurer = RowMeasurer(reader, scorers, metrics, SCORER, name)
        for row in rows:
            logger.info("Measuring %s (%d of %d)", row.name, len(done) + len(refused) + 1, len(rows))
            try:
                media = read_row(row, reader)
            except RefusedRowError as error:
                refused.append(RefusedRow(row.line, error.column, error.reason))
                continue
            measurer.add(media)
            done.append(row)
            films = [*films, media][:MAXIMUM_FILMS]
        _require_rows(listed, done, refused)
        tasks = {row.task for row in done}
        of_tasks = {
            name: [record for record in records if record.task in tasks] for name, records in missing.items()
        }
        measured = _with_suffix(measurer.finish(), of_tasks, suffix)
    records = [*measured.control.records, *measured.lip_sync, *measured.quality]
    results = derive_results(records)
    cells = pa.Table.from_pylist(measured.control.cells, schema=MATRIX_SCHEMA)
    left_out = sorted(refused, key=lambda one: one.line)
    with disk_errors_at(folder), whole_files(folder) as work:
        pq.write_table(cells, work / MATRIX_TABLE)
        figures = FigureBook(results, read_matrix(work / MATRIX_TABLE), "", suffix).figures()
        result = RefereeResult(folder, done, left_out, records, framing, figures)
        write_records(work / REPORT_TABLE, records)
        write_summary(work / SUMMARY_TABLE, results)
        write_page(work / REPORT_PAGE, listed, result, measured, films)
    return result


@contextmanager
def whole_files(folder: Path) -> Generator[Path]:
    """A folder within, whose files replace those of a folder at the end; on an error none of them."""
    work = partial_path(folder / "files")
    work.mkdir()
    try:
        yield work
        for path in sorted(work.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


MAXIMUM_FILMS: Final = 12
"""Videos that the page embeds, as in a run's report."""


def _require_rows(listed: Path, rows: Sequence[RefereeRow], refused: Sequence[RefusedRow]) -> None:
    if not rows:
        raise ValueError("no row can be measured: " + "; ".join(row.text(listed) for row in refused))


def resolve_files(config: RefereeConfig) -> dict[str, ResolvedWeights | None]:
    """Setting -> its file, None if it is empty.

    Raises:
        FileNotFoundError: a file that a setting names does not exist.
        ValueError: a setting does not take the weights it names, or their licence was not accepted.
    """
    named = EvaluationConfig().replace(**{name: getattr(config, name) for name in WEIGHTS})
    return resolve_metric_weights([metric for part in TABLES.values() for metric in part], named)


def load_scorers(
    config: RefereeConfig, files: Mapping[str, ResolvedWeights | None], root: UPath
) -> dict[str, LipSyncScorer]:
    """Protocol -> scorer of lip sync. Raises as `load_lip_encoders`."""
    from evaluation.metrics.lip_sync.lip_encoders import load_lip_encoders
    from evaluation.metrics.lip_sync.syncnet import load_syncnet_scorer

    scorers: dict[str, LipSyncScorer] = {}
    if config.lip_encoders:
        scorers["crop"] = load_lip_encoders(root, config.lip_encoders)
    syncnet = files["syncnet_weights"]
    if syncnet is not None:
        scorers["frame"] = load_syncnet_scorer(syncnet.path)
    return scorers


def ready_metrics(
    files: Mapping[str, ResolvedWeights | None],
) -> tuple[dict[str, list[Metric[Any, Any]]], dict[str, list[MetricRecord]]]:
    """Table -> metrics ready to measure, and the records of those that are not."""
    ready: dict[str, list[Metric[Any, Any]]] = {}
    missing: dict[str, list[MetricRecord]] = {}
    for name, metrics in TABLES.items():
        sized = [metric.at_side(CROP_SIDE_PX) for metric in metrics]
        ready[name], missing[name] = load_metrics(sized, files)
    missing["quality"] += [
        MetricRecord(name, task, MODEL, name.rpartition("_")[2], ALL_VIDEOS, None, "", "lower", reason)
        for name, reason in NOT_IMPLEMENTED.items()
        for task in ("self", "cross")
    ]
    return ready, missing


def _with_suffix(measured: Measured, missing: Mapping[str, list[MetricRecord]], suffix: str) -> Measured:
    """All records with those that are missing; the suffix is added to the scorers' names."""

    def named(records: Sequence[MetricRecord]) -> list[MetricRecord]:
        return [replace(record, scorer=record.scorer + suffix) for record in records]

    control = measured.control
    control.records = named([*control.records, *missing["face"], *missing["blendshape"]])
    control.cells = [{**cell, "scorer": f"{cell['scorer']}{suffix}"} for cell in control.cells]
    return replace(
        measured,
        lip_sync=named([*measured.lip_sync, *missing["lip_sync"]]),
        quality=named([*measured.quality, *missing["quality"]]),
    )
