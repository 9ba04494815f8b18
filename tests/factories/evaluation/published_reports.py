"""Published reports of given records, without videos and without a page."""

from collections.abc import Sequence

from upath import UPath

from evaluation.comparison.evaluated_run import EvaluatedRun
from evaluation.generation.files import GENERATED_VIDEOS, PLAN_NAME
from evaluation.generation.reenactment import ReenactmentPlan, write_plan
from evaluation.records import MetricRecord, write_records
from evaluation.report.sources import EVALUATIONS
from evaluation.report.summary import EVALUATION_REPORT, REPORT_TABLE
from storage.manifest import Input
from storage.publishing import Published
from tests.factories.evaluation.report import publish_files, small_plan


def publish_report(
    root: UPath, run: str, records: Sequence[MetricRecord], plan: ReenactmentPlan | None = None
) -> Published:
    """Publish videos, evaluations and report of a run; all records belong to the control evaluation."""
    written_plan = plan or small_plan()
    weights = {"dataset": Input("d" * 64), "stage3_expression": Input(f"{run:a<64}")}
    videos = publish_files(
        root, GENERATED_VIDEOS, run, weights, lambda folder: write_plan(folder / PLAN_NAME, written_plan)
    )
    inputs = {GENERATED_VIDEOS: videos.as_input()}
    for name in EVALUATIONS:
        own = records if name == EVALUATIONS[0] else []
        evaluation = publish_files(
            root,
            name,
            run,
            {GENERATED_VIDEOS: videos.as_input()},
            lambda folder, own=own: write_records(folder / "metric_records.parquet", own),
        )
        inputs[name] = evaluation.as_input()
    return publish_files(
        root, EVALUATION_REPORT, run, inputs, lambda folder: write_records(folder / REPORT_TABLE, records)
    )


def evaluated(
    records: Sequence[MetricRecord], run: str = "new", plan: ReenactmentPlan | None = None
) -> EvaluatedRun:
    """An evaluated run that is not published."""
    return EvaluatedRun(
        run=run,
        report=f"assets/evaluation_report/{run}/0-0",
        report_content="a" * 64,
        weights="b" * 64,
        weights_location=f"assets/stage3_expression/{run}/0-0",
        dataset="d" * 64,
        plan=plan or small_plan(),
        records=tuple(records),
    )
