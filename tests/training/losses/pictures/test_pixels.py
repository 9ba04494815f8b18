from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training.losses.pictures.pixels import EYES, MOUTH, face_region_weights, weighted_edge_l1, weighted_l1


def test_weighted_l1_hand_values() -> None:
    target, generated = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    generated[0, :, 0, 0] = torch.tensor([1.0, 2.0, 3.0])  # mean 2, weight 3
    generated[0, :, 1, 1] = -4.0  # weight 1
    weights = torch.tensor([[3.0, 1.0], [1.0, 1.0]]).reshape(1, 1, 2, 2)
    assert weighted_l1(target, generated, weights).item() == pytest.approx((3 * 2 + 4) / 6)
    assert weighted_l1(generated, generated, weights).item() == 0


def test_weighted_edge_l1_hand_values() -> None:
    target, generated = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    generated[..., 0, 0] = 1.0
    weights = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).reshape(1, 1, 2, 2)
    # Across: |-1| of weight 2 and 0 of weight 8. Down: |-1| of weight 4 and 0 of weight 8.
    expected = 2 / 10 + 4 / 12
    assert weighted_edge_l1(target, generated, weights).item() == pytest.approx(expected)
    assert weighted_edge_l1(target, target + 0.5, weights).item() == 0  # a constant has no edges


@pytest.mark.parametrize("loss", [weighted_l1, weighted_edge_l1])
def test_target_gets_no_gradient(loss: Callable[..., Tensor]) -> None:
    target, generated = (torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    loss(target, generated, torch.ones(2, 1, 4, 4)).backward()
    assert target.grad is None
    assert generated.grad is not None
    assert generated.grad.any()


def placed(points: dict[int, tuple[float, float]]) -> Tensor:
    landmarks = torch.zeros(1, 478, 3)
    for index, place in points.items():
        landmarks[0, index, :2] = torch.tensor(place)
    return landmarks


def around(indices: tuple[int, ...], x: float, y: float, width: float) -> dict[int, tuple[float, float]]:
    """Corners at both sides of a centre, the two other points at it."""
    left, right, *middle = indices
    return {left: (x - width / 2, y), right: (x + width / 2, y)} | dict.fromkeys(middle, (x, y))


def test_face_region_weights_are_discs() -> None:
    # In a crop of twice the side: pixel centre p of the image is 2 p + .5 of the crop.
    points = around(EYES[0], 8.5, 8.5, 4.0) | around(EYES[1], 24.5, 8.5, 4.0) | around(MOUTH, 16.5, 24.5, 8.0)
    weights = face_region_weights(placed(points), 32, 16, eyes=6.0, mouth=4.0)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    expected = torch.ones(16, 16)
    for centre_x, centre_y, radius, weight in ((8, 12, 3.0, 4.0), (4, 4, 1.5, 6.0), (12, 4, 1.5, 6.0)):
        expected[(x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2] = weight
    assert torch.equal(weights, expected[None, None])
    assert (weights == 6).sum() == 2 * 9
    assert (weights == 4).sum() == 25


def test_overlapping_face_regions_keep_the_larger_weight() -> None:
    points = around(EYES[0], 8.5, 8.5, 8.0) | around(EYES[1], 8.5, 8.5, 8.0) | around(MOUTH, 8.5, 8.5, 16.0)
    weights = face_region_weights(placed(points), 32, 16, eyes=6.0, mouth=4.0)
    assert weights[0, 0, 4, 4] == 6
    assert weights[0, 0, 4, 8] == 4  # outside the eyes' 3 px, within the mouth's 6 px
