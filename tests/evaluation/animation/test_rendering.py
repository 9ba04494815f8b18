"""What drives what, how far, and how much is held meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typing_extensions import override

from evaluation.animation.eye_parts import OFFICIAL_EYE_PARTS, EyeParts
from evaluation.animation.postprocessing import OFFICIAL_POSTPROCESSING, PostprocessingConfig
from evaluation.animation.rendering import CONTROLS, FACE_CONTROLS, render_frames
from evaluation.animation.request import Strengths
from tests.factories.evaluation.pixel_head import ColourFace, animation_inputs, pixel_head, ramp, shown

PORTRAIT = {"pose": 100, "eye": 110, "expression": 120}  # grey levels of its bands
CHANNEL = {"pose": 0, "eye": 1, "expression": 2}


def impulse(frame: int, frames: int) -> NDArray[np.float32]:
    """Silence with an impulse in the middle of a video frame."""
    sound = np.zeros(frames * 640, np.float32)
    sound[640 * frame + 320] = 0.9
    return sound


@pytest.mark.parametrize("driven", FACE_CONTROLS)
def test_driver_changes_its_own_control_only(driven: str) -> None:
    head, _ = pixel_head()
    face = ColourFace(Path("a.mp4"), ramp(7, start=20))
    pictures = list(render_frames(head, animation_inputs({driven: face}, 7), Strengths(), 3))
    for name in FACE_CONTROLS:
        expected = [colours[CHANNEL[name]] for colours in face.colours] if name == driven else PORTRAIT[name]
        assert (shown(pictures, name)[:, 0] == expected).all(), name
    assert (shown(pictures, "lip") == 128).all()


@pytest.mark.parametrize(("strength", "level"), [(0.0, 100), (0.5, 110), (1.0, 120), (2.0, 140)])
def test_strength_interpolates_and_extrapolates_codes(strength: float, level: int) -> None:
    head, _ = pixel_head()
    faces = {"pose": ColourFace(Path("a.mp4"), [(120, 0, 0)])}
    pictures = list(render_frames(head, animation_inputs(faces, 2), Strengths(pose=strength), 16))
    assert (shown(pictures, "pose") == level).all()


def test_lip_strength_0_is_silence() -> None:
    head, _ = pixel_head()
    sound = np.random.default_rng(0).normal(0, 0.2, 5 * 640).clip(-1, 1).astype(np.float32)
    moved = list(render_frames(head, animation_inputs({}, 5, sound), Strengths(), 16))
    still = list(render_frames(head, animation_inputs({}, 5, sound), Strengths(lip=0.0), 16))
    assert (shown(moved, "lip") > 160).all()
    assert (shown(still, "lip") == 128).all()


def test_frame_is_driven_by_the_sound_at_its_time() -> None:
    """The released code shows frame t + 2 while the sound of frame t is heard: 80 ms."""
    head, _ = pixel_head()
    for frame in (4, 9):
        pictures = list(render_frames(head, animation_inputs({}, 14, impulse(frame, 14)), Strengths(), 5))
        assert shown(pictures, "lip")[:, 0].argmax() == frame


def test_chunk_size_does_not_change_pictures() -> None:
    head, _ = pixel_head(OFFICIAL_POSTPROCESSING, window_frames=5)
    sound = np.random.default_rng(1).normal(0, 0.2, 11 * 640).clip(-1, 1).astype(np.float32)

    def made(frames_at_once: int) -> NDArray[np.uint8]:
        faces = {name: ColourFace(Path(name), ramp(11, start=40)) for name in FACE_CONTROLS}
        return np.stack(
            list(render_frames(head, animation_inputs(faces, 11, sound), Strengths(), frames_at_once))
        )

    whole = made(100)
    assert len(whole) == 11
    for size in (1, 3, 11):
        assert (made(size) == whole).all()


@pytest.mark.parametrize("frames", [60, 400])
def test_rendering_reads_at_most_a_chunk_and_half_a_window_ahead(frames: int) -> None:
    head, _ = pixel_head(OFFICIAL_POSTPROCESSING, window_frames=5)
    face = ColourFace(Path("a.mp4"), ramp(20))
    ahead: list[int] = []
    shared: dict[str, ColourFace] = dict.fromkeys(FACE_CONTROLS, face)
    for made, _ in enumerate(render_frames(head, animation_inputs(shared, frames), Strengths(), 8), start=1):
        ahead.append(len(face.taken) - made)
    assert max(ahead) <= 2 * 8 + 2
    assert face.taken == list(range(frames))  # one file for three controls is read once


def test_expression_window_shrinks_at_both_ends() -> None:
    head, _ = pixel_head(window_frames=3)
    face = ColourFace(Path("a.mp4"), [(0, 0, level) for level in (30, 60, 120, 30)])
    pictures = list(render_frames(head, animation_inputs({"expression": face}, 4), Strengths(), 2))
    assert shown(pictures, "expression")[:, 0].tolist() == [45, 70, 70, 75]


@pytest.mark.parametrize("span", [64, 25])
def test_expression_of_spread_windows_is_the_mean_of_their_span(span: int) -> None:
    head, _ = pixel_head(window_from="clip", span_frames=span)
    for frames in (10, 90):
        levels = [30 + 10 * (number % 7) for number in range(frames)]
        face = ColourFace(Path("a.mp4"), [(0, 0, level) for level in levels])
        pictures = list(render_frames(head, animation_inputs({"expression": face}, frames), Strengths(), 7))
        firsts = [min(max(number - span // 2, 0), max(frames - span, 0)) for number in range(frames)]
        expected = [float(np.mean(levels[first : first + span])) for first in firsts]
        shown_levels = shown(pictures, "expression")[:, 0].astype(float)
        assert np.abs(shown_levels - expected).max() <= 0.51


def test_official_postprocessing_scales_smooths_and_zeroes() -> None:
    head, _ = pixel_head(OFFICIAL_POSTPROCESSING)
    face = ColourFace(Path("a.mp4"), [(31, 31, 31), (61, 61, 61), (121, 121, 121)])
    pictures = list(render_frames(head, animation_inputs({"eye": face, "pose": face}, 3), Strengths(), 2))
    assert shown(pictures, "eye")[:, 0].tolist() == [12, 48, 120]  # 1.2 times as far from grey 127.5
    assert shown(pictures, "pose")[:, 0].tolist() == [46, 71, 91]
    assert (shown(pictures, "expression") == 128).all()
    assert (shown(pictures, "lip") == 128).all()


def test_official_lip_smoothing_covers_three_frames() -> None:
    heads = [pixel_head(PostprocessingConfig(lip_sigma_frames=sigma))[0] for sigma in (0.0, 1.0)]
    sharp, smooth = (
        shown(list(render_frames(head, animation_inputs({}, 12, impulse(6, 12)), Strengths(), 5)), "lip")[
            :, 0
        ]
        - 127.5
        for head in heads
    )
    expected = np.convolve(sharp, [0.27406862, 0.45186276, 0.27406862], mode="same")
    assert np.abs(smooth - expected)[1:-1].max() <= 1.0  # grey levels are rounded twice


def test_gaze_and_blink_strengths_are_separate() -> None:
    head, _ = pixel_head(eye_parts=OFFICIAL_EYE_PARTS)
    faces = {"eye": ColourFace(Path("a.mp4"), [(0, 150, 0)])}
    pictures = list(render_frames(head, animation_inputs(faces, 1), Strengths(gaze=1.0, blink=0.0), 4))
    assert shown(pictures, "eye")[0].tolist() == [110, 110, 150, 150, 110, 110]


def test_eye_strength_scales_the_rest_of_the_eye_code() -> None:
    first, second = torch.eye(6)[:2]
    head, _ = pixel_head(eye_parts=EyeParts(gaze=torch.diag(first), blink=torch.diag(second)))
    faces = {"eye": ColourFace(Path("a.mp4"), [(0, 150, 0)])}
    strengths = Strengths(eye=0.5, gaze=1.0, blink=0.0)
    pictures = list(render_frames(head, animation_inputs(faces, 1), strengths, 4))
    assert shown(pictures, "eye")[0].tolist() == [150, 110, 130, 130, 130, 130]


def test_separate_strengths_need_measured_parts() -> None:
    head, _ = pixel_head()
    faces = {"eye": ColourFace(Path("a.mp4"), [(0, 150, 0)])}
    with pytest.raises(
        ValueError, match=r"pixels: gaze and blink strengths must be equal: .*train stage2_eye again"
    ):
        next(render_frames(head, animation_inputs(faces, 1), Strengths(blink=0.0), 4))
    same = render_frames(head, animation_inputs(faces, 1), Strengths(eye=0.5, gaze=0.0, blink=0.0), 4)
    assert (shown(list(same), "eye") == 110).all()


def test_held_frame_is_encoded_once() -> None:
    head, networks = pixel_head()

    class Held(ColourFace):
        @override
        def crops(self, count: int) -> Iterator[NDArray[np.uint8]]:
            first, second = super().crops(2)
            yield from [first] * 10 + [second] * (count - 10)

    pictures = list(
        render_frames(
            head, animation_inputs({"pose": Held(Path("a"), [(7, 0, 0), (9, 0, 0)])}, 40), Strengths(), 4
        )
    )
    assert shown(pictures, "pose")[:, 0].tolist() == [7] * 10 + [9] * 30
    assert networks.encoded == 3  # and the portrait


def test_every_control_has_its_own_band() -> None:
    assert CONTROLS == ("lip", "expression", "eye", "pose")
