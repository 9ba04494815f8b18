"""Short videos of a face that scikit-image carries, wandering about, with a voice-like noise."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

from preprocessing.faces.face_tracks import VideoToTrack
from preprocessing.media.encoding import EncodeSettings, write_video
from preprocessing.orchestration.step import SourceVideo

SIDE_PX = 256


def face_pictures(frames: int, *, mirrored: bool = False, start: int = 0) -> list[NDArray[np.uint8]]:
    """The astronaut's face in 256 px pictures; the chin goes up and down as in speech."""
    face = np.asarray(cv2.resize(astronaut()[:300, 80:380], (SIDE_PX, SIDE_PX)), np.uint8)
    face = np.ascontiguousarray(face[:, ::-1]) if mirrored else face
    rows, columns = np.indices((SIDE_PX, SIDE_PX)).astype(np.float32)
    pictures: list[NDArray[np.uint8]] = []
    for number in range(start, start + frames):
        chew = 10.0 * np.sin(0.9 * number) * np.exp(-(((rows - 185) / 25) ** 2))
        sway = 6.0 * np.sin(0.05 * number)
        shown = cv2.remap(
            face, columns + np.float32(sway), (rows + chew).astype(np.float32), cv2.INTER_LINEAR
        )
        pictures.append(np.asarray(shown, np.uint8))
    return pictures


def voice(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise that swells and fades with the chin."""
    samples = frames * 640
    swell = 0.5 + 0.5 * np.sin(0.9 * np.arange(samples) / 640)
    return (0.2 * swell * np.random.default_rng(seed).normal(size=samples)).clip(-1, 1).astype(np.float32)


def write_face_video(path: Path, frames: int, *, mirrored: bool = False, seed: int = 0) -> None:
    """A video of one shot at 25 fps."""
    pictures = face_pictures(frames, mirrored=mirrored)
    write_video(path, pictures, 25, voice(frames, seed), 16_000, EncodeSettings(preset="ultrafast"))


def video_id(path: Path) -> str:
    """As the catalog names videos."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def to_track(path: Path) -> VideoToTrack:
    """A video for `make_face_tracks`."""
    return VideoToTrack(video_id(path), path)


def source_video(path: Path) -> SourceVideo:
    """A video of a batch; the file's stem names the identity."""
    return SourceVideo(video_id(path), path, path.name, path.stem)
