"""Time and memory of a data set and a catalog of a million clips, with the project's own code.

Makes the index of the shards of `--batches` batches with `--samples` clips each, without the shards
themselves: their labels count as known from an earlier data set, as they are when one batch is added. Each
part runs in a process of its own, whose CPU time and peak memory are printed.

    python -m benchmarks.orchestration.scale  # VoxCeleb2: 3,000 x 364 = 1.09 M clips
    python -m benchmarks.orchestration.scale --batches 27000 --samples 370  # 10 M
"""

import multiprocessing
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import cost_of, show, write_json
from preprocessing.dataset.batch_labels import TABLES, BatchLabels
from preprocessing.dataset.index import ShardSet, index_problems, read_dataset_index
from preprocessing.dataset.joining import DatasetSettings, PreviousDataset, make_dataset
from preprocessing.dataset.packing import SHARD_INDEX_SCHEMA, SHARD_INDEX_TABLE
from preprocessing.dataset.statistics import BINS, QUANTITIES
from preprocessing.schema import SCHEMA_VERSION
from preprocessing.sources.catalog import CATALOG_SCHEMA, parse_catalog, rows_of, table_of
from training.data.index import read_clip_index
from training.data.sampling import Order, OrderSettings, World

CLIPS_PER_VIDEO: Final = 7  # VoxCeleb2: 1.09 M clips of 150,000 videos
VIDEOS_PER_IDENTITY: Final = 25
SHARD_BYTES: Final = 1_000_000_000
BINS_PER_QUANTITY: Final = 400  # of a batch of some hundred clips


@dataclass(frozen=True)
class Made:
    """What the parts read and write."""

    root: Path
    batches: int
    samples: int  # of each batch


def shard_folder(root: Path, batch: int) -> Path:
    """Where the shards of a batch would lie."""
    return root / f"assets/shards/b{batch:05d}/f00d"


def make_batches(root: Path, batches: int, samples: int) -> None:
    """Write the shards' index of every batch; the shard itself is an empty sparse file."""
    number = np.arange(samples)
    for batch in range(batches):
        folder = shard_folder(root, batch)
        folder.mkdir(parents=True)
        clips = batch * samples + number
        videos = clips // CLIPS_PER_VIDEO + batch  # a video lies in one batch
        names = [f"{video:016x}" for video in videos]
        columns = {
            "key": [f"{name}-t0-f{clip:09d}" for name, clip in zip(names, clips, strict=True)],
            "identity": [f"id{video // VIDEOS_PER_IDENTITY:06d}" for video in videos],
            "video_id": names,
            "frames": np.full(samples, 64),
            "anchors": np.full(samples, 2),
            "shard": [f"b{batch:05d}-000.tar"] * samples,
            "offset_bytes": number * 1_440_000,
            "size_bytes": np.full(samples, 1_440_000),
        }
        pq.write_table(pa.table(columns).cast(SHARD_INDEX_SCHEMA), folder / SHARD_INDEX_TABLE)
        with (folder / f"b{batch:05d}-000.tar").open("wb") as shard:
            shard.truncate(SHARD_BYTES)


def shard_sets(root: Path, batches: int) -> dict[str, ShardSet]:
    """The shards of every batch, as the step `dataset` gets them."""
    return {
        f"b{batch:05d}": ShardSet(
            shard_folder(root, batch),
            f"assets/shards/b{batch:05d}/f00d",
            {f"b{batch:05d}-000.tar": f"{batch:064x}"},
        )
        for batch in range(batches)
    }


