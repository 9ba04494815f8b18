"""The job `verify_files`: `pdfgc verify` with a form, for the nightly schedule. It fails on faults."""

from typing import Final

from dagster import Failure, MetadataValue, Nothing, OpExecutionContext, Out, job, op

from pipelines.forms import config_class
from pipelines.operations.maintenance.verify_settings import NightlyVerifySettings
from pipelines.operations.runs.retries import retry_transient_errors
from pipelines.resources import WorkspaceResource

STEP: Final = "verify_files"  # in a run's configuration


class VerifyConfig(config_class(NightlyVerifySettings)):
    """How much is read."""


@op(
    out=Out(Nothing),
    tags={"kind": "storage"},
    description="Check pointers, manifests, names, sizes, references, and read a share of the files again.",
)
def check_published_files(
    context: OpExecutionContext, config: VerifyConfig, workspace: WorkspaceResource
) -> None:
    """Verify once."""
    from pipelines.operations.maintenance.verify import (
        counts_by_kind,
        markdown_table,
        summary_line,
        verify_root,
    )
    from storage.integrity.reading import Night

    settings = config.to_settings()
    night = Night.of(settings.read_data) if settings.read_data else None
    with retry_transient_errors(context):
        result = verify_root(workspace.open(), night=night, threads=settings.threads)
    context.log.info("%s", summary_line(result))
    metadata = {
        "table: faults": MetadataValue.md(markdown_table(result)),
        "faults": len(result.faults),
        "builds": result.builds,
        "files": result.files,
        "bytes": result.size_bytes,
        "files read": 0 if result.read is None else result.read.files,
        "bytes read": 0 if result.read is None else result.read.size_bytes,
        **{f"faults: {kind}": number for kind, number in counts_by_kind(result).items()},
    }
    if result.faults:
        for fault in result.faults:
            context.log.error("%s", fault.line())
        raise Failure(
            f"{len(result.faults)} faults, the first: {result.faults[0].line()}",
            metadata=metadata,
            allow_retries=False,
        )
    context.add_output_metadata(metadata)


@job(description="Check that everything under the root is as it was written, as `pdfgc verify` does.")
def verify_files() -> None:
    """The job, of one op."""
    check_published_files.alias(STEP)()
