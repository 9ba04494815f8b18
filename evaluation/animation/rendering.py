"""Render the frames of an animation: codes of every driver, combined frame by frame, to pictures.

Frame t is driven by frame t of each driver and by the mel window of frame t. Everything is lazy: a chunk of
frames of each driver and a few codes are in memory, whatever the length of the video.

Shape letters: D width of a code, S side of the pictures.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat, tee
from pathlib import Path
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.animation.mel_windows import mel_windows, silent_window
from evaluation.animation.request import Strengths
from evaluation.animation.talking_head import FaceMotion, TalkingHead
from models.style_vector import StyleVector
from preprocessing.schema import VideoSound

FACE_CONTROLS: Final = ("expression", "eye", "pose")
CONTROLS: Final = ("lip", *FACE_CONTROLS)
Item = TypeVar("Item")


@runtime_checkable
class Face(Protocol):
    """A driver that shows a face."""

    @property
    def path(self) -> Path:
        """Its file; drivers of one file are encoded once."""
        ...

    def crops(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """`count` aligned crops [224, 224, 3]."""
        ...


AnyFace = TypeVar("AnyFace", bound=Face)


@dataclass(frozen=True)
class AnimationInputs(Generic[AnyFace]):
    """Portrait and drivers of a video; a control without a driver stays neutral.

    Attributes:
        portrait: Aligned crop uint8 [224, 224, 3] RGB.
        sound: [n] float32 mono at 16 kHz, or None.
        video_sound: What is around it, if it is the sound of a clip.
        faces: By control, of `FACE_CONTROLS`.
        frames: Length of the video.
    """

    portrait: NDArray[np.uint8]
    sound: NDArray[np.float32] | None
    faces: Mapping[str, AnyFace]
    frames: int
    video_sound: VideoSound | None = None


def render_frames(
    head: TalkingHead, inputs: AnimationInputs[Any], strengths: Strengths, frames_at_once: int
) -> Iterator[NDArray[np.uint8]]:
    """Pictures uint8 [S, S, 3] of the video, in order."""
    appearance = head.appearance(inputs.portrait)
    codes = control_codes(head, inputs, strengths, frames_at_once)
    rows = zip(*(codes[name] for name in CONTROLS), strict=True)
    for chunk in batches(rows, frames_at_once):
        controls = dict(zip(CONTROLS, map(torch.stack, zip(*chunk, strict=True)), strict=True))
        style = StyleVector(appearance.code.expand(len(chunk), -1), **controls)
        yield from head.render(style, appearance)


def control_codes(
    head: TalkingHead, inputs: AnimationInputs[Any], strengths: Strengths, frames_at_once: int
) -> dict[str, Iterator[Tensor]]:
    """Code [D] of each control by frame, as the generator takes it."""
    neutrals = neutral_codes(head, inputs.portrait)
    driven = face_codes(head, inputs.faces, inputs.frames, frames_at_once)
    if "pose" in driven:
        weights = (1.0,) * head.postprocessing.pose_window_frames
        driven["pose"] = windowed_mean(driven["pose"], weights, "shrink")
    if "expression" in driven:
        driven["expression"] = mean_expressions(head, driven["expression"])
    if inputs.sound is not None:
        driven["lip"] = lip_codes(head, inputs.sound, inputs.frames, frames_at_once, inputs.video_sound)
    strength: dict[str, float | Tensor] = {
        "lip": strengths.lip,
        "expression": strengths.expression,
        "eye": eye_strength(head, strengths),
        "pose": strengths.pose,
    }
    return {
        name: interpolate(driven[name], neutrals[name], strength[name])
        if name in driven
        else repeat(neutrals[name], inputs.frames)
        for name in CONTROLS
    }


def neutral_codes(head: TalkingHead, portrait: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Code [D] of each control without a driver.

    Lips as in silence and the portrait's pose, eyes and expression, or zeros: `PostprocessingConfig.neutral`.
    """
    motion = head.motion([portrait])
    codes = {name: getattr(motion, name)[0] for name in FACE_CONTROLS}
    codes["lip"] = head.lip(silent_window())[0]
    if head.postprocessing.neutral == "zero":
        return {name: torch.zeros_like(code) for name, code in codes.items()}
    return codes


def face_codes(
    head: TalkingHead, faces: Mapping[str, Face], frames: int, frames_at_once: int
) -> dict[str, Iterator[Tensor]]:
    """Each face control's code [D] by frame; a file that drives several is read and encoded once."""
    codes: dict[str, Iterator[Tensor]] = {}
    for path in dict.fromkeys(face.path for face in faces.values()):
        names = [name for name, face in faces.items() if face.path == path]
        encoded = encoded_faces(head, faces[names[0]].crops(frames), frames_at_once)
        for name, copy in zip(names, tee(encoded, len(names)), strict=True):
            codes[name] = _one_control(copy, name)
    return codes


def _one_control(motions: Iterable[FaceMotion], name: str) -> Iterator[Tensor]:
    for motion in motions:
        yield getattr(motion, name)


