"""The command `pdfgc export`."""

from pathlib import Path

import click

MEGABYTE = 1_000_000


@click.command()
@click.argument("run")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(run: str, file: Path) -> None:
    """Write a trained RUN's talking head into one FILE (.safetensors).

    The file holds the networks that animate a portrait, as float16, and needs no root:
    pdfgc animate --checkpoint FILE.
    """
    from evaluation.animation.exported_model import export_run
    from pipelines.console import without_chatter
    from storage.root import open_root

    with without_chatter():
        size = export_run(open_root(), run, file)
    click.echo(f"{file}: {size / MEGABYTE:.1f} MB")
