"""The asset `source_videos`: the catalog of all videos, accepted or refused with a reason."""

from dagster import AssetExecutionContext, MetadataValue, asset

from pipelines.metadata import AssetResult, column_schema, refusal_table
from pipelines.operations.retries import retry_transient_errors
from pipelines.partitions import add_batches
from pipelines.resources import SourcesResource, WorkspaceResource
from preprocessing.sources.catalog import CATALOG_SCHEMA
from preprocessing.sources.stored_catalog import (
    CATALOG_FOLDER,
    CATALOG_NAME,
    accepted_identities,
    batch_keys,
    scan_sources,
)


@asset(
    group_name="sources",
    kinds={"video", "parquet"},
    owners=["team:data"],
    metadata={"dagster/column_schema": column_schema(CATALOG_SCHEMA)},
)
def source_videos(
    context: AssetExecutionContext, workspace: WorkspaceResource, sources: SourcesResource
) -> AssetResult:
    """Catalog of all talking videos. Materializing it scans the folders; known files are not read again.

    New videos are grouped into batches of whole identities. Each batch is a partition of the assets
    `face_tracks` to `shards`.
    """
    root = workspace.open()
    with retry_transient_errors(context):
        report = scan_sources(
            root, sources.all_folders(), sources.to_settings(), retry_failed=workspace.retry
        )
    batches = batch_keys(root)
    new = add_batches(context.instance, batches)
    catalog = report.catalog
    refusals = report.refusals
    return AssetResult(
        metadata={
            "videos": catalog.num_rows,
            "accepted": catalog.num_rows - sum(refusals.values()),
            "refused": sum(refusals.values()),
            "refusals by reason": refusal_table(refusals),
            "files listed": report.files_found,
            "files read": report.files_read,
            "newly missing": report.newly_missing,
            "identities": len(accepted_identities(catalog)),
            "batches": len(batches),
            "new batches": MetadataValue.json(new),
            "other files by ending": MetadataValue.json(report.other_files),
            "unreadable folders": MetadataValue.json(list(report.unreadable_folders)),
            "catalog": MetadataValue.path(str(root / CATALOG_FOLDER / CATALOG_NAME)),
        }
    )