def encoded_faces(
    head: TalkingHead, crops: Iterable[NDArray[np.uint8]], frames_at_once: int
) -> Iterator[FaceMotion]:
    """Codes [D] of every crop; one that is held is encoded once."""
    last: NDArray[np.uint8] | None = None
    row: FaceMotion | None = None
    for chunk in batches(crops, frames_at_once):
        is_new = [crop is not before for before, crop in zip(chain([last], chunk), chunk, strict=False)]
        fresh = [crop for crop, new in zip(chunk, is_new, strict=True) if new]
        encoded = iter(_rows(head.motion(fresh)) if fresh else [])
        for new in is_new:
            row = next(encoded) if new else row
            assert row is not None
            yield row
        last = chunk[-1]


def _rows(motion: FaceMotion) -> list[FaceMotion]:
    return [FaceMotion(*codes) for codes in zip(motion.pose, motion.eye, motion.expression, strict=True)]


def lip_codes(
    head: TalkingHead,
    sound: NDArray[np.float32],
    frames: int,
    frames_at_once: int,
    video_sound: VideoSound | None = None,
) -> Iterator[Tensor]:
    """Lip codes [D] by frame, smoothed as the postprocessing says."""
    windows = mel_windows(sound, frames, frames_at_once, video_sound)
    codes = (code for mels in windows for code in head.lip(mels))
    return windowed_mean(codes, head.postprocessing.lip_weights(), "zero")


def mean_expressions(head: TalkingHead, codes: Iterable[Tensor]) -> Iterator[Tensor]:
    """Expression codes [D], each the mean over a window as wide as in the head's training."""
    if head.expression_window_from == "clip":
        return span_mean(codes, head.expression_span_frames)
    return windowed_mean(codes, (1.0,) * head.expression_window_frames, "shrink")


def eye_strength(head: TalkingHead, strengths: Strengths) -> float | Tensor:
    """Strength of the eye code, or a matrix [D, D] that scales gaze, blinks and the rest differently.

    Raises:
        ValueError: gaze and blinks differ, and the checkpoint's eye stage did not separate them.
    """
    gaze = strengths.eye if strengths.gaze is None else strengths.gaze
    blink = strengths.eye if strengths.blink is None else strengths.blink
    if head.eye_parts is None and gaze != blink:
        raise ValueError(
            f"{head.name}: gaze and blink strengths must be equal: its stage2_eye did not separate them; "
            "train stage2_eye again, or use one strength for the eyes"
        )
    if head.eye_parts is None or gaze == blink == strengths.eye:
        return gaze
    return head.eye_parts.strength(gaze, blink, strengths.eye).to(head.device)


def windowed_mean(
    rows: Iterable[Tensor], weights: Sequence[float], edges: Literal["zero", "shrink"]
) -> Iterator[Tensor]:
    """Weighted mean over a window around each code.

    Args:
        rows: [D] each.
        weights: An odd number; the middle one is of the code itself.
        edges: Beyond both ends: `zero` pads with zeros, `shrink` takes the mean over the weights inside.

    Yields:
        One mean for each code.

    Raises:
        ValueError: an even number of weights.
    """
    if len(weights) % 2 == 0:
        raise ValueError(f"need an odd number of weights, got {len(weights)}")
    half = len(weights) // 2
    window: deque[Tensor | None] = deque(repeat(None, half), maxlen=len(weights))
    for row in chain(rows, repeat(None, half)):
        window.append(row)
        if len(window) < len(weights):
            continue
        present = [
            (weight, value) for weight, value in zip(weights, window, strict=True) if value is not None
        ]
        total = sum(weight for weight, _ in present) if edges == "shrink" else 1.0
        (first_weight, first), *others = present
        mean = first_weight * first
        for weight, value in others:
            mean = mean + weight * value
        yield mean / total


def span_mean(rows: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """Mean over the `count` codes around each code; near the ends, over the first or last `count`.

    Holds `count` codes at a time. All codes of a shorter stream have its one mean.

    Args:
        rows: [D] each.
        count: Codes in a mean.

    Yields:
        One mean for each code.
    """
    remaining = iter(rows)
    span = deque(islice(remaining, count), maxlen=count)
    if not span:
        return
    before, after = len(span) // 2, (len(span) - 1) // 2
    mean = torch.stack(list(span)).mean(dim=0)
    yield from repeat(mean, before + 1)
    for row in remaining:
        span.append(row)
        mean = torch.stack(list(span)).mean(dim=0)
        yield mean
    yield from repeat(mean, after)


def interpolate(rows: Iterable[Tensor], neutral: Tensor, strength: float | Tensor) -> Iterator[Tensor]:
    """``neutral + strength (row - neutral)``: 0 gives neutral, 1 the driver, more exaggerates.

    Args:
        rows: [D] each.
        neutral: [D].
        strength: A factor, or a matrix [D, D] that scales parts of the change differently.
    """
    for row in rows:
        change = row - neutral
        yield neutral + (change @ strength if isinstance(strength, Tensor) else strength * change)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
