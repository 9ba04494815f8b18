"""The command `pdfgc gc`."""

import click

from pipelines.operations.maintenance.gc_settings import GcSettings
from pipelines.options import options_from


@click.command()
@click.option("--remove", is_flag=True, help="Remove what is listed; without it nothing is changed.")
@options_from(GcSettings, "settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gc(remove: bool, settings: GcSettings, as_json: bool) -> None:
    """List or remove unreferenced builds.

    Kept are current builds, the data sets and shards of trained runs and baseline runs, the inputs of running
    builds, and everything more recent than --keep-days (use 0 only while nothing is running). Videos, the
    catalog and unknown files are never changed.

    For a bucket, run it on the machine that trains: running builds of other machines are not seen.
    """
    from rich.console import Console

    from pipelines.operations.maintenance.gc import as_json_text, print_findings, print_removal, run_gc
    from storage.root import open_root

    console = Console()
    result = run_gc(
        open_root(),
        settings,
        remove=remove,
        on_found=lambda found, notes: None if as_json else print_findings(found, notes, console),
    )
    if as_json:
        click.echo(as_json_text(result))
    elif result.removal is not None:
        print_removal(result.removal, console)
    elif result.unreferenced.findings:
        console.print("nothing was removed; remove it with: pdfgc gc --remove", highlight=False)
