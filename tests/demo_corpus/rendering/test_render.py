from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from demo_corpus.expression import Controls, FaceRig
from demo_corpus.people import build_person, draw_person
from demo_corpus.portraits import BUNDLED, find_landmarks
from demo_corpus.rendering.camera import HEAD_REST_CM, Camera
from demo_corpus.rendering.render import place, project_head, render_frame

CAMERA = Camera(256)
FRONTAL = place(np.zeros(3), HEAD_REST_CM)


@pytest.fixture(scope="module")
def rig() -> FaceRig:
    return build_person(draw_person(5, 0, BUNDLED), BUNDLED)


def tracked(
    rig: FaceRig, controls: Controls, gaze_rad: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    picture = render_frame(rig, controls, FRONTAL, np.array(gaze_rad), CAMERA)
    (landmarks,) = find_landmarks(picture)
    return landmarks


def test_tracker_sees_the_face_where_it_projects(rig: FaceRig) -> None:
    expected, _ = project_head(rig, rig.vertices_cm(Controls()), FRONTAL, CAMERA)
    seen = tracked(rig, Controls())
    stable = [33, 133, 362, 263, 1, 6, 152, 234, 454, 61, 291]
    error = np.linalg.norm(seen[stable, :2] - expected[stable], axis=1)
    assert np.median(error) < 0.02 * CAMERA.side_px


def test_mouth_opens_by_the_given_gap(rig: FaceRig) -> None:
    moved = rig.vertices_cm(Controls(mouth_opening_cm=1.0))
    assert np.linalg.norm(moved[13] - moved[14]) == pytest.approx(1.0)
    still = [1, 6, 10, 33, 263]
    assert moved[still] == pytest.approx(rig.vertices_cm(Controls())[still], abs=1e-9)


@pytest.mark.parametrize(
    ("controls", "measure", "least"),
    [
        (Controls(mouth_opening_cm=1.2), lambda points: points[14, 1] - points[13, 1], 4.0),
        (Controls(smile=1.0), lambda points: points[291, 0] - points[61, 0], 1.0),
        (Controls(brow_raise=1.0), lambda points: points[159, 1] - points[105, 1], 1.0),
        (Controls(blink_left=1.0), lambda points: points[159, 1] - points[145, 1], 2.0),
        (Controls(blink_right=1.0), lambda points: points[386, 1] - points[374, 1], 2.0),
    ],
)
def test_tracker_sees_each_control(
    rig: FaceRig, controls: Controls, measure: Callable[[NDArray[np.float64]], float], least: float
) -> None:
    assert measure(tracked(rig, controls)) - measure(tracked(rig, Controls())) > least


def test_irises_move_with_the_gaze(rig: FaceRig) -> None:
    left, right = tracked(rig, Controls(), (0.0, -0.3)), tracked(rig, Controls(), (0.0, 0.3))
    assert (right[[468, 473], 0] - left[[468, 473], 0] > 1.5).all()


def test_moving_head_keeps_the_picture_border(rig: FaceRig) -> None:
    neutral = render_frame(rig, Controls(), FRONTAL, np.zeros(2), CAMERA)
    turned = render_frame(
        rig, Controls(), place(np.array([0.1, 0.4, 0.1]), HEAD_REST_CM), np.zeros(2), CAMERA
    )
    assert np.abs(neutral[[0, -1]].astype(int) - turned[[0, -1]]).max() <= 8
    assert np.abs(neutral[:, [0, -1]].astype(int) - turned[:, [0, -1]]).max() <= 8
    assert np.abs(neutral.astype(int) - turned).mean() > 3
