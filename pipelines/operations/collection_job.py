"""The job `collect_garbage`: what `pdfgc gc` does, with a form, for a schedule."""

from typing import Final

from dagster import MetadataValue, Nothing, OpExecutionContext, Out, job, op
from pydantic import Field

from pipelines.forms import config_class
from pipelines.operations.collection_settings import CollectionSettings
from pipelines.operations.retries import retry_transient_errors
from pipelines.resources import WorkspaceResource

STEP: Final = "collect_garbage"  # in a run's configuration


class CollectConfig(config_class(CollectionSettings)):
    """Retention settings, and whether to remove what is found."""

    remove: bool = Field(default=False, description="Remove what is found; otherwise only list it")


@op(
    out=Out(Nothing),
    tags={"kind": "storage"},
    description="Find builds, work directories and copies that nothing refers to; remove them where asked.",
)
def collect_what_nothing_refers_to(
    context: OpExecutionContext, config: CollectConfig, workspace: WorkspaceResource
) -> None:
    """One collection."""
    from pipelines.operations.collection import collect, counts, markdown_table, told_lines

    with retry_transient_errors(context):
        collection = collect(
            workspace.open(),
            config.to_settings(),
            remove=config.remove,
            progress=context.log.info,
        )
    garbage, removal = collection.garbage, collection.removal
    removed = () if removal is None else removal.removed
    for line in told_lines(garbage):
        context.log.info("%s", line)
    context.add_output_metadata(
        {
            "table: found": MetadataValue.md(markdown_table(collection)),
            "found": len(garbage.findings),
            "bytes found": garbage.size_bytes,
            "removed": len(removed),
            "bytes removed": sum(finding.size_bytes for finding in removed),
            **{f"found: {kind}": number for kind, number in counts(garbage).items()},
        }
    )


@job(description="List, or remove, what nothing refers to: `pdfgc gc` as a form.")
def collect_garbage() -> None:
    """The job of one op."""
    collect_what_nothing_refers_to.alias(STEP)()
