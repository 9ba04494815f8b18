"""The command `pdfgc referee`."""

from pathlib import Path

import click

from evaluation.referee.config import RefereeConfig
from pipelines.options import options_from


@click.command()
@click.argument("listed", metavar="LIST", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report.  [default: LIST without its ending, and -referee]",
)
@options_from(RefereeConfig, "config")
def referee(listed: Path, output: Path | None, config: RefereeConfig) -> None:
    """Measure videos that any program made, and write the report page.

    LIST is a CSV file or JSON lines with the columns generated, truth, portrait, lip, pose, eye and
    expression: paths relative to the list; all but the first may be missing. FILE#xywh=x,y,width,height is a
    part of the pictures. Rows that cannot be used are printed, one line each; the others are measured.
    """
    from rich.console import Console
    from rich.table import Table

    from pipelines.console import use_one_thread, without_chatter
    from pipelines.logs import log_to_terminal
    from storage.printable import display_text

    use_one_thread()
    with without_chatter(), log_to_terminal():
        from evaluation.referee.referee import REPORT_PAGE
        from evaluation.referee.referee import referee as measure
        from evaluation.report.key_figures import verdict
        from storage.root import open_root

        folder = output or listed.with_name(f"{listed.stem}-referee")
        result = measure(listed, folder, config, open_root())
    console = Console()
    methods = list(result.figures[0].texts)
    printed = Table(
        "figure", *methods, "what it means", title=f"{len(result.rows)} videos, {result.framing} pictures"
    )
    for figure in result.figures:
        printed.add_row(figure.name, *(figure.texts[method] for method in methods), figure.meaning)
    console.print(printed)
    console.print(verdict(result.figures), markup=False, highlight=False)
    for row in result.refused:
        click.echo(f"left out: {display_text(row.text(listed))}", err=True)
    console.print(f"Report: {result.folder / REPORT_PAGE}", markup=False, highlight=False, soft_wrap=True)
