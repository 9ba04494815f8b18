"""A data set as a folder for the Hugging Face Hub: WebDataset tars of each split, an index, a README.

    README.md                       YAML front matter that `datasets.load_dataset` reads, and the card
    data/<split>-NNNNN.tar          samples of one split, by key
    index/<split>.parquet           one row a sample; one schema for all splits

Every sample has the same members (`members_of`), as `datasets` needs: the frames are one `video.mp4` whose
packets are the shard's own JPEGs, byte for byte (Motion JPEG), and the anchors are one tar. The same data set
gives the same bytes.
"""

import io
import json
import logging
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.archive import ArchiveWriter, Place, read_members
from preprocessing.dataset.hub_readme import DATA, INDEX, META, PAIRS, write_readme
from preprocessing.dataset.index import DATASET, WHOLE, read_dataset_index
from preprocessing.dataset.joining import CARD_NAME
from preprocessing.dataset.splits import SPLITS
from preprocessing.schema import CROP_SIDE_PX, FRAMES_PER_SECOND, SCHEMA_VERSION
from preprocessing.shards import decode_sample, encode_array, encode_json
from preprocessing.table_schema import column, table_schema
from storage.disk import disk_errors_at
from storage.publishing import Published, current
from storage.root import local_copy, verified_copy

logger = logging.getLogger(__name__)

README: Final = "README.md"
COPIED: Final = (
    "audio.flac",
    "blink.npy",
    "gaze.npy",
    "landmarks.npy",
    "margins.flac",
    "mel.npy",
    "pose.npy",
)
OPTIONAL: Final = ("blendshapes.npy", "coefficients.npy", "speech.npy")
"""Members that only some backends make: exported if every sample has them."""
HUB_INDEX_SCHEMA: Final = table_schema(
    column("key", pa.string(), "sample's key"),
    column("identity", pa.string(), "who is seen"),
    column("main_identity", pa.string(), "main identity of the video, by which the split is given"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("split", pa.string(), "train, validation or test"),
    column("frames", pa.int32(), "number of frames at 25 fps"),
    column("anchors", pa.int32(), "number of eye anchors"),
    column("tar", pa.string(), "file that holds the sample, relative to the folder"),
    column("offset_bytes", pa.int64(), "where the sample begins in the tar"),
    column("size_bytes", pa.int64(), "bytes of the sample in the tar"),
)


@dataclass(frozen=True)
class ExportedDataset:
    """What was written.

    Attributes:
        folder: The data set.
        samples: By split, those that have any.
        size_bytes: Of all tars.
        left_out: Optional members that only some samples have.
    """

    folder: Path
    samples: Mapping[str, int]
    size_bytes: int
    left_out: tuple[str, ...]


def export_dataset(root: UPath, folder: Path, maximum_tar_mebibytes: int = 512) -> ExportedDataset:
    """Write the current data set of a root into a folder; it appears whole or not at all.

    Args:
        root: From `open_root`.
        folder: Must not exist, or be empty.
        maximum_tar_mebibytes: Size at which a tar is closed, after the sample that reaches it.

    Raises:
        ValueError: there is no data set, or the folder is not empty.
        DiskError: the disk is full or read-only, or the user has no permission; nothing is left of it.
    """
    published = current(root, DATASET, WHOLE)
    if published is None:
        raise ValueError(f"no data set under {root}: run pdfgc preprocess FOLDER first")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not an empty folder; choose another")
    rows = read_dataset_index(local_copy(published.directory)).sort_by("key").to_pylist()
    if not rows:
        raise ValueError(f"the data set under {root} has no samples: run pdfgc preprocess FOLDER first")
    work = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    with disk_errors_at(folder):
        try:
            return _write_folder(root, rows, published, work, folder, maximum_tar_mebibytes)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _write_folder(
    root: UPath,
    rows: Sequence[Mapping[str, Any]],
    published: Published,
    work: Path,
    folder: Path,
    maximum_tar_mebibytes: int,
) -> ExportedDataset:
    for name in (DATA, INDEX):
        (work / name).mkdir(parents=True)
    optional, left_out = _optional_members(root, rows)
    samples: dict[str, int] = {}
    for split in SPLITS:
        of_split = [row for row in rows if row["split"] == split]
        if of_split:
            written = list(_write_split(root, of_split, optional, work, maximum_tar_mebibytes * 2**20))
            table = pa.Table.from_pylist(written, schema=HUB_INDEX_SCHEMA)
            pq.write_table(table, work / INDEX / f"{split}.parquet")
            samples[split] = len(of_split)
            logger.info("Exported %d samples of split %s", len(of_split), split)
    card = (local_copy(published.directory) / CARD_NAME).read_text("utf-8")
    (work / README).write_text(write_readme(samples, members_of(optional), card), "utf-8")
    size = sum(file.stat().st_size for file in (work / DATA).iterdir())
    if folder.exists():
        folder.rmdir()
    work.rename(folder)
    return ExportedDataset(folder, samples, size, left_out)


def members_of(optional: Sequence[str]) -> tuple[str, ...]:
    """Names of every sample's members, sorted."""
    own = ("anchors.tar", "crop_transforms.npy", "meta.json", "video.mp4")
    return tuple(sorted((*COPIED, *optional, *own)))


def _samples(root: UPath, rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, bytes]]:
    folders: dict[str, Path] = {}
    for row in rows:
        parent, _, name = row["shard"].rpartition("/")
        if parent not in folders:
            folders[parent] = verified_copy(root / parent)
        yield read_members(folders[parent] / name, Place(row["offset_bytes"], row["size_bytes"]))


