"""Faces that go on, faces that are cut or dissolved, and pictures that stand still."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.faces.continuity import (
    DISSOLVE_FRAMES,
    ContinuitySettings,
    FaceContinuity,
    difference,
    face_thumbnail,
    is_mixture,
    is_turn,
)
from preprocessing.faces.shape.frame_of_reference import project_to_crop
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.faces.tracking import TrackedFace

SETTINGS = ContinuitySettings()
SIDE = 224


def person(seed: int) -> NDArray[np.float32]:
    """A smooth random picture, as different from another one as faces are at low resolution."""
    coarse = np.random.default_rng(seed).uniform(40, 220, (7, 7, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.float32)


def face(picture: NDArray[np.float32], track: int = 0) -> TrackedFace:
    """A face whose landmarks are the mean face's, in a window that is the whole picture."""
    vertices = load_mean_face().vertices_cm
    landmarks = np.concatenate([project_to_crop(vertices), -10.15 * vertices[:, 2:]], axis=1)
    window = np.clip(picture, 0, 255).astype(np.uint8)
    return TrackedFace(track, landmarks.astype(np.float32), window, np.eye(2, 3))


def moved(picture: NDArray[np.float32], pixels: float) -> NDArray[np.float32]:
    shift = np.array([[1.0, 0.0, pixels], [0.0, 1.0, 0.0]])
    return np.asarray(cv2.warpAffine(picture, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT), np.float32)


def feed(continuity: FaceContinuity, pictures: list[NDArray[np.float32]]) -> list[tuple[bool, bool]]:
    """For each picture whether it is broken off the one before, and whether a dissolve ends with it."""
    decisions: list[tuple[bool, bool]] = []
    for picture in pictures:
        views = [face(picture)]
        is_broken = continuity.is_broken(views[0].window, views)
        continuity.add(views[0].window, views)
        decisions.append((is_broken, continuity.is_dissolve()))
    return decisions


def test_another_face_before_the_same_backdrop_is_a_cut() -> None:
    one, other = person(1), person(2)
    decisions = feed(FaceContinuity(SETTINGS), [*(moved(one, 0.5 * n) for n in range(6)), other, other])
    assert [is_broken for is_broken, _ in decisions] == [False] * 6 + [True, False]


def test_light_and_blinks_are_no_cut() -> None:
    one = person(1)
    blink = one.copy()
    blink[: SIDE // 2] = person(3)[: SIDE // 2]  # above the nose alone
    decisions = feed(FaceContinuity(SETTINGS), [one, 0.7 * one, 0.7 * one + 30, blink])
    assert not any(is_broken for is_broken, _ in decisions)
    assert difference(face_thumbnail(face(one)), face_thumbnail(face(person(2)))) > 0.3


def test_first_frame_of_a_shot_breaks_nothing() -> None:
    continuity = FaceContinuity(SETTINGS)
    feed(continuity, [person(1)] * 3)
    continuity.begin_shot()
    assert feed(continuity, [person(2)]) == [(False, False)]


@pytest.mark.parametrize("frames", [8, 16, 25])
def test_dissolve_is_found(frames: int) -> None:
    one, other = person(1), person(2)
    weights = np.clip((np.arange(10 + frames + DISSOLVE_FRAMES) - 9) / frames, 0, 1)
    decisions = feed(FaceContinuity(SETTINGS), [(1 - weight) * one + weight * other for weight in weights])
    found = [number for number, (_, is_dissolve) in enumerate(decisions) if is_dissolve]
    assert found
    # Within the mixture and the frames that are compared as a whole.
    assert 10 < found[0] <= 10 + frames + DISSOLVE_FRAMES


def test_motion_is_no_dissolve() -> None:
    decisions = feed(FaceContinuity(SETTINGS), [moved(person(1), 2.0 * n) for n in range(40)])
    assert not any(is_dissolve for _, is_dissolve in decisions)


def turned(picture: NDArray[np.float32], narrower: float) -> TrackedFace:
    """The face seen from a little more to the side: picture and landmarks are narrower."""
    squeeze = np.array([[1.0 - narrower, 0.0, narrower * SIDE / 2], [0.0, 1.0, 0.0]])
    seen = cv2.warpAffine(picture, squeeze, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    view = face(np.asarray(seen, np.float32))
    landmarks = view.landmarks_px.copy()
    landmarks[:, 0] = (1.0 - narrower) * landmarks[:, 0] + narrower * SIDE / 2
    return replace(view, landmarks_px=landmarks)


def test_slow_turn_is_no_dissolve() -> None:
    views = [turned(person(1), 0.014 * n) for n in range(DISSOLVE_FRAMES + 1)]
    thumbnails = [face_thumbnail(view) for view in views]
    assert is_mixture(thumbnails, SETTINGS.minimum_change, SETTINGS.maximum_dissolve_residual)
    assert is_turn(thumbnails[0], thumbnails[-1], SETTINGS.minimum_change)
    assert not is_turn(thumbnails[0], face_thumbnail(face(person(2))), SETTINGS.minimum_change)
    continuity = FaceContinuity(SETTINGS)
    for view in views:
        continuity.add(view.window, [view])
    assert not continuity.is_dissolve()


def test_standing_pictures_are_told_from_still_people() -> None:
    one = person(1)
    noise = np.random.default_rng(0).normal(size=(4, SIDE, SIDE, 3))
    continuity = FaceContinuity(SETTINGS)

    def repeats(picture: NDArray[np.float64] | NDArray[np.float32]) -> set[int]:
        view = face(np.asarray(picture, np.float32), track=3)
        return continuity.add(view.window, [view])

    assert repeats(one) == set()
    assert repeats(one) == {3}
    assert repeats(one + 0.5 * noise[0]) == {3}  # what an encoder does to a picture that it repeats
    assert repeats(one + 4.0 * noise[1]) == set()  # a camera's noise


def test_face_that_fades_before_its_track_ends_is_told_from_one_that_leaves() -> None:
    one, other = person(1), person(2)
    for last, expected in ((0.8, {0}), (0.05, set())):
        continuity = FaceContinuity(SETTINGS)
        feed(continuity, [(1 - w) * one + w * other for w in np.linspace(0.0, last, DISSOLVE_FRAMES)])
        assert continuity.faded([face(one)]) == set()  # it goes on
        assert continuity.faded([face(one, track=1)]) == expected
