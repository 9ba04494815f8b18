"""The command `pdfgc corpus`."""

from pathlib import Path

import click

from pipelines.console import without_chatter
from pipelines.logs import log_to_terminal


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--portrait",
    "portraits",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Portrait photo to render (repeatable).  [default: built-in drawings]",
)
def corpus(folder: Path, portraits: tuple[Path, ...]) -> None:
    """Render the demo corpus with its ground truth into FOLDER."""
    make_demo_corpus(folder, portraits)


def make_demo_corpus(folder: Path, portraits: tuple[Path, ...] = ()) -> None:
    """Render talking heads with known pose, gaze, blink and mouth into a folder; complete videos are kept."""
    from demo_corpus.corpus import CorpusSettings, make_corpus

    click.echo(f"Rendering the demo corpus in {folder}")
    with without_chatter(), log_to_terminal():
        videos = make_corpus(folder, CorpusSettings(portraits=portraits))
    click.echo(f"{len(videos)} videos")
