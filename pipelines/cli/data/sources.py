"""The command `pdfgc sources`: lists of videos and the corpora that there are recipes for."""

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storage.printable import display_text

if TYPE_CHECKING:
    from upath import UPath

    from preprocessing.sources.lists.adding import AddReport


@click.group()
def sources() -> None:
    """Add lists of videos, and see what became of their rows.

    A list names videos by path or key, and may give parts, faces, identities, splits and labels
    (docs/corpora.md). Videos in its folder that it does not name are left out.
    """


@sources.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--videos", metavar="FOLDER", help="Folder or s3://bucket/prefix of the videos.  [default: the list's]"
)
@click.option("--name", help="Name of the list; one of the same name is replaced.  [default: of the file]")
@click.option(
    "--recipe", help="SOURCE is the folder of a corpus with this layout: see `pdfgc sources recipes`."
)
@click.option(
    "--annotations", type=click.Path(path_type=Path, exists=True), help="The corpus's own annotations."
)
def add(
    source: Path, videos: str | None, name: str | None, recipe: str | None, annotations: Path | None
) -> None:
    """Check a list (CSV, TSV, JSON lines or Parquet), or a corpus, and store it; every row gets a status.

    Opens no video: `pdfgc preprocess` then reads those that were accepted.
    """
    from pipelines.logs import log_to_terminal
    from preprocessing.sources.lists.reading import read_list
    from preprocessing.sources.lists.stored import save_list
    from preprocessing.sources.recipes.table import recipe_rows
    from preprocessing.sources.remote import source_path
    from storage.root import open_root

    if recipe is None:
        if annotations is not None:
            raise click.UsageError("--annotations belongs to --recipe")
        folder = source_path(videos) if videos else source.absolute().parent
        records: Iterator[Any] = read_list(source)
        name = name or source.stem.lower()
    else:
        folder = source_path(videos) if videos else source.absolute()
        records = recipe_rows(recipe, folder, annotations)
        name = name or recipe
    with log_to_terminal():
        report = save_list(open_root(), name, records, folder)
    for line in report_lines(name, report):
        click.echo(line)


def report_lines(name: str, report: "AddReport") -> list[str]:
    """What became of a list's rows, for the terminal."""
    lines = [f"List {name}: {report.accepted:,} of {report.rows:,} rows accepted"]
    lines.append(f"  {report.videos:,} videos, {report.identities:,} identities")
    lines += [f"  refused: {reason} {count:,}" for reason, count in report.refusals.items()]
    if report.refusals:
        lines.append(f"Rows with reasons: pdfgc sources rows {name} --refused")
    return [*lines, "Read the videos: pdfgc preprocess"]


@sources.command("list")
def list_lists() -> None:
    """Show the stored lists, with the number of rows by status and reason."""
    from preprocessing.sources.lists.stored import folder_of, list_names
    from storage.root import open_root

    root = open_root()
    for name in list_names(root):
        counts = Counter(reason or "accepted" for _, reason in statuses(root, name))
        counted = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
        click.echo(f"{name}  {display_text(folder_of(root, name))}  {counted}")


@sources.command()
@click.argument("name")
@click.option("--refused", is_flag=True, help="Only rows that are refused.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="CSV file to write.  [default: the terminal]"
)
def rows(name: str, refused: bool, output: Path | None) -> None:
    """Write a list's rows in their order, as CSV: number, path, status and reason.

    The reason is the list's own, or that of the catalog once `pdfgc preprocess` has read the video.
    """
    from storage.root import open_root

    root = open_root()
    with output.open("w", encoding="utf-8", newline="") if output else sys.stdout as file:
        writer = csv.writer(file)
        writer.writerow(["row", "path", "identity", "split", "status", "reason", "detail"])
        for row, reason in statuses(root, name):
            if reason or not refused:
                status = "refused" if reason else "accepted"
                writer.writerow(
                    [row["row"], row["path"], row["identity"], row["split"], status, reason, row["detail"]]
                )


@sources.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget a list. Videos stay in the catalog, named by their folders again at the next scan."""
    from preprocessing.sources.lists.stored import remove_list
    from storage.root import open_root

    remove_list(open_root(), name)


@sources.command()
def recipes() -> None:
    """Show the corpora whose layouts are known, and the annotations that each needs."""
    from preprocessing.sources.recipes.table import RECIPES

    for recipe in RECIPES.values():
        needed = f"needs {recipe.annotations}" if recipe.annotations else ""
        click.echo(f"{recipe.name:<10}  {recipe.title:<10}  {needed}".rstrip())


def statuses(root: "UPath", name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Each row of a list with its reason: the list's, or the catalog's of its video; empty if accepted."""
    from preprocessing.sources.lists.stored import read_rows
    from preprocessing.sources.stored_catalog import load_catalog

    catalog = load_catalog(root)
    read: dict[str, tuple[str, str]] = {}
    if catalog is not None:
        columns = (catalog[column].to_pylist() for column in ("path", "reason", "detail"))
        read = {path: (reason, detail) for path, reason, detail in zip(*columns, strict=True)}
    for row in read_rows(root, name):
        reason, detail = row["reason"], row["detail"]
        if not reason and row["path"] in read:
            reason, detail = read[row["path"]]
        yield row | {"detail": detail}, reason
