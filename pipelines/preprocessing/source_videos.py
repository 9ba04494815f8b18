"""The asset `source_videos`: every video ever seen, accepted or refused with a reason."""

from dagster import AssetExecutionContext, MetadataValue, asset

from pipelines.materialised import Materialised
from pipelines.metadata import refusal_table
from pipelines.operations.retries import retry_transient_errors
from pipelines.partitions import add_batches
from pipelines.resources import SourcesResource, WorkspaceResource
from pipelines.table_columns import column_schema
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
) -> Materialised:
    """Scan the folders of talking videos; known files are not read again.

    New videos are grouped into batches of whole identities: each becomes a partition of the assets
    that follow. Materialise this first, then `face_tracks` to `shards` for the new batches.
    """
    root = workspace.open()
    with retry_transient_errors(context):
        report = scan_sources(root, sources.all_folders(), sources.to_settings(), context.log.info)
    batches = batch_keys(root)
    new = add_batches(context.instance, batches)
    catalog = report.catalog
    refusals = report.refusals
    return Materialised(
        metadata={
            "videos": catalog.num_rows,
            "accepted": catalog.num_rows - sum(refusals.values()),
            "refused": sum(refusals.values()),
            "refusals by reason": refusal_table(refusals),
            "files found": report.files_found,
            "files read": report.files_read,
            "newly missing": report.newly_missing,
            "identities": len(accepted_identities(catalog)),
            "batches": len(batches),
            "new batches": MetadataValue.json(new),
            "folders that could not be read": MetadataValue.json(list(report.unreadable_folders)),
            "catalog": MetadataValue.path(str(root / CATALOG_FOLDER / CATALOG_NAME)),
        }
    )
