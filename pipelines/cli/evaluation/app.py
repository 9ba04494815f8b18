"""The command `pdfgc app`."""

from pathlib import Path
from typing import Final, get_args

import click

from evaluation.animation.request import Device
from evaluation.app.uploads import UploadLimits
from storage.printable import display_text

FOLDER: Final = click.Path(path_type=Path)
OUTPUTS_NAME: Final = "rendered_videos"


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0 picks a free port."
)
@click.option("--root", help="Folder or s3://bucket/prefix with the training runs.  [default: PDFGC_ROOT]")
@click.option(
    "--output",
    type=FOLDER,
    help=f"Folder for rendered videos.  [default: {OUTPUTS_NAME} under a local root, else ./{OUTPUTS_NAME}]",
)
@click.option(
    "--max-upload-mib",
    type=click.IntRange(1),
    default=UploadLimits.file_mib,
    show_default=True,
    help="Largest file that can be uploaded.",
)
@click.option(
    "--max-uploads-mib",
    type=click.IntRange(1),
    default=UploadLimits.total_mib,
    show_default=True,
    help="Space for all uploaded files.",
)
@click.option("--device", type=click.Choice(get_args(Device)), default="auto", show_default=True)
def app(
    port: int,
    root: str | None,
    output: Path | None,
    max_upload_mib: int,
    max_uploads_mib: int,
    device: Device,
) -> None:
    """Serve a local web page that animates a portrait.

    The page listens on 127.0.0.1 only and loads nothing from other hosts. Uploaded files are stored in a
    temporary folder until their video is rendered or the page is closed.
    """
    from evaluation.app.handlers import AppSettings
    from evaluation.app.server import serve
    from pipelines.console import without_chatter
    from storage.objects import is_local, local_path
    from storage.root import open_root

    try:
        opened = open_root(root)
        if output is None:
            output = (local_path(opened) if is_local(opened) else Path.cwd()) / OUTPUTS_NAME
        with without_chatter():
            limits = UploadLimits(max_upload_mib, max_uploads_mib)
            settings = AppSettings(opened, output.expanduser().absolute(), device, limits=limits)
            serve(
                settings, port, lambda url: click.echo(f"Serving on {url}, Ctrl-C to quit. Videos: {output}")
            )
    except ValueError as error:
        raise click.ClickException(display_text(error)) from error
