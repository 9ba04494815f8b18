"""The command `pdfgc app`."""

from pathlib import Path
from typing import Final, get_args

import click

from evaluation.animation.request import Device

FOLDER: Final = click.Path(path_type=Path)
OUTPUTS_NAME: Final = "made_videos"


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0: a free one.")
@click.option("--root", help="Folder or s3://bucket/prefix of the training runs; else PDFGC_ROOT.")
@click.option(
    "--output",
    type=FOLDER,
    help=f"Folder for the videos; else {OUTPUTS_NAME} under the root, if it is local.",
)
@click.option("--device", type=click.Choice(get_args(Device)), default="auto", show_default=True)
def app(port: int, root: str | None, output: Path | None, device: Device) -> None:
    """Serve a page to make talking heads: drop a portrait and drivers, move the strengths, see the video.

    The page is for this machine alone (127.0.0.1) and asks nothing of any other. Dropped files lie in a
    temporary folder until their video is made.
    """
    from evaluation.app.page import PageSettings
    from evaluation.app.server import serve
    from pipelines.cli.console import without_chatter
    from storage.root import open_root
    from storage.transfer import is_local, local_path

    try:
        opened = open_root(root)
        if output is None:
            output = (local_path(opened) if is_local(opened) else Path.cwd()) / OUTPUTS_NAME
        with without_chatter():
            settings = PageSettings(opened, output.expanduser().absolute(), device)
            serve(settings, port, lambda address: click.echo(f"{address} (Ctrl-C ends it); videos: {output}"))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