def known_labels(shards: dict[str, ShardSet], samples: int) -> BatchLabels:
    """What an earlier data set kept of these batches' labels."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for batch, shard_set in shards.items():
        of = {"batch": batch, "digest": f"{SCHEMA_VERSION}:{shard_set.digest}"}
        identity = f"id{int(batch[1:]) * samples // CLIPS_PER_VIDEO // VIDEOS_PER_IDENTITY:06d}"
        rows["labellers"].append(
            {**of, "labellers": '{"pose": "mediapipe 1"}', "samples": samples, "shard": f"{batch}-000.tar"}
        )
        rows["anchors"].append(
            {**of, "main_identity": identity, "eyes_identity": identity, "anchors": 2 * samples}
        )
        rows["distributions"] += [
            {
                **of,
                "name": quantity.name,
                "bins": np.sort(rng.choice(BINS, BINS_PER_QUANTITY, replace=False)).tolist(),
                "counts": [64] * BINS_PER_QUANTITY,
                "sum": 0.0,
                "smallest": quantity.low,
                "largest": quantity.high,
            }
            for quantity in QUANTITIES
            if not quantity.name.startswith("lip_sync")
        ]
    return BatchLabels({name: pa.Table.from_pylist(rows[name], schema=TABLES[name]) for name in TABLES})


def join(made: Made) -> None:
    """The step `dataset` after all labels are known."""
    shards = shard_sets(made.root, made.batches)
    before = PreviousDataset.read(made.root / "before")
    folder = made.root / "dataset"
    folder.mkdir()
    make_dataset(shards, before, DatasetSettings(pictured_samples=0), folder)


def check(made: Made) -> None:
    """The check `identities_disjoint`."""
    assert index_problems(made.root / "dataset") == []
    assert read_dataset_index(made.root / "dataset").num_rows == made.batches * made.samples


def sample(made: Made) -> None:
    """Opening the training split, and the order of two epochs."""
    index = read_clip_index(made.root / "dataset", made.root, "train")
    order = Order(index.shards, 0, OrderSettings())
    stream = order.stream(0, 32, World(rank=3, ranks=8))
    for _ in range(2):
        next(stream)
    next(order.stream(order.samples, 32, World(rank=3, ranks=8)))


def scan(made: Made) -> None:
    """Reading the catalog and writing it again, as a scan does; a row a clip, as a list of clips has."""
    path = made.root / "videos.parquet"
    pq.write_table(table_of(rows_of(parse_catalog(path.read_bytes(), path.name))), path)


def make_catalog(path: Path, rows: int) -> None:
    """A catalog of accepted videos, without facts of the probe."""
    names = [f"{row:016x}" for row in range(rows)]
    columns = {
        "video_id": names,
        "sha256": [name * 4 for name in names],
        "path": [f"/corpus/id{row // 175:06d}/{name}.mp4" for row, name in enumerate(names)],
        "relative_path": [f"id{row // 175:06d}/{name}.mp4" for row, name in enumerate(names)],
        "root": ["/corpus"] * rows,
        "identity": [f"id{row // 175:06d}" for row in range(rows)],
        "status": ["accepted"] * rows,
        "batch": [f"b{row // 364:05d}" for row in range(rows)],
        "present": [True] * rows,
    }
    empty: dict[Any, Any] = {pa.string(): "", pa.int64(): 0, pa.float64(): 0.0, pa.bool_(): False}
    arrays = {
        field.name: pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.array([empty.get(field.type, 0)] * rows).cast(field.type)
        for field in CATALOG_SCHEMA
    }
    pq.write_table(pa.table(arrays, schema=CATALOG_SCHEMA), path)


PARTS: Final[tuple[tuple[str, Callable[[Made], None]], ...]] = (
    ("data set, labels known", join),
    ("check of the data set", check),
    ("training index, order of two epochs", sample),
    ("catalog, read and written", scan),
)


def _measured(work: Callable[[Made], None], made: Made) -> list[float]:
    cost = cost_of(lambda: work(made))
    return [cost.cpu_seconds, cost.wall_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]


def measure(made: Made) -> Iterator[tuple[str, list[float]]]:
    """CPU seconds, wall seconds and peak GiB of each part, each in a new process."""
    context = multiprocessing.get_context("spawn")
    for name, work in PARTS:
        with context.Pool(1) as pool:
            yield name, pool.apply(_measured, (work, made))


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--batches", default=3000, help="Number of batches")
@click.option("--samples", default=364, help="Clips of each")
@click.option("--folder", type=Path, default=None, help="Where to write; else the system's temporary folder")
@click.option("--json", "json_path", type=Path, default=None, help="Also write the results here")
def main(batches: int, samples: int, folder: Path | None, json_path: Path | None) -> None:
    """Run the benchmark."""
    root = Path(tempfile.mkdtemp(prefix="pdfgc-scale-", dir=folder))
    try:
        make_batches(root, batches, samples)
        (root / "before").mkdir()
        none = make_dataset({}, PreviousDataset(), DatasetSettings(pictured_samples=0), root / "before")
        assert none.counts["samples"] == 0
        known_labels(shard_sets(root, batches), samples).write(root / "before")
        make_catalog(root / "videos.parquet", batches * samples)
        rows = dict(measure(Made(root, batches, samples)))
    finally:
        shutil.rmtree(root)
    title = f"{batches:,} batches, {batches * samples:,} clips"
    show(title, ["part", "CPU s", "wall s", "peak GiB"], [[name, *figures] for name, figures in rows.items()])
    write_json(json_path, {"batches": batches, "clips": batches * samples, "parts": rows})


if __name__ == "__main__":
    sys.exit(main())
