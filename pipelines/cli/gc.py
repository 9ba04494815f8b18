"""The command `pdfgc gc`."""

import click

from pipelines.cli.options import options_from
from pipelines.operations.collection_settings import CollectionSettings


@click.command()
@click.option("--remove", is_flag=True, help="Remove what is listed; without it nothing is touched.")
@options_from(CollectionSettings, "settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gc(remove: bool, settings: CollectionSettings, as_json: bool) -> None:
    """Show what nothing refers to under the root, and with --remove remove it.

    Kept are current builds, the data sets and shards that trained and accepted runs refer to, what running
    builds read, and whatever is younger than --keep-days. Videos, the catalog and foreign files are never
    touched.

    For a bucket run it on the machine that trains: what another machine builds is seen by its age alone.
    """
    from rich.console import Console

    from pipelines.operations.collection import as_json_text, collect, print_garbage, print_removal
    from storage.root import open_root

    console = Console()
    try:
        collection = collect(
            open_root(),
            settings,
            remove=remove,
            found=lambda garbage: None if as_json else print_garbage(garbage, console),
        )
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(as_json_text(collection))
    elif collection.removal is not None:
        print_removal(collection.removal, console)
    elif collection.garbage.findings:
        console.print("nothing was removed: pdfgc gc --remove removes it", highlight=False)
