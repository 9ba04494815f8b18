import pytest
import torch

from training.losses.codes.label_readout import label_readout_loss


def test_readout_compares_changes_within_a_clip() -> None:
    codes = torch.tensor([[[5.0, 0.0], [7.0, 0.0]]])
    labels = torch.tensor([[[0.1, 0.3], [0.3, 0.9]]])
    assert label_readout_loss(codes, labels, (0.1, 0.3)).item() == pytest.approx((0 + 2 * 1.0) / 4)


def test_readout_leaves_rest_positions_free() -> None:
    labels = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0))
    codes = labels / torch.tensor([0.1, 0.3]) + torch.tensor([[[9.0, -2.0]], [[1.0, 0.0]], [[0.0, 4.0]]])
    assert label_readout_loss(codes, labels, (0.1, 0.3)).item() == pytest.approx(0, abs=1e-5)


def test_readout_needs_two_frames() -> None:
    with pytest.raises(ValueError, match="need at least 2, got 1"):
        label_readout_loss(torch.zeros(2, 1, 1), torch.zeros(2, 1, 1), (1.0,))
