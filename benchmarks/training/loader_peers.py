"""The same crops in the layouts of other loaders, and those loaders in a well-tuned setup.

Each yields batches without end: two random frames of a random clip, decoded by
`training.data.shard_reader.decode_image`, as uint8 [B, 3, 224, 224] each. Whole-clip layouts store a clip's
JPEG files end to end with an array of their ends, so that reading a sample is one copy and only the two
sampled frames are decoded. Frame layouts store one frame per item and read two of them at random.

LitData and MosaicML Streaming are optional: they are imported only if installed.
"""

import importlib
import importlib.util
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from typing_extensions import override
from webdataset.compat import WebDataset

from preprocessing.archive import Place, read_members
from training.data.index import ClipIndex
from training.data.shard_reader import decode_image

PREFETCH_BATCHES = 2  # per worker; torch's default and ours
PIECE_BYTES = 16 * 2**20  # of a shard or chunk: small, so that every worker gets several
SHUFFLED_SAMPLES = 100  # webdataset's buffer of sampled pairs
LONG_EPOCH_SAMPLES = 100_000  # no epoch may end, which stops workers, during a measurement

Pair = tuple[Tensor, Tensor]
Batches = Iterator[Any]


@dataclass(frozen=True)
class LoaderTask:
    """The task of all loaders."""

    index: ClipIndex
    folder: Path  # where `write_layouts` wrote
    batch_size: int
    workers: int

    def torch_loader(self, dataset: Any, *, shuffle: bool) -> DataLoader[Any]:
        """Torch's DataLoader, map style with endless shuffling or iterable."""
        sampler = (
            RandomSampler(dataset, replacement=True, num_samples=LONG_EPOCH_SAMPLES) if shuffle else None
        )
        return DataLoader(dataset, self.batch_size, sampler=sampler, drop_last=True, **self.worker_options())

    def worker_options(self) -> dict[str, Any]:
        """Options for persistent workers."""
        if not self.workers:
            return {"num_workers": 0}
        return {
            "num_workers": self.workers,
            "prefetch_factor": PREFETCH_BATCHES,
            "persistent_workers": True,
        }


class FramePairs(Dataset[Pair]):
    """Clips with frames that are read one by one."""

    def __init__(self, frame_counts: Sequence[int], read: Callable[[int, int], bytes]) -> None:
        self._frame_counts = frame_counts
        self._read = read

    def __len__(self) -> int:
        return len(self._frame_counts)

    @override
    def __getitem__(self, index: int) -> Pair:
        first, second = random.sample(range(self._frame_counts[index]), 2)
        return decode_image(self._read(index, first)), decode_image(self._read(index, second))


def read_jpegs(index: ClipIndex, clip: int) -> list[bytes]:
    """JPEG files of a clip."""
    place = Place(int(index.offsets_bytes[clip]), int(index.sizes_bytes[clip]))
    members = read_members(index.shard_paths[int(index.shards[clip])], place)
    return [members[f"{frame:03d}.jpg"] for frame in range(int(index.frame_counts[clip]))]


def decode_two_frames(clip: dict[str, Any]) -> Pair:
    """Two frames of a whole-clip item."""
    ends = clip["ends"]
    first, second = (
        decode_image(clip["frames"][ends[frame - 1] if frame else 0 : ends[frame]])
        for frame in random.sample(range(len(ends)), 2)
    )
    return first, second


def write_layouts(index: ClipIndex, folder: Path, names: Iterable[str]) -> None:
    """Write the layouts that these loaders read."""
    for write in {LOADERS[name].write for name in names} - {None}:
        assert write is not None
        write(index, folder)


def write_files(index: ClipIndex, folder: Path) -> None:
    """One folder per clip, one JPEG file per frame."""
    for clip in range(len(index)):
        place = folder / "files" / index.key(clip)
        place.mkdir(parents=True)
        for frame, jpeg in enumerate(read_jpegs(index, clip)):
            (place / f"{frame:03d}.jpg").write_bytes(jpeg)


