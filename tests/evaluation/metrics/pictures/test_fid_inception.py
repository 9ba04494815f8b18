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

from evaluation.metrics.pictures.fid_inception import (
    MISSING,
    fid_inception_row,
    frechet_distance,
    load_fid_inception,
    pool_by,
)


class MeanValue(nn.Module):
    """One feature: the mean of all values."""

    num_features = 1

    @override
    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.float().mean(dim=(1, 2, 3))[:, None]


def flat(*values: int) -> list[NDArray[np.uint8]]:
    return [np.full((4, 4, 3), value, np.uint8) for value in values]


def test_the_distance_of_one_feature_is_that_of_two_normal_distributions() -> None:
    # Means 20 and 35, standard deviations 10 and 20: (15)² + (10)².
    value, counts = frechet_distance(flat(10, 20, 30), flat(15, 35, 55), MeanValue())
    assert value == pytest.approx(225 + 100)
    assert counts == (3, 3)
    assert frechet_distance(flat(10, 30), flat(10, 30), MeanValue())[0] == pytest.approx(0.0, abs=1e-4)


def test_one_picture_has_no_covariance() -> None:
    assert frechet_distance(flat(10), flat(10, 20), MeanValue()) == (None, (1, 2))


def test_a_block_averages_without_the_zeros_around_its_input() -> None:
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


def test_without_weights_the_row_says_what_to_give(tmp_path: Path) -> None:
    row = fid_inception_row([], [], load_fid_inception(None), task="self", method="model")
    assert (row.value, row.missing_because) == (None, MISSING)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_fid_inception(tmp_path / "absent.pth")
