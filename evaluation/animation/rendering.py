"""Codes of every driver, brought together frame by frame, and the pictures made of them.

Frame t is driven by frame t of each driver and by the mel window of frame t. Everything is lazy: what is held
is a chunk of frames a driver and a few rows of codes, whatever the length.

Shape letters: D width of a code, S side of the pictures.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, repeat, tee
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.animation.code_streams import batches, mixed, windowed_mean
from evaluation.animation.mel_windows import mel_windows, silent_window
from evaluation.animation.request import Strengths
from evaluation.animation.talking_head import FaceMotion, TalkingHead
from models.style_vector import StyleVector

FACE_CONTROLS: Final = ("expression", "eye", "pose")
CONTROLS: Final = ("lip", *FACE_CONTROLS)


@runtime_checkable
class Face(Protocol):
    """A driver that shows a face."""

    @property
    def path(self) -> Path:
        """Its file: drivers of one file are encoded once."""
        ...

    def crops(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """`count` aligned crops [224, 224, 3]."""
        ...


@dataclass(frozen=True)
class Performance:
    """All that decides the pictures; a control without a driver is held neutral.

    portrait: aligned crop [224, 224, 3]. sound: [n] float32 mono 16 kHz, or None. faces: by control
    (`FACE_CONTROLS`). frames: how many pictures.
    """

    portrait: NDArray[np.uint8]
    sound: NDArray[np.float32] | None
    faces: Mapping[str, Face]
    frames: int


def perform(
    head: TalkingHead, performance: Performance, strengths: Strengths, frames_at_once: int
) -> Iterator[NDArray[np.uint8]]:
    """The video's pictures [S, S, 3], one after the other."""
    appearance = head.appearance(performance.portrait)
    codes = control_codes(head, performance, strengths, frames_at_once)
    rows = zip(*(codes[name] for name in CONTROLS), strict=True)
    for chunk in batches(rows, frames_at_once):
        controls = dict(zip(CONTROLS, map(torch.stack, zip(*chunk, strict=True)), strict=True))
        style = StyleVector(appearance.code.expand(len(chunk), -1), **controls)
        yield from head.render(style, appearance)


def control_codes(
    head: TalkingHead, performance: Performance, strengths: Strengths, frames_at_once: int
) -> dict[str, Iterator[Tensor]]:
    """Each control's code [D] by frame, as the generator gets it."""
    neutrals = neutral_codes(head, performance.portrait)
    driven = face_codes(head, performance.faces, performance.frames, frames_at_once)
    windows = {"pose": head.habits.pose_window_frames, "expression": head.expression_window_frames}
    for name in windows.keys() & driven.keys():
        driven[name] = windowed_mean(driven[name], (1.0,) * windows[name], "shrink")
    if performance.sound is not None:
        driven["lip"] = lip_codes(head, performance.sound, performance.frames, frames_at_once)
    strength: dict[str, float | Tensor] = {
        "lip": strengths.lip,
        "expression": strengths.expression,
        "eye": eye_strength(head, strengths),
        "pose": strengths.pose,
    }
    return {
        name: mixed(driven[name], neutrals[name], strength[name])
        if name in driven
        else repeat(neutrals[name], performance.frames)
        for name in CONTROLS
    }


def neutral_codes(head: TalkingHead, portrait: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Each control's code [D] where nothing drives it.

    Lips as in silence, and the portrait's own pose, eyes and expression; or zeros, as the habits say.
    """
    motion = head.motion([portrait])
    codes = {name: getattr(motion, name)[0] for name in FACE_CONTROLS}
    codes["lip"] = head.lip(silent_window())[0]
    if head.habits.neutral == "zero":
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
    head: TalkingHead, sound: NDArray[np.float32], frames: int, frames_at_once: int
) -> Iterator[Tensor]:
    """Lip codes [D] by frame, smoothed as the habits say."""
    codes = (code for mels in mel_windows(sound, frames, frames_at_once) for code in head.lip(mels))
    return windowed_mean(codes, head.habits.lip_weights(), "zero")


def eye_strength(head: TalkingHead, strengths: Strengths) -> float | Tensor:
    """Strength of the eye code, or the map [D, D] by which gaze, blinks and the rest go differently far.

    Raises:
        ValueError: nobody knows which parts of the checkpoint's eye code are which.
    """
    gaze = strengths.eye if strengths.gaze is None else strengths.gaze
    blink = strengths.eye if strengths.blink is None else strengths.blink
    if head.eye_parts is None and gaze != blink:
        raise ValueError(
            f"{head.name}: gaze and blinks cannot be set apart: its eye stage did not yet measure which "
            "parts of the eye code say which; train stage2_eye again, or give one strength for the eyes"
        )
    if head.eye_parts is None or gaze == blink == strengths.eye:
        return gaze
    return head.eye_parts.strength(gaze, blink, strengths.eye).to(head.device)
