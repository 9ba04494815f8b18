"""The asset `dataset`: all batches' shards as one data set with splits, statistics and a card."""

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    DataVersion,
    MetadataValue,
    asset,
    asset_check,
)

from pipelines.checks import check_result
from pipelines.materialised import Materialised
from pipelines.metadata import published_metadata
from pipelines.operations.automation import after_batches
from pipelines.operations.retries import retry_transient_errors
from pipelines.preprocessing.batch_steps import step_assets
from pipelines.preprocessing.pictures import dataset_pictures
from pipelines.resources import DatasetResource, WorkspaceResource
from pipelines.table_columns import column_schema
from preprocessing.dataset.joining import CODE_VERSION, INDEX_SCHEMA, check_dataset
from preprocessing.dataset.whole import DATASET, WHOLE, run_dataset
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
) -> Materialised:
    """The whole data set: an index into all shards, splits by identity, statistics and a card.

    Training reads this index. Batches without shards are left out until they have them.
    """
    root = workspace.open()
    with retry_transient_errors(context):
        published = run_dataset(
            root, dataset_config.to_settings(), force=workspace.force, progress=context.log.info
        )
    card = local_copy(published.directory) / "dataset_card.md"
    return Materialised(
        metadata=published_metadata(published)
        | {"card": MetadataValue.path(str(card))}
        | dataset_pictures(root),
        data_version=DataVersion(published.manifest.content_digest),
    )


@asset_check(asset=dataset, blocking=True)
def identities_disjoint(workspace: WorkspaceResource) -> AssetCheckResult:
    """No identity and no video stands in two splits, and the index agrees with the shards."""
    published = current(workspace.open(), DATASET, WHOLE)
    if published is None:
        raise ValueError("the data set is not made yet, so there is nothing to check: materialise it first")
    problems = check_dataset(local_copy(published.directory))
    explanation = "; ".join(problems) if problems else "splits are disjoint, the index is sound"
    outcome = CheckOutcome(not problems, explanation, {"problems": len(problems)})
    return check_result(outcome, name="identities_disjoint", blocking=True)
