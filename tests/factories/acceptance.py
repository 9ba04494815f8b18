"""Published reports of made-up figures, without videos and without a page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from upath import UPath

from evaluation.comparison.evaluated_run import EvaluatedRun
from evaluation.generation.files import GENERATED_VIDEOS, PLAN_NAME
from evaluation.generation.reenactment import ReenactmentPlan, write_plan
from evaluation.records import MetricRecord, write_records
from evaluation.report.sources import EVALUATIONS
from evaluation.report.summary import EVALUATION_REPORT, REPORT_TABLE
from storage.publishing import BuildReport, Published, Recipe, materialise
from tests.factories.report import small_plan


def publish_report(
    root: UPath, run: str, rows: Sequence[MetricRecord], plan: ReenactmentPlan | None = None
) -> Published:
    """Videos, evaluations and report of a run; all figures are the control evaluation's."""
    told = plan or small_plan()
    weights = {"dataset": "d" * 64, "stage3_expression": f"{run:a<64}"}
    videos = _publish(
        root, GENERATED_VIDEOS, run, weights, lambda folder: write_plan(folder / PLAN_NAME, told)
    )
    inputs = {GENERATED_VIDEOS: videos.manifest.content_digest}
    for name in EVALUATIONS:
        mine = rows if name == EVALUATIONS[0] else []
        made = _publish(
            root,
            name,
            run,
            {GENERATED_VIDEOS: videos.manifest.content_digest},
            lambda folder, mine=mine: write_records(folder / "metric_records.parquet", mine),
        )
        inputs[name] = made.manifest.content_digest
    return _publish(
        root, EVALUATION_REPORT, run, inputs, lambda folder: write_records(folder / REPORT_TABLE, rows)
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
    rows: Sequence[MetricRecord], run: str = "new", plan: ReenactmentPlan | None = None
) -> EvaluatedRun:
    """A run as it is read, that was never published."""
    return EvaluatedRun(
        run=run,
        report=f"assets/evaluation_report/{run}/0-0",
        report_content="a" * 64,
        weights="b" * 64,
        dataset="d" * 64,
        plan=plan or small_plan(),
        figures=tuple(rows),
    )
