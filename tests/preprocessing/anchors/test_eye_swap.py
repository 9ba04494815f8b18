import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.anchors.eye_swap import EyeSwapSettings, swap_eyes
from preprocessing.faces.shape.frame_of_reference import project_to_crop
from preprocessing.faces.shape.landmark_groups import IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE
from preprocessing.faces.shape.mean_face import load_mean_face

SIDE_PX = 224
SETTINGS = EyeSwapSettings()
GREEN = (20, 200, 20)


def face_landmarks() -> NDArray[np.float32]:
    """[478, 3] the mean face, straight on in the middle of the crop."""
    return np.column_stack([project_to_crop(load_mean_face().vertices_cm), np.zeros(478)]).astype(np.float32)


def noise_picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(90, 160, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)


def eye_centres(landmarks_px: NDArray[np.float32]) -> list[tuple[int, int]]:
    """(row, column) of both eyes."""
    centres = [landmarks_px[list(eye), :2].mean(axis=0) for eye in (IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE)]
    return [(round(float(y)), round(float(x))) for x, y in centres]


def test_identical_frames_change_nothing() -> None:
    picture, landmarks = noise_picture(1), face_landmarks()
    assert np.array_equal(swap_eyes(picture, landmarks, picture, landmarks, SETTINGS), picture)


def test_swap_changes_only_the_eye_region() -> None:
    landmarks = face_landmarks()
    base = noise_picture(1)
    eyes = noise_picture(2)
    for row, column in eye_centres(landmarks):
        eyes[row - 3 : row + 4, column - 8 : column + 9] = GREEN
    composite = swap_eyes(base, landmarks, eyes, landmarks, SETTINGS).astype(int)
    for row, column in eye_centres(landmarks):
        red, green, blue = composite[row, column]
        assert green > 150
        assert max(red, blue) < 60
    # Mouth, chin, forehead and the picture's corners.
    changed = (composite != base).any(axis=2)
    rows, columns = np.nonzero(changed)
    eyes_px = landmarks[list(IMAGE_LEFT_EYE + IMAGE_RIGHT_EYE), :2]
    assert eyes_px[:, 1].min() - 40 < rows.min() < eyes_px[:, 1].min()
    assert eyes_px[:, 1].max() < rows.max() < eyes_px[:, 1].max() + 40
    assert eyes_px[:, 0].min() - 40 < columns.min()
    assert columns.max() < eyes_px[:, 0].max() + 40


def test_v1_is_aligned_to_v2() -> None:
    base_landmarks = face_landmarks()
    angle, scale = np.radians(10.0), 0.8
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    eyes_landmarks = base_landmarks.copy()
    eyes_landmarks[:, :2] = (base_landmarks[:, :2] - 112.0) @ turn.T + np.array([105.0, 120.0])
    eyes = np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8)
    for row, column in eye_centres(eyes_landmarks):
        eyes[row - 3 : row + 4, column - 3 : column + 4] = GREEN
    base = np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8)
    composite = swap_eyes(base, base_landmarks, eyes, eyes_landmarks, SETTINGS).astype(int)
    green = composite[..., 1] - composite[..., 0] > 90
    for row, column in eye_centres(base_landmarks):
        rows, columns = np.nonzero(green[row - 15 : row + 16, column - 15 : column + 16])
        assert max(abs(rows.mean() - 15), abs(columns.mean() - 15)) < 1.0
        # 7 px wide in v1, where the face is 0.8 as large: about 8.75 px, 77 px in area.
        assert 60 <= len(rows) <= 95


def test_skin_matches_the_colours_of_v2() -> None:
    landmarks = face_landmarks()
    base = np.full((SIDE_PX, SIDE_PX, 3), (200, 150, 120), np.uint8)
    eyes = np.full((SIDE_PX, SIDE_PX, 3), (100, 90, 80), np.uint8)
    composite = swap_eyes(base, landmarks, eyes, landmarks, SETTINGS).astype(int)
    between = landmarks[168, :2].round().astype(int)
    assert np.abs(composite[between[1], between[0]] - (200, 150, 120)).max() <= 2
    # Eyeballs are not skin: they brighten by half as much (in ratio) and take no tint.
    row, column = eye_centres(landmarks)[0]
    ratios = np.log(np.array([216, 166, 136]) / np.array([116, 106, 96]))
    wanted = (np.array([116, 106, 96]) * np.exp(0.5 * ratios.mean())) - 16
    assert np.abs(composite[row, column] - wanted).max() <= 6


def test_face_outside_the_picture_changes_nothing() -> None:
    landmarks = face_landmarks()
    away = landmarks + np.array([500.0, 0.0, 0.0], np.float32)
    picture = noise_picture(1)
    assert np.array_equal(swap_eyes(picture, away, noise_picture(2), landmarks, SETTINGS), picture)


@pytest.mark.parametrize(
    "wrong", [{"margin_share": -0.1}, {"feather_share": 0.0}, {"opening_share": 1.5}, {"colour_spread": -1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be [<>]= "):
        EyeSwapSettings(**wrong)