def _optional_members(root: UPath, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], tuple[str, ...]]:
    """Optional members that every sample has, and those that only some have."""
    counts = dict.fromkeys(OPTIONAL, 0)
    for members in _samples(root, rows):
        for name in OPTIONAL:
            counts[name] += name in members
    everywhere = [name for name, count in counts.items() if count == len(rows)]
    return everywhere, tuple(name for name, count in counts.items() if 0 < count < len(rows))


def _write_split(
    root: UPath, rows: Sequence[Mapping[str, Any]], optional: Sequence[str], folder: Path, maximum_bytes: int
) -> Iterator[dict[str, Any]]:
    """Write the tars of a split; yields the rows of its index."""
    tars = 0
    with ExitStack() as stack:
        writer: ArchiveWriter | None = None
        name = ""
        for row, members in zip(rows, _samples(root, rows), strict=True):
            if writer is None or writer.size_bytes >= maximum_bytes:
                stack.close()
                name = f"{DATA}/{row['split']}-{tars:05d}.tar"
                writer, tars = stack.enter_context(ArchiveWriter(folder / name)), tars + 1
            place = writer.write(row["key"], hub_members(row, members, optional))
            known = {key: row[key] for key in HUB_INDEX_SCHEMA.names if key in row}
            yield known | {"tar": name, "offset_bytes": place.offset_bytes, "size_bytes": place.size_bytes}


def hub_members(
    row: Mapping[str, Any], members: Mapping[str, bytes], optional: Sequence[str]
) -> dict[str, bytes]:
    """The members of a sample as exported.

    Raises:
        ValueError: the sample is not valid.
    """
    sample = decode_sample(row["key"], members)  # checked before it is given away
    clip, source = sample.clip, sample.clip.source
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "identity": clip.identity,
        "main_identity": row["main_identity"],
        "split": row["split"],
        "video_id": source.video_id,
        "relative_path": source.relative_path,
        "track": source.track,
        "first_frame": source.first_frame,
        "frames": len(clip.frames_jpeg),
        "anchors": len(sample.anchors),
        "crop_mode": source.crop_mode,
        "video_loudness": float(clip.video_sound.loudness),
        "annotations": json.dumps(clip.annotations, sort_keys=True),
    }
    assert values.keys() == META.keys()
    lists = {"labellers": sample.labels.labellers, "scores": {**clip.scores, **sample.labels.lip_sync}}
    assert lists.keys() == PAIRS.keys()
    meta = values | {name: _pairs(named) for name, named in lists.items()}
    anchors = {name: data for name, data in members.items() if name.startswith("anchors.")}
    return {name: members[name] for name in (*COPIED, *optional)} | {
        "anchors.tar": _tar(anchors),
        "crop_transforms.npy": encode_array(source.crop_transforms),
        "meta.json": encode_json(meta),
        "video.mp4": motion_jpeg(clip.frames_jpeg),
    }


def _pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in sorted(values.items())]


def _tar(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(members):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(members[name]), 0o444
            tar.addfile(info, io.BytesIO(members[name]))
    return buffer.getvalue()


def motion_jpeg(frames: Sequence[bytes]) -> bytes:
    """An mp4 whose packets are these JPEGs, at 25 fps; nothing is encoded again."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mjpeg", rate=FRAMES_PER_SECOND)
        stream.width = stream.height = CROP_SIDE_PX
        stream.pix_fmt = "yuvj420p"
        container.start_encoding()
        for number, frame in enumerate(frames):
            packet = av.Packet(frame)
            packet.stream, packet.time_base = stream, Fraction(1, FRAMES_PER_SECOND)
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)
    return buffer.getvalue()
