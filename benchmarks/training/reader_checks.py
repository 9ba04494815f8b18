"""What the training reader's checks of pictures and labels cost, against reading without them.

One sample is that of stage 1 with labels: two frames of 224 px, landmarks, pose, gaze, blink, mel window.
Both readers read the same samples of one shard in turn, in one process; a ratio is the median over the rounds
of CPU time with checks / CPU time without. Block checksums are read in both.

    python -m benchmarks.training.reader_checks
"""

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.archive import ArchiveWriter
from preprocessing.dataset.index import INDEX_SCHEMA
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import CROP_SIDE_PX, INDEX_TABLE, LANDMARK_COUNT, SCHEMA_VERSION, STATISTICS_NAME
from preprocessing.schema import mel_shape as shape_of_mel
from preprocessing.shards import encode_array
from training.data import shard_reader
from training.data.index import read_clip_index
from training.data.shard_reader import ReaderSettings, ShardReader

CLIPS, FRAMES = 40, 64
SHAPES = {"landmarks.npy": (LANDMARK_COUNT, 3), "pose.npy": (6,), "gaze.npy": (2,), "blink.npy": (2,)}


def write_shard(root: Path) -> None:
    """One shard of smooth pictures, which are about as large as faces."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:CROP_SIDE_PX, :CROP_SIDE_PX]
    smooth = 128 + 60 * np.sin(rows / 20)[..., None] * np.cos(columns / 15)[..., None] * np.array(
        [1, 0.8, 0.6]
    )
    picture = encode_jpeg((smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8), 95)
    members = {f"{number:03d}.jpg": picture for number in range(FRAMES)}
    members |= {name: encode_array(np.zeros((FRAMES, *shape), np.float32)) for name, shape in SHAPES.items()}
    members["mel.npy"] = encode_array(np.zeros(shape_of_mel(FRAMES), np.float32))
    entries: list[dict[str, object]] = []
    with ArchiveWriter(root / "a.tar", with_checksums=True) as archive:
        for number in range(CLIPS):
            place = archive.write(f"clip-{number:02d}", members)
            texts = {
                "identity": "a",
                "main_identity": "a",
                "video_id": "0" * 16,
                "split": "train",
                "batch": "b",
            }
            numbers = {"frames": FRAMES, "anchors": 0, "shard": "a.tar"}
            entries.append({"key": f"clip-{number:02d}", **texts, **numbers, **vars(place)})
    pq.write_table(pa.Table.from_pylist(entries, schema=INDEX_SCHEMA), root / INDEX_TABLE)
    (root / STATISTICS_NAME).write_text(f'{{"schema_version": {SCHEMA_VERSION}}}')


def assumed_size(_: bytes) -> tuple[int, int]:
    """In place of reading the size from the picture's header."""
    return CROP_SIDE_PX, CROP_SIDE_PX


def read_all(reader: ShardReader) -> float:
    """CPU seconds of reading three samples of every clip."""
    started = time.process_time()
    for clip, frame in itertools.product(range(len(reader.index)), (5, 20, 50)):
        reader.frames(clip, [frame, frame + 1])
        for name, shape in SHAPES.items():
            reader.rows(clip, name, (FRAMES, *shape), frame, frame + 1)
        reader.rows(clip, "mel.npy", shape_of_mel(FRAMES), 4 * frame, 4 * frame + 20)
    return time.process_time() - started


@click.command()
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(1))
def main(rounds: int) -> None:
    """Print the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_shard(root)
        reader = ShardReader(read_clip_index(root, root, "train"), ReaderSettings())
        read_all(reader)  # the page cache and the directories
        ratios: list[float] = []
        milliseconds: list[float] = []
        for number in range(rounds):
            order = (True, False) if number % 2 else (False, True)
            seconds: dict[bool, float] = {}
            for is_checked in order:
                if is_checked:
                    seconds[True] = read_all(reader)
                    continue
                with (
                    mock.patch.object(shard_reader, "jpeg_size", assumed_size),
                    mock.patch.object(shard_reader, "_RANGES", {}),
                ):
                    seconds[False] = read_all(reader)
            ratios.append(seconds[True] / seconds[False])
            milliseconds.append(1000 * seconds[True] / (3 * len(reader.index)))
    click.echo(
        f"{statistics.median(milliseconds):.3f} ms of CPU a sample with checks, ratio to without: "
        f"{statistics.median(ratios):.3f} (median of {rounds} rounds; {min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
