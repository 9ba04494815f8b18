"""The asset `identity_report`. Optional: in no job and no plan, materialized by hand."""

import json

from dagster import AssetExecutionContext, AssetsDefinition, DataVersion, MetadataValue, asset

from pipelines.deployed_settings import deployed
from pipelines.forms import config_class
from pipelines.metadata import AssetResult, build_reason, published_metadata
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.preprocessing.batch_steps import optional_step_assets
from pipelines.resources import WorkspaceResource
from pipelines.web.locations import build_link
from preprocessing.labels.identity import STEP
from preprocessing.labels.identity_report import CODE_VERSION as REPORT_VERSION
from preprocessing.labels.identity_report import (
    REPORT_NAME,
    IdentityReportSettings,
    run_identity_report,
)
from preprocessing.orchestration.steps import (
    OPTIONAL_STEPS,
    PreprocessingSettings,
    resolve_step_weights,
)
from storage.objects import read_bytes

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
    with guarded_step(context):
        published = run_identity_report(workspace.open(), config.to_settings(), force=workspace.force)
    context.log.info("%s", build_reason(published))
    contents = json.loads(read_bytes(published.directory / REPORT_NAME))
    suspects = {
        name.replace("_", " "): MetadataValue.json(rows[:ROWS_SHOWN])
        for name, rows in contents.items()
        if isinstance(rows, list) and rows
    }
    return AssetResult(
        metadata=published_metadata(published) | suspects | {"report": build_link(published, REPORT_NAME)},
        data_version=DataVersion(published.manifest.content_digest),
    )


def identity_assets() -> list[AssetsDefinition]:
    """`identity_embeddings` and `identity_report`; none until the weights of the first are there.

    So *Materialize all* does not fail for want of weights. The UI shows them after *Reload definitions*.
    """
    try:
        resolve_step_weights(deployed(PreprocessingSettings), OPTIONAL_STEPS)
    except (FileNotFoundError, ValueError):
        return []
    return [*optional_step_assets, identity_report]
