"""CPU time of `pdfgc status`, `pdfgc gc` (dry run) and `pdfgc verify` in a root of thousands of batches.

Copies the one batch of ROOT, which `pdfgc demo` or `pdfgc preprocess` filled: manifests are written anew for
each batch, and all other files are links.

    python -m benchmarks.orchestration.many_batches ROOT [--batches 3000]
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import show
from preprocessing.orchestration.steps import STEPS
from preprocessing.sources.stored_catalog import CATALOG_FOLDER, CATALOG_NAME, batch_keys
from storage.manifest import MANIFEST_NAME, Manifest
from storage.publishing import ASSETS
from storage.root import open_root

COMMANDS: Final = {
    "pdfgc status": ("status", "--json"),
    "pdfgc gc": ("gc",),
    "pdfgc verify": ("verify",),
}


def copy_batch(source: Path, target: Path, batch: str, new: str) -> None:
    """Copy every build of a batch under another batch's name."""
    for step in STEPS:
        folder = source / ASSETS / step / batch
        shutil.copytree(folder, target / ASSETS / step / new, copy_function=os.link)
        for path in (target / ASSETS / step / new).glob(f"*/{MANIFEST_NAME}"):
            manifest = Manifest.from_json(path.read_text())
            inputs = {
                name: replace(value, location=value.location.replace(f"/{batch}/", f"/{new}/"))
                for name, value in manifest.inputs.items()
            }
            path.unlink()  # a link to the original
            path.write_text(replace(manifest, partition=new, inputs=inputs).to_json())


def copy_catalog(source: Path, target: Path, batch: str, names: list[str]) -> int:
    """Write a catalog in which every batch has the videos of the one, under ids of their own."""
    rows = pq.read_table(source / CATALOG_FOLDER / CATALOG_NAME)
    rows = rows.filter(pa.array([value == batch for value in rows["batch"].to_pylist()]))
    column, ids = rows.schema.get_field_index("batch"), rows.schema.get_field_index("video_id")
    copies: list[pa.Table] = []
    for number, name in enumerate(names):
        own_ids = [f"{number:08x}{value[8:]}" for value in rows["video_id"].to_pylist()]
        of_batch = rows.set_column(column, rows.field("batch"), pa.array([name] * rows.num_rows))
        copies.append(of_batch.set_column(ids, rows.field("video_id"), pa.array(own_ids)))
    table = pa.concat_tables(copies).replace_schema_metadata(rows.schema.metadata)
    (target / CATALOG_FOLDER).mkdir(parents=True)
    pq.write_table(table, target / CATALOG_FOLDER / CATALOG_NAME)
    return table.num_rows


def measured(arguments: tuple[str, ...], root: Path) -> list[float]:
    """CPU seconds and the peak GiB of this process's children so far, of a command on a root."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pipelines", *arguments]
    environment = os.environ | {"PDFGC_ROOT": str(root), "DAGSTER_HOME": str(root / "dagster")}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [seconds, after.ru_maxrss / 2**20]


@click.command(help=__doc__, context_settings={"show_default": True})
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--batches", default=3000, help="Number of batches")
def main(root: Path, batches: int) -> None:
    """Run the benchmark."""
    (batch, *_) = batch_keys(open_root(str(root)))
    target = Path(tempfile.mkdtemp(prefix="pdfgc-batches-", dir=root.parent))
    try:
        names = [f"b{number:06d}" for number in range(batches)]
        for name in names:
            copy_batch(root, target, batch, name)
        videos = copy_catalog(root, target, batch, names)
        rows = [[name, *measured(arguments, target)] for name, arguments in COMMANDS.items()]
    finally:
        shutil.rmtree(target)
    show(f"{batches:,} batches, {videos:,} videos", ["command", "CPU s", "peak GiB so far"], rows)


if __name__ == "__main__":
    sys.exit(main())
