"""Assets about identities. Optional: they are in no job and no plan, and are materialized by hand."""

import json

from dagster import AssetExecutionContext, DataVersion, MetadataValue, asset

from pipelines.forms import config_class
from pipelines.metadata import AssetResult, build_reason, column_schema, published_metadata
from pipelines.operations.retries import retry_transient_errors
from pipelines.partitions import batches
from pipelines.preprocessing.batch_steps import step_assets
from pipelines.resources import PreprocessingResource, WorkspaceResource
from preprocessing.labels.identity import STEP, IdentitySettings
from preprocessing.labels.identity_report import CODE_VERSION as REPORT_VERSION
from preprocessing.labels.identity_report import (
    REPORT_NAME,
    IdentityReportSettings,
    run_identity_report,
)
from preprocessing.orchestration.steps import run_step
from preprocessing.sources.stored_catalog import load_batch
from storage.root import local_copy
from storage.transfer import read_bytes

ROWS_SHOWN = 50


class IdentityReportConfig(config_class(IdentityReportSettings)):
    """Thresholds of the identity report."""


@asset(
    deps=[next(step for step in step_assets if step.key.to_user_string() == "clips")],
    partitions_def=batches,
    group_name="identities",
    kinds={"onnx", "parquet"},
    owners=["team:data"],
    code_version=STEP.full_code_version(IdentitySettings()),
    metadata={"dagster/column_schema": column_schema(STEP.columns)},
)
def identity_embeddings(
    context: AssetExecutionContext, workspace: WorkspaceResource, preprocessing: PreprocessingResource
) -> AssetResult:
    """An embedding of the face in every clip, by InsightFace (`pdfgc weights fetch buffalo_l`)."""
    root, key, settings = workspace.open(), context.partition_key, preprocessing.to_settings()
    with retry_transient_errors(context):
        published = run_step(
            root,
            STEP.name,
            load_batch(root, key),
            settings,
            force=workspace.force,
        )
    context.log.info("%s", build_reason(published))
    return AssetResult(
        metadata=published_metadata(published), data_version=DataVersion(published.manifest.content_digest)
    )


@asset(
    deps=[identity_embeddings],
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
