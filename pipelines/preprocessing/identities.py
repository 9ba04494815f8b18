"""The assets of identities, off by default: in no job and no plan, made when a person asks for them."""

import json

from dagster import AssetExecutionContext, DataVersion, MetadataValue, asset

from pipelines.forms import config_class
from pipelines.materialised import Materialised
from pipelines.metadata import published_metadata, what_happened
from pipelines.operations.retries import retry_transient_errors
from pipelines.partitions import batches
from pipelines.preprocessing.batch_steps import step_assets
from pipelines.resources import PreprocessingResource, WorkspaceResource
from pipelines.table_columns import column_schema
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
) -> Materialised:
    """Who is seen in each clip, by InsightFace's recognition network (`pdfgc weights fetch buffalo_l`)."""
    root, key, settings = workspace.open(), context.partition_key, preprocessing.to_settings()
    with retry_transient_errors(context):
        published = run_step(
            root,
            STEP.name,
            load_batch(root, key),
            settings,
            force=workspace.force,
        )
    context.log.info("%s", what_happened(published))
    return Materialised(
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
) -> Materialised:
    """Clips of two people, clips under another's name, one person under two names; nothing is changed."""
    with retry_transient_errors(context):
        published = run_identity_report(workspace.open(), config.to_settings(), force=workspace.force)
    context.log.info("%s", what_happened(published))
    told = json.loads(read_bytes(published.directory / REPORT_NAME))
    findings = {
        name.replace("_", " "): MetadataValue.json(rows[:ROWS_SHOWN])
        for name, rows in told.items()
        if isinstance(rows, list) and rows
    }
    report = local_copy(published.directory) / REPORT_NAME
    return Materialised(
        metadata=published_metadata(published) | findings | {"report": MetadataValue.path(str(report))},
        data_version=DataVersion(published.manifest.content_digest),
    )
