"""Published reports of made-up figures, without videos and without a page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from upath import UPath

from evaluation.comparison.evaluated_run import EvaluatedRun
from evaluation.figures import FigureRow, write_figures
from evaluation.generation.files import GENERATED_VIDEOS, PROTOCOL_NAME
from evaluation.generation.reenactment import ReenactmentProtocol, write_protocol
from evaluation.report.sources import EVALUATIONS
from evaluation.report.summary import EVALUATION_REPORT, REPORT_TABLE
from storage.publishing import BuildReport, Published, Recipe, materialise
from tests.factories.report import small_protocol


def publish_report(
    root: UPath, run: str, rows: Sequence[FigureRow], protocol: ReenactmentProtocol | None = None
) -> Published:
    """Videos, evaluations and report of a run; all figures are the control evaluation's."""
    told = protocol or small_protocol()
    weights = {"dataset": "d" * 64, "stage3_expression": f"{run:a<64}"}
    videos = _publish(
        root, GENERATED_VIDEOS, run, weights, lambda folder: write_protocol(folder / PROTOCOL_NAME, told)
    )
    inputs = {GENERATED_VIDEOS: videos.manifest.content_digest}
    for name in EVALUATIONS:
        mine = rows if name == EVALUATIONS[0] else []
        made = _publish(
            root,
            name,
            run,
            {GENERATED_VIDEOS: videos.manifest.content_digest},
            lambda folder, mine=mine: write_figures(folder / "figures.parquet", mine),
        )
        inputs[name] = made.manifest.content_digest
    return _publish(
        root, EVALUATION_REPORT, run, inputs, lambda folder: write_figures(folder / REPORT_TABLE, rows)
    )


def _publish(
    root: UPath, asset: str, run: str, inputs: Mapping[str, str], fill: Callable[[Path], None]
) -> Published:
    """Always built: figures are no part of the recipe."""

    def build(folder: Path) -> BuildReport:
        fill(folder)
        return BuildReport(counts={}, refusals={})

    return materialise(root, Recipe(asset, run, "1", {}, inputs), build, force=True)


def evaluated(
    rows: Sequence[FigureRow], run: str = "new", protocol: ReenactmentProtocol | None = None
) -> EvaluatedRun:
    """A run as it is read, that was never published."""
    return EvaluatedRun(
        run=run,
        report=f"assets/evaluation_report/{run}/0-0",
        report_content="a" * 64,
        weights="b" * 64,
        dataset="d" * 64,
        protocol=protocol or small_protocol(),
        figures=tuple(rows),
    )
