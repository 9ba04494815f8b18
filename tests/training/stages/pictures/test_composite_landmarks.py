import math

import pytest
import torch
from torch import Tensor

from preprocessing.faces.shape.mean_face import load_mean_face
from training.stages.pictures.composite_landmarks import aligned, composite_landmarks

LID, IRIS, LOWER_LIP, CHIN, FOREHEAD, BROW = 159, 468, 14, 152, 9, 105
CORNER = 61  # of the mouth


def make_face() -> Tensor:
    """Landmarks [1, 478, 3] px of the mean face, in image axes."""
    vertices = torch.from_numpy(load_mean_face().vertices_cm.copy())
    return (vertices * torch.tensor([7.0, -7.0, -7.0]) + torch.tensor([112.0, 80.0, 112.0]))[None]


def moved(face: Tensor) -> Tensor:
    """Rolled by 10 degrees, yawed by 20, a quarter larger, elsewhere."""
    roll, yaw = math.radians(10), math.radians(20)
    rolled = torch.tensor(
        [[math.cos(roll), -math.sin(roll), 0.0], [math.sin(roll), math.cos(roll), 0.0], [0.0, 0.0, 1.0]]
    )
    yawed = torch.tensor(
        [[math.cos(yaw), 0.0, math.sin(yaw)], [0.0, 1.0, 0.0], [-math.sin(yaw), 0.0, math.cos(yaw)]]
    )
    return 1.25 * face @ (rolled @ yawed).T.to(face) + torch.tensor([5.0, -9.0, 30.0])


def shifted(face: Tensor, *points: int, down_px: float = 3.0) -> Tensor:
    result = face.clone()
    result[:, list(points), 1] += down_px
    return result


def test_aligned_undoes_a_similarity() -> None:
    face = make_face()
    torch.testing.assert_close(aligned(moved(face), face), face)


def test_aligned_of_a_point_is_finite() -> None:
    point = torch.ones(1, 478, 3)
    torch.testing.assert_close(aligned(point, make_face().float()).isfinite().all(), torch.tensor(data=True))


def test_composite_of_one_frame_is_that_frame() -> None:
    face = moved(make_face())
    torch.testing.assert_close(composite_landmarks(face, face, face), face)


def test_composite_takes_eyes_and_mouth_from_their_frames() -> None:
    face = make_face()
    eyes = moved(shifted(face, LID, IRIS, LOWER_LIP, BROW))
    mouth = moved(shifted(face, LID, LOWER_LIP, CHIN, FOREHEAD, down_px=6.0))
    # Faces are aligned by none of the points that move here.
    change = (composite_landmarks(face, eyes, mouth) - face)[0, :, 1]
    assert change[[LID, IRIS]].tolist() == pytest.approx([3.0, 3.0])
    assert change[[LOWER_LIP, CHIN]].tolist() == pytest.approx([6.0, 6.0])
    assert change[[BROW, FOREHEAD, 10]].tolist() == [0.0, 0.0, 0.0]


def test_composite_takes_brows_and_mouth_corners_from_the_expression() -> None:
    face = make_face()
    head = shifted(face, BROW, down_px=9.0)
    mouth = shifted(face, LOWER_LIP, CORNER, down_px=6.0)
    smiling = moved(shifted(face, BROW, CORNER, LID, LOWER_LIP, down_px=-4.0))
    # The mouth's corners are 6 px low in its frame, 2 px of which last.
    around_mouth = shifted(face, CORNER, down_px=2.0)
    change = (composite_landmarks(head, head, mouth, (smiling, around_mouth)) - face)[0, :, 1]
    assert change[BROW].item() == pytest.approx(-4.0)
    assert change[CORNER].item() == pytest.approx(6.0 - 4.0 - 2.0, abs=0.1)
    assert change[LOWER_LIP].item() == pytest.approx(6.0, abs=0.1)  # speech's, in the mouth's middle
    assert change[LID].item() == pytest.approx(0.0)
