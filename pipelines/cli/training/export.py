"""The command `pdfgc export`."""

from pathlib import Path

import click

MEGABYTE = 1_000_000


@click.command()
@click.argument("run")
@click.argument("out", type=click.Path(path_type=Path))
def export(run: str, out: Path) -> None:
    """Write a trained RUN's talking head into OUT.

    OUT is one file if it ends in .safetensors: the networks that animate a portrait, as float16. Else it is
    a folder for a model hub: that file, config.json, a model card and the evaluation page. Neither needs a
    root: pdfgc animate --checkpoint OUT.
    """
    from evaluation.animation.checkpoint_abilities import EXPORTED_SUFFIX
    from evaluation.animation.exported_model import export_run
    from evaluation.hub.model_folder import export_folder
    from pipelines.console import without_chatter
    from storage.root import open_root

    note = ""
    with without_chatter():
        if out.suffix == EXPORTED_SUFFIX:
            size = export_run(open_root(), run, out)
        else:
            exported = export_folder(open_root(), run, out)
            size = exported.size_bytes
            note = "" if exported.evaluated else f"; not evaluated, so no page: pdfgc evaluate --run {run}"
    click.echo(f"{out}: {size / MEGABYTE:.1f} MB{note}")
