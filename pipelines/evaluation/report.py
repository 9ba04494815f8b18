"""The asset `evaluation_report`: an HTML page, and its records as Parquet."""

from typing import Any

from dagster import AssetExecutionContext, DataVersion, MetadataValue, asset

from evaluation.records import read_records
from evaluation.report.build import CODE_VERSION, ReportSettings, run_report
from evaluation.report.sources import EVALUATIONS
from evaluation.report.summary import REPORT_PAGE, REPORT_TABLE, SUMMARY_SCHEMA, markdown_tables
from pipelines.evaluation.baseline_run import regression_check_spec, run_regression_check
from pipelines.metadata import AssetResult, column_schema, published_metadata
from pipelines.operations.automation import after_any_of
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.partitions import training_runs
from pipelines.resources import BaselineResource, WorkspaceResource
from pipelines.web.locations import build_link
from storage.publishing import Published
from storage.root import local_copy


@asset(
    deps=list(EVALUATIONS),
    partitions_def=training_runs,
    group_name="evaluation",
    kinds={"html", "parquet"},
    owners=["team:training"],
    code_version=CODE_VERSION,
    check_specs=[regression_check_spec()],
    automation_condition=after_any_of(*EVALUATIONS),
    metadata={"columns": column_schema(SUMMARY_SCHEMA)},
)
def evaluation_report(
    context: AssetExecutionContext,
    workspace: WorkspaceResource,
    baseline: BaselineResource,
) -> AssetResult:
    """Evaluation of a run as a self-contained HTML page with videos, matrices and tables, and as Parquet.

    Metrics on which a baseline is ahead of the model are marked.
    """
    with guarded_step(context):
        root = workspace.open()
        run = context.partition_key
        published = run_report(root, run, ReportSettings(), force=workspace.force)
    return AssetResult(
        metadata=report_metadata(published),
        check_results=[run_regression_check(root, run, baseline.to_settings())],
        data_version=DataVersion(published.manifest.content_digest),
    )


def report_metadata(published: Published) -> dict[str, Any]:
    """Path of the page, table of means, and the metadata of every published asset."""
    folder = local_copy(published.directory)
    tables = markdown_tables(read_records(folder / REPORT_TABLE))
    return {
        "run": published.manifest.partition,
        "report": build_link(published, REPORT_PAGE),
        "table: means": MetadataValue.md(tables),
    } | published_metadata(published)
