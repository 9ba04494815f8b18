"""The job `collect_garbage`: `pdfgc gc` with a form, for the weekly schedule."""

from typing import Final

from dagster import MetadataValue, Nothing, OpExecutionContext, Out, job, op
from pydantic import Field

from pipelines.forms import config_class
from pipelines.operations.maintenance.gc_settings import GcSettings
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.resources import WorkspaceResource

STEP: Final = "collect_garbage"  # in a run's configuration


class CollectGarbageConfig(config_class(GcSettings)):
    """Retention settings, and whether to remove what is found."""

    remove: bool = Field(default=False, description="Remove what is found; otherwise only list it")


@op(
    out=Out(Nothing),
    tags={"kind": "storage"},
    description="Find unreferenced builds, abandoned work directories and unused copies; remove if asked.",
)
def remove_unreferenced_builds(
    context: OpExecutionContext, config: CollectGarbageConfig, workspace: WorkspaceResource
) -> None:
    """Collect garbage once."""
    from pipelines.operations.maintenance.gc import counts_by_kind, markdown_table, note_lines, run_gc

    with guarded_step(context):
        result = run_gc(workspace.open(), config.to_settings(), remove=config.remove)
    unreferenced, removal = result.unreferenced, result.removal
    removed = () if removal is None else removal.removed
    for line in note_lines(unreferenced, result.notes):
        context.log.info("%s", line)
    context.add_output_metadata(
        {
            "table: found": MetadataValue.md(markdown_table(result)),
            "found": len(unreferenced.findings),
            "bytes found": unreferenced.size_bytes,
            "removed": len(removed),
            "bytes removed": sum(finding.size_bytes for finding in removed),
            **{f"found: {kind}": number for kind, number in counts_by_kind(unreferenced).items()},
        }
    )


@job(description="List or remove unreferenced builds, as `pdfgc gc` does.")
def collect_garbage() -> None:
    """The job, of one op."""
    remove_unreferenced_builds.alias(STEP)()
