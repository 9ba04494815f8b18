"""Clips and samples of random values, which fit the contract and show nobody."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import Clip, ClipLabels, ClipSample, ClipSource, EyeAnchor, VideoSound

KEY = "0123456789abcdef-t00-f0000050"


def silence(loudness: float = 0.0) -> VideoSound:
    """Nothing before and after a clip."""
    return VideoSound(np.zeros(4 * 640, np.float32), np.zeros(2 * 640, np.float32), loudness)


def random_clip(frames: int = 3, seed: int = 0, key: str = KEY, identity: str = "Zoë Ä") -> Clip:
    """A clip whose sound lies on the 16-bit grid, so that FLAC keeps it to the bit."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-(2**15), 2**15, frames * 640)
    around = np.random.default_rng(seed + 2).integers(-(2**15), 2**15, 6 * 640).astype(np.float32)
    return Clip(
        key=key,
        identity=identity,
        source=ClipSource(
            video_id="0123456789abcdef",
            relative_path="Zoë Ä/a b.mp4",
            track=0,
            first_frame=50,
            crop_mode="official",
            crop_transforms=rng.normal(size=(frames, 2, 3)).astype(np.float32),
        ),
        frames_jpeg=tuple(random_jpeg(rng) for _ in range(frames)),
        landmarks_px=rng.normal(112, 40, (frames, 478, 3)).astype(np.float32),
        sound=(steps / 2**15).astype(np.float32),
        video_sound=VideoSound(*np.split(around / np.float32(2**15), [4 * 640]), loudness=0.25),
        scores={"sharpness": 12.5, "brightness": 1 / 3},
    )


def random_sample(
    frames: int = 3, seed: int = 0, *, coefficients: bool = True, anchors: int = 2
) -> ClipSample:
    """A whole sample."""
    rng = np.random.default_rng(seed + 1)
    clip = random_clip(frames, seed)
    labels = ClipLabels(
        pose=uniform(rng, (frames, 6), 3.0),
        gaze=uniform(rng, (frames, 2), 1.5),
        blink=np.abs(uniform(rng, (frames, 2), 1.0)),
        lip_sync={"confidence": 0.25, "offset_frames": -2.0, "correlation": 0.5},
        labellers={"pose": "mean_face 1"},
        coefficients=uniform(rng, (frames, 257), 9.0) if coefficients else None,
    )
    made = tuple(
        EyeAnchor(number % frames, "other-key", 7, "Bob", random_jpeg(rng), random_jpeg(rng), 0.1, 0.2, 0.75)
        for number in range(anchors)
    )
    return ClipSample(clip, labels, np.abs(uniform(rng, (4 * frames + 16, 80), 1.0)), made)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> NDArray[np.float32]:
    """Float32 within +-bound."""
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def random_jpeg(rng: np.random.Generator) -> bytes:
    """A JPEG file of noise."""
    return encode_jpeg(rng.integers(0, 256, (16, 16, 3), np.uint8), 95)


def same(one: object, other: object) -> bool:
    """Whether two dataclasses hold the same, arrays to the bit and of the same dtype."""
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)
        )
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(
            same(left, right) for left, right in zip(one, other, strict=True)
        )
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return one == other
