"""A folder of the step `clips` with clips of noise, whose landmarks are the mean face's in a known pose."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.archive import ArchiveWriter
from preprocessing.audio.sound_landmarks import write_landmarks
from preprocessing.clips.store import CLIPS_TAR, write_clip_table
from preprocessing.faces.shape.frame_of_reference import project_to_crop, rotation_from_angles
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import Clip, ClipSource
from preprocessing.shards import encode_clip
from tests.factories.preprocessing.clips import silence
from weights.resolve import ResolvedWeights

STRAIGHT = (0.0, 0.0, 0.0, 0.0, 2.0, -10.0)  # pitch, yaw, roll rad; x, y, z cm


def landmarks_of(pose: NDArray[np.float64]) -> NDArray[np.float32]:
    """[T, 478, 3] crop px of the mean face in poses [T, 6]."""
    turned = load_mean_face().vertices_cm @ np.swapaxes(rotation_from_angles(pose[:, :3]), -1, -2)
    shown = project_to_crop(turned + pose[:, None, 3:])
    return np.concatenate([shown, np.zeros((*shown.shape[:2], 1))], axis=-1).astype(np.float32)


def made_clip(
    key: str, pictures: Sequence[NDArray[np.uint8]], identity: str = "ann", pose: Sequence[float] = STRAIGHT
) -> Clip:
    """A clip of pictures [224, 224, 3] RGB; its sound is noise."""
    frames = len(pictures)
    rng = np.random.default_rng(1)
    source = ClipSource("0" * 16, "a.mp4", 0, 0, "official", np.zeros((frames, 2, 3), np.float32))
    return Clip(
        key,
        identity,
        source,
        tuple(encode_jpeg(picture, 95) for picture in pictures),
        landmarks_of(np.tile(np.asarray(pose, np.float64), (frames, 1))),
        (rng.integers(-(2**14), 2**14, frames * 640) / 2**15).astype(np.float32),
        silence(0.3),
    )


def noise(frames: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Pictures of noise."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(frames)]


def coloured(red: int, green: int, blue: int) -> NDArray[np.uint8]:
    """A picture of one colour."""
    return np.full((224, 224, 3), (red, green, blue), np.uint8)


def write_clips(folder: Path, clips: Sequence[Clip]) -> Path:
    """As the step `clips` publishes them."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = ArchiveWriter(folder / CLIPS_TAR)
    rows = []
    for clip in sorted(clips, key=lambda clip: clip.key):
        place = writer.write(clip.key, encode_clip(clip))
        rows.append(
            {
                "key": clip.key,
                "identity": clip.identity,
                "video_id": clip.source.video_id,
                "frames": clip.frame_count,
                "accepted": True,
                "reason": "",
                "offset_bytes": place.offset_bytes,
                "size_bytes": place.size_bytes,
            }
        )
    writer.close()
    write_clip_table(folder, rows)
    write_landmarks({}, folder)
    return folder


def weights_at(path: Path, digit: str = "a") -> ResolvedWeights:
    """A resolved file of weights, without its licence."""
    return ResolvedWeights("weights", path, digit * 64, None, None)


def assert_missing_and_cut_files_are_told(
    opened: Callable[[Path], object], network: Path, folder: Path
) -> None:
    """Of an ONNX backend: one line that names the file, and nothing behind it."""
    with pytest.raises(FileNotFoundError, match=r"^no weights at .*missing\.onnx$"):
        opened(folder / "missing.onnx")
    (folder / "cut.onnx").write_bytes(network.read_bytes()[: len(network.read_bytes()) // 4])
    with pytest.raises(ValueError, match=r"cut\.onnx cannot be read as an ONNX model") as caught:
        opened(folder / "cut.onnx")
    assert len(str(caught.value).splitlines()) == 1
