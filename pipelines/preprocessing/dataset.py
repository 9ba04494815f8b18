"""The asset `dataset`: the shards of all batches, with splits, statistics and a card."""

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    DataVersion,
    MetadataValue,
    asset,
    asset_check,
)

from pipelines.checks import check_result
from pipelines.metadata import AssetResult, column_schema, published_metadata
from pipelines.operations.automation import after_batches
from pipelines.operations.retries import retry_transient_errors
from pipelines.preprocessing.batch_steps import step_assets
from pipelines.preprocessing.pictures import dataset_pictures
from pipelines.resources import DatasetResource, WorkspaceResource
from preprocessing.dataset.index import DATASET, INDEX_SCHEMA, WHOLE
from preprocessing.dataset.joining import CODE_VERSION, check_dataset, run_dataset
from storage.checks import CheckOutcome
from storage.publishing import current
from storage.root import local_copy


@asset(
    deps=[step_assets[-1]],
    group_name="dataset",
    kinds={"webdataset", "parquet"},
    owners=["team:data"],
    code_version=CODE_VERSION,
    automation_condition=after_batches("shards"),
    metadata={"dagster/column_schema": column_schema(INDEX_SCHEMA)},
)
def dataset(
    context: AssetExecutionContext, workspace: WorkspaceResource, dataset_config: DatasetResource
) -> AssetResult:
    """Index of all shards, with splits by identity, statistics and a data set card.

    Training reads this index. Batches without shards are not included.
    """
    root = workspace.open()
    with retry_transient_errors(context):
        published = run_dataset(root, dataset_config.to_settings(), force=workspace.force)
    card = local_copy(published.directory) / "dataset_card.md"
    return AssetResult(
        metadata=published_metadata(published)
        | {"card": MetadataValue.path(str(card))}
        | dataset_pictures(root),
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
