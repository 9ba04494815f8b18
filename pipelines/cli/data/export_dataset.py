"""The command `pdfgc export-dataset`."""

from pathlib import Path

import click


@click.command("export-dataset")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--maximum-tar-mebibytes",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Size at which a tar is closed.",
)
def export_dataset(out: Path, maximum_tar_mebibytes: int) -> None:
    """Write the data set into the folder OUT, for the Hugging Face Hub.

    Tars of each split with the same members in every sample, an index as Parquet, and a README with which
    datasets.load_dataset("OUT") opens it.
    """
    from pipelines.console import without_chatter
    from pipelines.logs import log_to_terminal
    from preprocessing.dataset.hub_export import export_dataset as write
    from storage.root import open_root

    with without_chatter(), log_to_terminal():
        exported = write(open_root(), out, maximum_tar_mebibytes)
    counts = ", ".join(f"{count} {split}" for split, count in exported.samples.items())
    click.echo(f"{exported.folder}: {counts}; {exported.size_bytes / 2**20:.1f} MiB of tars")
    for name in exported.left_out:
        click.echo(f"left out: {name}, which only some samples have")
