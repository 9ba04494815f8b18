"""Short videos of a face that scikit-image carries, wandering about, with a synthetic voice."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

from demo_corpus.speech import Syllable, draw_voice, synthesise
from preprocessing.faces.video import VideoToTrack
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
    """Syllables of the demo corpus's synthesiser that swell and fade with the chin."""
    rng = np.random.default_rng(seed)
    seconds = frames / 25
    period = 2 * np.pi / 0.9 / 25
    syllables = tuple(
        Syllable((number + 0.4) * period, 0.8 * period, 1.0, rng.uniform(-1, 1), 0.5)
        for number in range(max(1, int(seconds / period)))
    )
    return synthesise(rng, draw_voice(rng), syllables, seconds)


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
