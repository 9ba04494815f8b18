"""The command `pdfgc verify`."""

from typing import Any, Final

import click

from pipelines.operations.maintenance.verify_settings import VerifySettings
from pipelines.options import options_from

FAULTS: Final = 1  # exit status


class Share(click.ParamType[float]):
    """A share such as 5% or 0.05."""

    name = "share"

    def convert(  # pyright: ignore[reportImplicitOverride]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The share as a number above 0 and at most 1."""
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{text!r} is not a share such as 5% or 0.05", param, ctx)
        if not 0 < share <= 1:
            self.fail(f"must be above 0% and at most 100%, got {text}", param, ctx)
        return share


@click.command()
@click.option(
    "--read-data",
    type=Share(),
    is_flag=False,
    flag_value="100%",
    help="Compute the sha256 of every file again, or of a share: --read-data=5% reads other files every day, "
    "all within 20 days.",
)
@click.option("--restart", is_flag=True, help="Read from the first file, not on from an interrupted run.")
@options_from(VerifySettings, "settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(read_data: float | None, restart: bool, settings: VerifySettings, as_json: bool) -> None:
    """Check that everything under the root is as it was written.

    Pointers, manifests, names, sizes, references, the catalog against what is published, the data set against
    its shards, sources against the catalog. With --read-data the content of files too. Each fault is a line:
    path, what was expected and found, what depends on it, and the command that mends it.

    Exit status: 0 no fault, 1 faults, 2 wrong usage.
    """
    from pipelines.operations.maintenance.verify import as_json_text, summary_line, verify_root
    from storage.integrity.reading import Night
    from storage.root import open_root

    def show(files: int, size_bytes: int) -> None:
        click.echo(f"read {files} files, {size_bytes / 2**30:.1f} GiB", err=True)

    result = verify_root(
        open_root(),
        night=None if read_data is None else Night.of(read_data),
        threads=settings.threads,
        restart=restart,
        on_progress=show,
    )
    if as_json:
        click.echo(as_json_text(result))
    else:
        for fault in result.faults:
            click.echo(fault.line())
        click.echo(summary_line(result))
    if result.faults:
        raise click.exceptions.Exit(FAULTS)
