"""Batches before the UI is served.

*Materialize all* includes the batches that exist when it is launched. So a fresh root whose folders are set
is scanned first, unless that takes long.
"""

from typing import Final

from dagster import DagsterInstance

from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings
from pipelines.partitions import add_batches
from pipelines.resources import SourcesResource, WorkspaceResource
from preprocessing.sources.stored_catalog import batch_keys, load_catalog, scan_sources
from preprocessing.sources.unseen import UnseenSettings, unseen_files

FILES_AT_MOST: Final = 500  # read in about a minute
TOO_MANY: Final = (
    "{count} new videos, left to the sensor new_videos: launch Materialize all after its run of scan_sources"
)


def ensure_batches(instance: DagsterInstance) -> str:
    """Add the batches of the catalog; without a catalog, scan the folders of PDFGC_VIDEOS before.

    Returns:
        What was scanned, or why it was not, in a line; "" where there was nothing to scan.
    """
    root, sources = WorkspaceResource().open(), SourcesResource()
    folders = sources.all_folders()
    if load_catalog(root) is not None or not folders:
        add_batches(instance, batch_keys(root))
        return ""
    settle_seconds = deployed(OperationsSettings).settle_seconds
    unseen = unseen_files(root, folders, UnseenSettings(settle_seconds=settle_seconds))
    if unseen.unreadable_folders:
        return f"not scanned: {', '.join(unseen.unreadable_folders)}"
    if unseen.settled > FILES_AT_MOST:
        return TOO_MANY.format(count=unseen.settled)
    if not unseen.settled:
        return ""
    settings = sources.to_settings()
    settings = settings.replace(scan=settings.scan.replace(settle_seconds=settle_seconds))
    report = scan_sources(root, folders, settings)
    add_batches(instance, batch_keys(root))
    refused = sum(report.refusals.values())
    accepted = report.catalog.num_rows - refused
    return f"videos accepted {accepted}, refused {refused}, batches {len(report.new_batches)}"
