import pytest
import torch
from torch import Tensor

from training.losses.pictures.flow import NEIGHBOURS, bending_energy, landmark_flow_loss, local_flow_loss

SIDE_PX = 8  # of the flow
CROP_PX = 224
# Of the crop, where bilinear sampling of a linear function is exact: inside the outermost pixels' centres.
INNER_PX = (CROP_PX / SIDE_PX, CROP_PX - CROP_PX / SIDE_PX)


def make_landmarks(rows: int = 2) -> Tensor:
    low, high = INNER_PX
    unit = torch.rand(rows, 478, 3, generator=torch.Generator().manual_seed(0))
    return low + unit * (high - low)


def uniform_flow(x: float, y: float, rows: int = 2) -> Tensor:
    return torch.tensor([x, y])[None, :, None, None].expand(rows, 2, SIDE_PX, SIDE_PX).clone()


def test_true_flow_costs_nothing() -> None:
    driving = make_landmarks()
    moved = driving + torch.tensor([11.2, -5.6, 3.0])  # px; z does not count
    flow = uniform_flow(11.2 * 2 / CROP_PX, -5.6 * 2 / CROP_PX)
    assert landmark_flow_loss(flow, moved, driving, CROP_PX).item() == pytest.approx(0.0, abs=1e-6)
    assert landmark_flow_loss(uniform_flow(0.0, 0.0), driving, driving, CROP_PX).item() == 0.0


def test_zero_flow_costs_the_mean_displacement() -> None:
    driving = make_landmarks()
    moved = driving + torch.tensor([11.2, -5.6, 3.0])
    # 11.2 px and 5.6 px of 224: .1 and .05 in half sides.
    for flow, expected in (((0.0, 0.0), 0.075), ((0.1, 0.0), 0.025), ((-0.1, 0.05), 0.15)):
        loss = landmark_flow_loss(uniform_flow(*flow), moved, driving, CROP_PX)
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_flow_is_read_where_the_driving_landmarks_are() -> None:
    """A head half as large in the driving frame: the flow w(p) = p leads to the portrait's landmarks."""
    driving = make_landmarks()
    at = (driving[..., :2] * 2 + 1) / CROP_PX - 1
    appearance = driving.clone()
    appearance[..., :2] = ((2 * at + 1) * CROP_PX - 1) / 2
    position = (torch.arange(float(SIDE_PX)) * 2 + 1) / SIDE_PX - 1
    flow = torch.stack(torch.meshgrid(position, position, indexing="xy")).expand(2, -1, -1, -1)
    assert landmark_flow_loss(flow, appearance, driving, CROP_PX).item() == pytest.approx(0.0, abs=1e-6)
    swapped = landmark_flow_loss(flow, driving, appearance, CROP_PX)
    assert swapped.item() > 0.1


def test_flow_loss_is_float32_and_reaches_the_flow() -> None:
    driving = make_landmarks()
    flow = uniform_flow(0.1, 0.1).bfloat16().requires_grad_()
    loss = landmark_flow_loss(flow, driving, driving, CROP_PX)
    assert loss.dtype == torch.float32
    loss.backward()
    assert flow.grad is not None
    assert flow.grad.any()


def test_local_flow_ignores_what_all_landmarks_do_alike() -> None:
    driving = make_landmarks()
    moved = driving + torch.tensor([11.2, -5.6, 3.0])
    assert local_flow_loss(uniform_flow(0.0, 0.0), moved, driving, CROP_PX).item() == pytest.approx(
        0.0, abs=1e-6
    )


def test_local_flow_counts_lids_that_should_move() -> None:
    driving = make_landmarks()
    moved = driving.clone()
    moved[:, [159, 386], 1] += 11.2  # the upper lids' middles, by .1 of half a side
    with_lids = [pair for pair in NEIGHBOURS if {159, 386} & set(pair)]
    assert (len(with_lids), len(NEIGHBOURS)) == (4, 26)
    # Four of 26 pairs are off by .1 in one of two axes.
    loss = local_flow_loss(uniform_flow(0.0, 0.0), moved, driving, CROP_PX)
    assert loss.item() == pytest.approx(4 / 26 * 0.1 / 2, rel=1e-4)
    mean = landmark_flow_loss(uniform_flow(0.0, 0.0), moved, driving, CROP_PX)
    assert mean.item() == pytest.approx(2 / 478 * 0.1 / 2, rel=1e-4)


def test_straight_flows_do_not_bend() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    straight = torch.stack([0.1 + 0.02 * rows - 0.03 * columns, 0.05 * columns])[None]
    assert bending_energy(straight).item() == pytest.approx(0, abs=1e-9)


def test_bending_energy_is_that_of_second_differences() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    half = 8 / 2  # px per unit of the flow
    for curved, energy in ((0.5 * columns**2, 1.0), (0.5 * rows**2, 1.0), (rows * columns, 2.0)):
        flow = torch.stack([curved / half, torch.zeros(8, 8)])[None]
        assert bending_energy(flow).item() == pytest.approx(energy / 2)  # of x; y has none