def write_shards(index: ClipIndex, folder: Path) -> None:
    """Our samples byte for byte, only this split, in more shards: every worker needs its own."""
    place, piece = folder / "shards", b""
    place.mkdir()
    for clip in range(len(index)):
        with index.shard_paths[int(index.shards[clip])].open("rb") as shard:
            shard.seek(int(index.offsets_bytes[clip]))
            piece += shard.read(int(index.sizes_bytes[clip]))
        if len(piece) > PIECE_BYTES or clip == len(index) - 1:
            (place / f"{len(list(place.iterdir())):05d}.tar").write_bytes(piece + bytes(1024))
            piece = b""


def _clip_item(jpegs: Sequence[bytes]) -> dict[str, Any]:
    return {
        "frames": b"".join(jpegs),
        "ends": np.array(list(accumulate(len(jpeg) for jpeg in jpegs)), np.int64),
    }


def _long_epoch(index: ClipIndex) -> int:
    return -(-LONG_EPOCH_SAMPLES // len(index))


def write_litdata(index: ClipIndex, folder: Path) -> None:
    """Both layouts; clip chunks are listed many times, as hard links, for a long epoch."""
    cache = importlib.import_module("litdata").streaming.Cache
    for layout in ("clips", "frames"):
        place = folder / f"litdata-{layout}"
        writer = cache(str(place), chunk_bytes=PIECE_BYTES)
        number = 0
        for clip in range(len(index)):
            jpegs = read_jpegs(index, clip)
            for item in [_clip_item(jpegs)] if layout == "clips" else jpegs:
                writer[number] = item
                number += 1
        writer.done()
        writer.merge()
    place = folder / "litdata-clips"
    listed = json.loads((place / "index.json").read_text())
    chunks = list(listed["chunks"])
    for turn in range(1, _long_epoch(index)):
        for chunk in chunks:
            name = f"{turn}-{chunk['filename']}"
            os.link(place / chunk["filename"], place / name)
            listed["chunks"].append({**chunk, "filename": name})
    (place / "index.json").write_text(json.dumps(listed))


def write_streaming(index: ClipIndex, folder: Path) -> None:
    """Both layouts, uncompressed."""
    writer = importlib.import_module("streaming").MDSWriter
    layouts = {"clips": {"frames": "bytes", "ends": "ndarray:int64"}, "frames": {"jpeg": "bytes"}}
    for layout, columns in layouts.items():
        out = str(folder / f"streaming-{layout}")
        with writer(out=out, columns=columns, size_limit=PIECE_BYTES) as samples:
            for clip in range(len(index)):
                jpegs = read_jpegs(index, clip)
                for item in [_clip_item(jpegs)] if layout == "clips" else [{"jpeg": jpeg} for jpeg in jpegs]:
                    samples.write(item)


def load_memory(task: LoaderTask) -> Batches:
    """An upper bound with torch's DataLoader: JPEG files in memory."""
    clips = [read_jpegs(task.index, clip) for clip in range(len(task.index))]
    pairs = FramePairs([len(clip) for clip in clips], lambda clip, frame: clips[clip][frame])
    return iter(task.torch_loader(pairs, shuffle=True))


def load_files(task: LoaderTask) -> Batches:
    """A folder of JPEG files."""
    folders = [f"{task.folder}/files/{task.index.key(clip)}" for clip in range(len(task.index))]

    def read(clip: int, frame: int) -> bytes:
        with open(f"{folders[clip]}/{frame:03d}.jpg", "rb") as file:  # noqa: PTH123 - quicker than a Path
            return file.read()

    return iter(task.torch_loader(FramePairs(task.index.frame_counts.tolist(), read), shuffle=True))


def load_webdataset(task: LoaderTask) -> Batches:
    """Stock webdataset over our shards: labels skipped, no decoder, two members of a sample decoded."""
    shards = [str(path) for path in sorted((task.folder / "shards").iterdir())]

    def draw(sample: dict[str, Any]) -> tuple[bytes, bytes]:
        frames = [name for name in sample if name.endswith(".jpg")]
        first, second = random.sample(frames, 2)
        return sample[first], sample[second]

    def is_frame(name: str) -> bool:
        return name.endswith(".jpg") and "anchors" not in name

    def decode(pair: tuple[bytes, bytes]) -> Pair:
        return decode_image(pair[0]), decode_image(pair[1])

    samples = (
        WebDataset(shards, resampled=True, shardshuffle=False, select_files=is_frame)
        .map(draw)
        .shuffle(SHUFFLED_SAMPLES)
        .map(decode)
    )
    return iter(task.torch_loader(samples, shuffle=False))


def load_litdata_clips(task: LoaderTask) -> Batches:
    """LitData with one clip per item, with its own loader."""
    litdata = importlib.import_module("litdata")
    dataset = litdata.StreamingDataset(
        str(task.folder / "litdata-clips"), shuffle=True, drop_last=True, transform=decode_two_frames
    )
    loader = litdata.StreamingDataLoader(dataset, batch_size=task.batch_size, **task.worker_options())
    return iter(loader)


def load_litdata_frames(task: LoaderTask) -> Batches:
    """LitData with one frame per item, read at random."""
    litdata = importlib.import_module("litdata")
    frames = litdata.StreamingDataset(str(task.folder / "litdata-frames"))
    return _random_frames(task, lambda number: frames[number])


def load_streaming_clips(task: LoaderTask) -> Batches:
    """MosaicML Streaming with one clip per item, with its own loader."""
    streaming = importlib.import_module("streaming")
    dataset = type(
        "ClipPairs",
        (streaming.StreamingDataset,),
        {"__getitem__": lambda self, at: decode_two_frames(streaming.StreamingDataset.__getitem__(self, at))},
    )(
        streams=[
            streaming.Stream(local=str(task.folder / "streaming-clips"), repeat=_long_epoch(task.index))
        ],
        shuffle=True,
        batch_size=task.batch_size,
    )
    options = {"drop_last": True, **task.worker_options()}
    return iter(streaming.StreamingDataLoader(dataset, batch_size=task.batch_size, **options))


def load_streaming_frames(task: LoaderTask) -> Batches:
    """MosaicML Streaming's LocalDataset with one frame per item, read at random."""
    frames = importlib.import_module("streaming").LocalDataset(str(task.folder / "streaming-frames"))
    return _random_frames(task, lambda number: frames[number]["jpeg"])


def _random_frames(task: LoaderTask, read: Callable[[int], bytes]) -> Batches:
    counts = task.index.frame_counts.tolist()
    starts = [0, *accumulate(counts)]
    pairs = FramePairs(counts, lambda clip, frame: read(starts[clip] + frame))
    return iter(task.torch_loader(pairs, shuffle=True))


@dataclass(frozen=True)
class Loader:
    """A loader under its name in the table."""

    load: Callable[[LoaderTask], Batches]
    write: Callable[[ClipIndex, Path], None] | None = None
    package: str = "webdataset"  # import name; loaders without it are skipped and listed

    def present(self) -> bool:
        """Whether its package is installed."""
        return importlib.util.find_spec(self.package) is not None


LOADERS: dict[str, Loader] = {
    "JPEGs in memory": Loader(load_memory),
    "folder of JPEGs": Loader(load_files, write_files),
    "webdataset": Loader(load_webdataset, write_shards),
    "LitData, clips": Loader(load_litdata_clips, write_litdata, "litdata"),
    "LitData, frames": Loader(load_litdata_frames, write_litdata, "litdata"),
    "Streaming, clips": Loader(load_streaming_clips, write_streaming, "streaming"),
    "Streaming, frames": Loader(load_streaming_frames, write_streaming, "streaming"),
}


def pictures_of(batch: Any) -> tuple[Tensor, Tensor]:
    """Both pictures of a peer's batch; ValueError if they are not uint8 of one shape."""
    first, second = batch
    if not first.dtype == second.dtype == torch.uint8 or first.shape != second.shape:
        shapes = f"{first.dtype}{list(first.shape)} and {second.dtype}{list(second.shape)}"
        raise ValueError(f"batches are {shapes}, need uint8 of one shape")
    return first, second
