"""Evaluated runs side by side in one short table, for a terminal of 80 columns.

A column is a run, the baseline of copying the portrait, or the released model. Everything but PSNR is
protocol `control_follow`, read by the mesh: every driver is another clip, pooled over the cross videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from upath import UPath

from evaluation.controls import Control
from evaluation.generation.reenactment import ReenactmentPlan
from evaluation.metrics.control.matrix import FOLLOW
from evaluation.readings.face import SCORER
from evaluation.records import COPY_PORTRAIT, MODEL, OFFICIAL_PUBLISHED, RecordKey, Summary, Task, summarise
from evaluation.report.judges import INDEPENDENT_READER, is_independent
from evaluation.report.matrix import MatrixCell, build_matrices
from evaluation.report.numbers import NO_VALUE, correlation_text, number
from evaluation.report.sources import RunSources, read_sources

FOLLOWED: Final[Mapping[str, tuple[Control, str]]] = MappingProxyType(
    {
        "pitch": ("pose", "pitch"),
        "yaw": ("pose", "yaw"),
        "roll": ("pose", "roll"),
        "mouth by sound": ("lip", "mouth_opening"),
        "gaze sideways": ("eye", "gaze_yaw"),
        "gaze up and down": ("eye", "gaze_pitch"),
        "blink": ("eye", "blink"),
        "smile": ("expression", "smile"),
        "brows": ("expression", "brow_raise"),
    }
)
"""Row -> the control that drives it, and its measure."""
FACES: Final = "frames with a face"
LEAK: Final = "largest leak"
"""Of all measures that another control drives: the one of largest gain."""
SCORE: Final = "control score"
PSNR_SELF: Final = "PSNR self, dB"
PSNR_CROSS: Final = "PSNR cross, dB"
ROWS: Final = (FACES, *FOLLOWED, LEAK, SCORE, PSNR_SELF, PSNR_CROSS)
COPYING: Final = "copying"
RELEASED: Final = "released"
RELEASED_FIGURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        FACES: "1.00",
        "pitch": ".94 (.81)",
        "yaw": ".98 (.92)",
        "roll": ".98 (.92)",
        "gaze sideways": ".97 (.64)",
        "gaze up and down": ".24 (.18)",
        "blink": ".96 (.83)",
        LEAK: ".57 (.51)",
        SCORE: ".71",
    }
)
"""Measured once, by the same reader, on two videos that the authors published (docs/measured.md)."""
LABEL_COLUMNS: Final = 20
CELL_COLUMNS: Final = 15
WIDTH: Final = LABEL_COLUMNS + 4 * CELL_COLUMNS


@dataclass(frozen=True)
class TableColumn:
    """A column: its title, and its cells by row; rows that it lacks are shown as a dash."""

    title: str
    cells: Mapping[str, str]


def run_table(root: UPath, runs: Sequence[str]) -> list[str]:
    """Lines of the table of evaluated runs, beside copying the portrait and the released model.

    Raises:
        ValueError: a run is not evaluated, or there is none.
    """
    sources = [read_sources(root, run) for run in runs]
    if not sources:
        raise ValueError("need at least one evaluated run, got none")
    columns = [TableColumn(f"{one.run} {one.facts.side_px} px", run_cells(one)) for one in sources]
    columns.append(TableColumn(COPYING, copying_cells(sources)))
    columns.append(TableColumn(RELEASED, released_cells(sources[0])))
    return [*header(sources[0].plan), *table_lines(columns), *footnotes(sources)]


def run_cells(sources: RunSources) -> dict[str, str]:
    """Cells of a run's model."""
    return _method_cells(sources, MODEL)


def copying_cells(sources: Sequence[RunSources]) -> dict[str, str]:
    """Cells of the copied portrait; PSNR at the side of every run, since sides do not compare."""
    cells = _method_cells(sources[0], COPY_PORTRAIT)
    for row in (PSNR_SELF, PSNR_CROSS):
        values = dict.fromkeys(_method_cells(one, COPY_PORTRAIT)[row] for one in sources)
        cells[row] = " / ".join(values)
    return cells


