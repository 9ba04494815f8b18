"""The asset `dataset`: the shards of all batches, with splits, statistics and a card."""

from typing import Final

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    DataVersion,
    asset,
    asset_check,
)

from pipelines.checks import check_result
from pipelines.deployed_settings import deployed
from pipelines.metadata import AssetResult, column_schema, published_metadata, settings_metadata
from pipelines.operations.automation import after_batches
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.preprocessing.batch_steps import step_assets
from pipelines.preprocessing.pictures import dataset_pictures
from pipelines.resources import DatasetResource, WorkspaceResource
from pipelines.web.locations import build_link
from preprocessing.dataset.index import DATASET, INDEX_SCHEMA, WHOLE
from preprocessing.dataset.joining import CODE_VERSION, DatasetSettings, check_dataset, run_dataset
from preprocessing.orchestration.chosen_settings import (
    apply_changes,
    changes_between,
    keep_for_dataset,
    read_chosen,
)
from storage.checks import CheckOutcome
from storage.publishing import current
from storage.root import local_copy

AUTOMATION_TAG: Final = "dagster/from_automation_condition"


@asset(
    deps=[step_assets[-1]],
    group_name="dataset",
    kinds={"webdataset", "parquet"},
    owners=["team:data"],
    code_version=CODE_VERSION,
    automation_condition=after_batches("shards"),
    metadata={"columns": column_schema(INDEX_SCHEMA)},
)
def dataset(
    context: AssetExecutionContext, workspace: WorkspaceResource, dataset_config: DatasetResource
) -> AssetResult:
    """Index of all shards, with splits by identity, statistics and a data set card.

    Training reads this index. Batches without shards are not included.
    """
    with guarded_step(context):
        root = workspace.open()
        deployed_settings = deployed(DatasetSettings)
        changes = changes_between(deployed_settings, dataset_config.to_settings())
        if AUTOMATION_TAG in context.run.tags and (kept := read_chosen(root).dataset) is not None:
            changes = dict(kept.changes)
        settings = apply_changes(deployed_settings, changes)
        published = run_dataset(root, settings, force=workspace.force)
        keep_for_dataset(root, changes, context.run.run_id)
    return AssetResult(
        metadata=dataset_pictures(published)
        | {"card": build_link(published, "dataset_card.md")}
        | published_metadata(published)
        | settings_metadata(changes),
        data_version=DataVersion(published.manifest.content_digest),
    )


@asset_check(asset=dataset, blocking=True)
def identities_disjoint(workspace: WorkspaceResource) -> AssetCheckResult:
    """No identity and no video is in two splits, and the index matches the shards."""
    published = current(workspace.open(), DATASET, WHOLE)
    if published is None:
        raise ValueError("there is no data set to check: materialize the asset dataset first")
    problems = check_dataset(local_copy(published.directory))
    explanation = "; ".join(problems) if problems else "the splits are disjoint and the index is valid"
    outcome = CheckOutcome(not problems, explanation, {"problems": len(problems)})
    return check_result(outcome, name="identities_disjoint", blocking=True)
