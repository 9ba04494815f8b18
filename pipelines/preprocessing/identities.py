"""The asset `identity_report`. Optional: in no job and no plan, materialized by hand."""

import json

from dagster import AssetExecutionContext, DataVersion, MetadataValue, asset

from pipelines.forms import config_class
from pipelines.metadata import AssetResult, build_reason, published_metadata
from pipelines.operations.retries import retry_transient_errors
from pipelines.resources import WorkspaceResource
from preprocessing.labels.identity import STEP
from preprocessing.labels.identity_report import CODE_VERSION as REPORT_VERSION
from preprocessing.labels.identity_report import (
    REPORT_NAME,
    IdentityReportSettings,
    run_identity_report,
)
from storage.objects import read_bytes
from storage.root import local_copy

ROWS_SHOWN = 50


class IdentityReportConfig(config_class(IdentityReportSettings)):
    """Thresholds of the identity report."""


@asset(
    deps=[STEP.name],
    group_name="identities",
    kinds={"json"},
    owners=["team:data"],
    code_version=REPORT_VERSION,
)
def identity_report(
    context: AssetExecutionContext,
    config: IdentityReportConfig,
    workspace: WorkspaceResource,
) -> AssetResult:
    """Suspicious identities: clips of two people, clips under another name, one person under two names.

    Changes nothing in the data set.
    """
    with retry_transient_errors(context):
        published = run_identity_report(workspace.open(), config.to_settings(), force=workspace.force)
    context.log.info("%s", build_reason(published))
    contents = json.loads(read_bytes(published.directory / REPORT_NAME))
    suspects = {
        name.replace("_", " "): MetadataValue.json(rows[:ROWS_SHOWN])
        for name, rows in contents.items()
        if isinstance(rows, list) and rows
    }
    report = local_copy(published.directory) / REPORT_NAME
    return AssetResult(
        metadata=published_metadata(published) | suspects | {"report": MetadataValue.path(str(report))},
        data_version=DataVersion(published.manifest.content_digest),
    )
