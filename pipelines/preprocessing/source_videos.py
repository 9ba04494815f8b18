"""The asset `source_videos`, the catalog of all videos, and the job `add_videos` that adds a folder to it."""

from pathlib import Path
from typing import Any, Final

from dagster import (
    AssetExecutionContext,
    AssetMaterialization,
    Config,
    DagsterInstance,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Out,
    asset,
    job,
    op,
)
from pydantic import Field
from upath import UPath

from pipelines.deployed_settings import deployed
from pipelines.metadata import AssetResult, column_schema, first_refused, refusal_table
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.partitions import add_batches
from pipelines.resources import SourcesResource, WorkspaceResource
from pipelines.web.locations import launchpad_url, root_link
from preprocessing.orchestration.refusals import catalog_refusals
from preprocessing.sources.catalog import CATALOG_SCHEMA
from preprocessing.sources.remote import SourcePath, is_folder, source_path
from preprocessing.sources.stored_catalog import (
    CATALOG_FOLDER,
    CATALOG_NAME,
    SourceReport,
    SourceSettings,
    accepted_identities,
    batch_keys,
    folders_to_scan,
    scan_sources,
)
from storage.printable import display_text
from storage.settings import near_names

ADD_VIDEOS: Final = "add_videos"
DESCRIPTION: Final = f"""**Start here: [add a folder of videos]({launchpad_url(ADD_VIDEOS)})**,
the job `{ADD_VIDEOS}`.

Catalog of all talking videos. Materializing it scans the watched folders for new files. New videos are
grouped into batches of whole identities. Each batch is a partition of the assets `face_tracks` to
`shards`."""


@asset(
    group_name="sources",
    kinds={"video", "parquet"},
    owners=["team:data"],
    description=DESCRIPTION,
    metadata={"columns": column_schema(CATALOG_SCHEMA)},
)
def source_videos(
    context: AssetExecutionContext, workspace: WorkspaceResource, sources: SourcesResource
) -> AssetResult:
    """Catalog of all talking videos."""
    with guarded_step(context):
        root = workspace.open()
        settings = sources.to_settings()
        report = scan_sources(root, sources.all_folders(), settings, retry_failed=workspace.retry)
    return AssetResult(metadata=scan_metadata(context.instance, root, report))


def scan_metadata(instance: DagsterInstance, root: UPath, report: SourceReport) -> dict[str, Any]:
    """Counts and refusals of a scan; each new batch becomes a partition."""
    batches = batch_keys(root)
    new = add_batches(instance, batches)
    catalog, refusals = report.catalog, report.refusals
    folders = [str(folder) for folder in folders_to_scan(catalog, [])]
    return {
        "videos": catalog.num_rows,
        "dagster/row_count": catalog.num_rows,
        "accepted": catalog.num_rows - sum(refusals.values()),
        "refused": sum(refusals.values()),
        "refusals by reason": refusal_table(refusals),
        **first_refused(catalog_refusals(root)),
        "watched folders": MetadataValue.md("\n".join(f"- {display_text(folder)}" for folder in folders)),
        "files listed": report.files_found,
        "files read": report.files_read,
        "newly missing": report.newly_missing,
        "identities": len(accepted_identities(catalog)),
        "batches": len(batches),
        "new batches": MetadataValue.json(new),
        "other files by ending": MetadataValue.json(report.other_files),
        "unreadable folders": MetadataValue.json(list(report.unreadable_folders)),
        "catalog": root_link(root, root / CATALOG_FOLDER / CATALOG_NAME),
    }


class AddVideosConfig(Config):
    """A folder of videos."""

    folder: str = Field(
        default="",
        description="Folder of videos, or s3://bucket/prefix. Its first level of folders names the person: "
        "FOLDER/person/.../clip.mp4",
    )


@op(out=Out(Nothing), tags={"kind": "video"}, description="Scan a folder of videos and watch it from now on.")
def add_videos_op(context: OpExecutionContext, config: AddVideosConfig) -> None:
    """Scan one more folder, with the deployment's settings: the form has one line."""
    with guarded_step(context):
        if not config.folder.strip():
            raise ValueError("folder is empty: enter a folder of videos, or s3://bucket/prefix")
        root, folder = WorkspaceResource().open(), source_path(config.folder.strip())
        require_folder(folder)
        report = scan_sources(root, [folder], deployed(SourceSettings))
    metadata = scan_metadata(context.instance, root, report)
    context.log_event(AssetMaterialization("source_videos", metadata=metadata))


@job(
    name=ADD_VIDEOS,
    description="Start here: scan a folder of videos. The sensor new_videos then preprocesses its batches "
    "and watches the folder for further videos.",
)
def add_videos_job() -> None:
    """A job with one op."""
    add_videos_op.alias(ADD_VIDEOS)()


def require_folder(folder: SourcePath) -> None:
    """Require that a folder exists.

    Raises:
        FileNotFoundError: it does not; names the nearest one that does.
    """
    if is_folder(folder):
        return
    if not isinstance(folder, Path):
        raise FileNotFoundError(f"no such folder: {folder}")
    parent = next(above for above in folder.absolute().parents if above.is_dir())
    missing = folder.absolute().relative_to(parent).parts[0]
    near = near_names(missing, [path.name for path in parent.iterdir() if path.is_dir()])
    raise FileNotFoundError(f"no such folder: {folder}; {parent} has no {missing}{near}")