def released_cells(sources: RunSources) -> Mapping[str, str]:
    """Cells of the released model: of its published videos if they were evaluated, else those known."""
    if not any(cell.method == OFFICIAL_PUBLISHED for cell in sources.matrix):
        return RELEASED_FIGURES
    return _method_cells(sources, OFFICIAL_PUBLISHED)


def header(plan: ReenactmentPlan) -> list[str]:
    """What was evaluated."""
    counts = {task: len(plan.of_task(task)) for task in ("self", "cross")}
    clips = len(plan.clips())
    return [f"{plan.where}: {counts['self']} self and {counts['cross']} cross videos of {clips} clips"]


def table_lines(columns: Sequence[TableColumn]) -> list[str]:
    """The table as text: titles, a rule, and `ROWS`."""
    titles = "".join(f"{column.title:>{CELL_COLUMNS}}" for column in columns)
    lines = [f"{'r (gain)':<{LABEL_COLUMNS}}{titles}", "-" * (LABEL_COLUMNS + CELL_COLUMNS * len(columns))]
    for row in ROWS:
        cells = "".join(f"{column.cells.get(row, NO_VALUE):>{CELL_COLUMNS}}" for column in columns)
        lines.append(f"{row:<{LABEL_COLUMNS}}{cells}")
    return lines


def footnotes(sources: Sequence[RunSources]) -> list[str]:
    """Where the last column comes from, and why a row has no values."""
    notes = [
        "released: the authors' published videos of other people, same reader",
        independent_score(sources),
    ]
    reasons = [
        reason
        for one in sources
        for record in one.records
        if record.metric.startswith("psnr_cross_truth") and (reason := record.missing_because)
    ]
    return [*notes, *(f"PSNR cross: {reason}"[:WIDTH] for reason in dict.fromkeys(reasons[:1]))]


def independent_score(sources: Sequence[RunSources]) -> str:
    """Control scores by a reader that took no part in training, or why there are none."""
    scores: list[str] = []
    for one in sources:
        cells = [
            cell
            for cell in one.matrix
            if (cell.method, cell.protocol) == (MODEL, FOLLOW) and is_independent(cell.scorer)
        ]
        if cells:
            scores.append(f"{one.run} {correlation_text(build_matrices(cells)[0].score)}")
    if not scores:
        return "no judge apart from training: --face-landmarker-weights is not set"
    return f"control score by {INDEPENDENT_READER}, no part in training: {', '.join(scores)}"


def _method_cells(sources: RunSources, method: str) -> dict[str, str]:
    summaries = {summary.key: summary for summary in summarise(sources.records)}
    matrix = [
        cell
        for cell in sources.matrix
        if (cell.method, cell.protocol, cell.scorer) == (method, FOLLOW, SCORER)
    ]
    by_place = {(cell.driver, cell.measure): cell for cell in matrix}
    leaks = [cell for cell in matrix if not cell.own and cell.scored_correlation is not None]
    largest = max(leaks, key=lambda cell: abs(cell.gain or 0.0), default=None)
    side = sources.facts.side_px

    def mean(metric: str, tasks: Sequence[Task], places: int, scorer: str = SCORER) -> str:
        for task in tasks:
            summary: Summary | None = summaries.get(RecordKey(metric, task, method, scorer))
            if summary is not None and summary.mean is not None:
                return number(summary.mean, places)
        return NO_VALUE

    return {
        FACES: mean("face_found_share", ("cross", "self"), 2),
        **{row: _cell_text(by_place.get(place)) for row, place in FOLLOWED.items()},
        LEAK: _cell_text(largest),
        SCORE: correlation_text(build_matrices(matrix)[0].score if matrix else None),
        PSNR_SELF: mean(f"psnr_{side}px", ("self",), 1, "torchmetrics"),
        PSNR_CROSS: mean(f"psnr_cross_truth_{side}px", ("cross",), 1, "torchmetrics"),
    }


def _cell_text(cell: MatrixCell | None) -> str:
    """Correlation and gain; 0 if the driver moved and the output did not."""
    if cell is None or cell.scored_correlation is None:
        return NO_VALUE
    if cell.still or cell.gain is None:
        return "0"
    return f"{correlation_text(cell.correlation)} ({correlation_text(cell.gain)})"
