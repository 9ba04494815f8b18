"""What reads each kind of file: the code of the project, as it is called there.

A reader returns a digest of what it read. It may refuse a file with the exceptions of `REFUSALS`; any other
exception, and the code's own "an exception that nothing foresees", is a loss.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from upath import UPath

from evaluation.animation.media import errors_naming, read_sound, read_still
from models.checkpoint_file import read_state_dict
from preprocessing.archive import Place, read_members
from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings, VideoToTrack
from preprocessing.media.container import RefusedVideo
from preprocessing.media.decoding import DecodeSettings, open_video
from preprocessing.schema import LANDMARK_COUNT, mel_shape
from preprocessing.shards import decode_sample
from preprocessing.sources.catalog import FAILED
from preprocessing.sources.discovery import find_videos
from preprocessing.sources.probe import ProbeSettings
from preprocessing.sources.reading import ReadTask, read_file
from storage.publishing import current
from tests.factories.training.data import READER
from training.data.index import read_clip_index
from training.data.shard_reader import ShardReader
from training.engine.stage_weights import read_weights

REFUSALS: Final = (RefusedVideo, ValueError, FileNotFoundError)
UNFORESEEN: Final = "reading it failed: "  # of `errors_naming`
CHECKED_KINDS: Final = (
    "shard",
    "manifest",
)  # whose damage never passes; of weights: only zips have checksums
TRACKED_SHARE: Final = 40  # one accepted video in so many is also tracked


class UnforeseenError(Exception):
    """The code met an exception that none of its rules foresees, and reported it as such."""


def read_input(kind: str, path: Path, folder: Path, number: int) -> str:
    """Digest of what the project reads of a file.

    Raises:
        RefusedVideo, ValueError, FileNotFoundError: it is refused.
        UnforeseenError: see there.
    """
    content: Any = READERS[kind](path, folder, number)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _read_video(path: Path, folder: Path, number: int) -> list[Any]:
    (file,) = [file for file in find_videos([folder])[0] if file.path == path]
    read = read_file(ReadTask(file, None, ProbeSettings(), folder))
    if read.row.status == FAILED:
        raise UnforeseenError(f"{read.row.detail}\n{read.trace}")
    if read.row.reason:
        raise RefusedVideo(read.row.reason, read.row.detail)
    content: list[Any] = []
    with open_video(path, DecodeSettings(), lambda block: content.append(len(block))) as video:
        content += [frame.image.shape for frame in video]
    if number % TRACKED_SHARE == 0:
        _track(VideoToTrack(read.row.video_id, path), folder / "tracks")
    return content


def _track(video: VideoToTrack, folder: Path) -> None:
    folder.mkdir()
    report = make_face_tracks([video], FaceTrackSettings(), folder, workers=0)
    if FAILED in report.refusals:
        raise UnforeseenError((folder / video.video_id / "video.json").read_text())


def _read_image(path: Path, _: Path, __: int) -> Any:
    with errors_naming(path):
        image = read_still(path)
    if image is None:
        raise ValueError("no still")
    return image.shape


def _read_sound(path: Path, _: Path, __: int) -> Any:
    return len(read_sound(path))


def _read_shard(path: Path, folder: Path, _: int) -> list[Any]:
    index = read_clip_index(folder / "assets" / "dataset", folder, "train")
    reader = ShardReader(index, READER)
    content: list[Any] = []
    for clip in range(len(index)):
        if index.shard_paths[int(index.shards[clip])] != path:
            continue
        frames = int(index.frame_counts[clip])
        shapes = {"landmarks.npy": (LANDMARK_COUNT, 3), "pose.npy": (6,), "gaze.npy": (2,), "blink.npy": (2,)}
        content += [frame.numpy().tobytes() for frame in reader.frames(clip, range(frames))]
        content += [reader.rows(clip, name, (frames, *shapes[name]), 0, frames).tobytes() for name in shapes]
        content += [reader.rows(clip, "mel.npy", mel_shape(frames), 0, 4).tobytes()]
        content += [reader.json(clip, "meta.json"), reader.json(clip, "anchors.json")]
        place = Place(int(index.offsets_bytes[clip]), int(index.sizes_bytes[clip]))
        decode_sample(index.key(clip), read_members(path, place))
    reader.close()
    return content


def _read_index(_: Path, folder: Path, __: int) -> Any:
    index = read_clip_index(folder / "assets" / "dataset", folder, "train")
    return index.key_column.to_pylist(), index.offsets_bytes.tolist(), index.identity_numbers().tolist()


def _read_manifest(_: Path, folder: Path, __: int) -> Any:
    published = current(UPath(folder), "clips", "b00000")
    if published is None:
        raise ValueError("nothing is published")
    return published.manifest


def _read_weights(path: Path, _: Path, __: int) -> Any:
    tensors = read_weights(path).tensors if path.suffix == ".safetensors" else read_state_dict(path)
    return [(name, tensor.tolist()) for name, tensor in sorted(tensors.items()) if torch.is_tensor(tensor)]


READERS: Final[dict[str, Callable[[Path, Path, int], Any]]] = {
    "video": _read_video,
    "image": _read_image,
    "sound": _read_sound,
    "shard": _read_shard,
    "index": _read_index,
    "manifest": _read_manifest,
    "weights": _read_weights,
}
