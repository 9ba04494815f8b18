"""FID of hand-made features, and the pools that set the published Inception apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.inception import InceptionA
from typing_extensions import override

from evaluation.metrics.metric import Measurement
from evaluation.metrics.pictures.fid_inception import load_fid, measure_fid, pool_by


class MeanValue(nn.Module):
    """One feature: the mean of all values."""

    num_features = 1

    @override
    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.float().mean(dim=(1, 2, 3))[:, None]


def flat(*values: int) -> list[NDArray[np.uint8]]:
    return [np.full((4, 4, 3), value, np.uint8) for value in values]


def test_fid_of_one_feature_is_that_of_two_normals() -> None:
    # Means 20 and 35, standard deviations 10 and 20: (15)² + (10)².
    assert measure_fid(flat(10, 20, 30), flat(15, 35, 55), MeanValue()).value == pytest.approx(225 + 100)
    assert measure_fid(flat(10, 30), flat(10, 30), MeanValue()).value == pytest.approx(0.0, abs=1e-4)


def test_fid_needs_two_pictures_a_set() -> None:
    measured = measure_fid(flat(10), flat(10, 20), MeanValue())
    assert measured == Measurement(None, "fewer than 2 pictures in a set")


def test_pool_by_averages_without_padding_zeros() -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(2)
        block, maps = InceptionA(4, pool_features=3).eval(), torch.rand(1, 4, 5, 5)
    plain = block(maps)
    pool_by(block, nn.AvgPool2d(3, 1, 1, count_include_pad=False))
    found = block(maps)
    pooled = functional.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
    torch.testing.assert_close(found[:, -3:], block.branch_pool.forward(pooled))
    torch.testing.assert_close(found[:, :-3], plain[:, :-3])
    assert not torch.allclose(found[:, -3:], plain[:, -3:])
    torch.testing.assert_close(found[..., 2, 2], plain[..., 2, 2])  # no zeros are near the middle


def test_fid_rejects_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_fid(tmp_path / "absent.pth")
