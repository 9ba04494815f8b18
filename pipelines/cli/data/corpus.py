"""The command `pdfgc corpus`."""

from pathlib import Path

import click

from demo_corpus.corpus import CorpusSettings, make_corpus
from pipelines.console import without_chatter
from pipelines.logs import log_to_terminal
from pipelines.options import options_from


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--portrait",
    "portraits",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Portrait photo to mix people from (repeatable; three or more give held-out people photos of their "
    "own).  [default: photos of installed packages]",
)
@options_from(CorpusSettings, "settings", left_out=("portraits",))
def corpus(folder: Path, portraits: tuple[Path, ...], settings: CorpusSettings) -> None:
    """Render a corpus of talking heads with its ground truth into FOLDER.

    Videos that are complete are kept, also when there are more people or videos than before. The names of
    held-out people start with demo-validation and demo-test; people.json lists all with their photos.
    """
    make_demo_corpus(folder, settings.replace(portraits=portraits))


def make_demo_corpus(folder: Path, settings: CorpusSettings) -> None:
    """Render talking heads with known pose, gaze, blink and mouth into a folder; complete videos are kept."""
    click.echo(f"Rendering the demo corpus in {folder}")
    with without_chatter(), log_to_terminal():
        videos = make_corpus(folder, settings)
    click.echo(f"{len(videos)} videos")
