"""LPIPS against torchmetrics' own network, on one set of random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torchmetrics.functional.image import lpips as reference

from evaluation.metrics.pictures.lpips_alex import MISSING, LpipsAlex, load_lpips_alex, lpips_alex_row


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AlexNet's features; the layers behind them, which take no part, are 230 MB."""
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        features = torchvision.models.AlexNet().features
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def network(backbone: Path) -> LpipsAlex:
    loaded = load_lpips_alex(backbone)
    assert loaded is not None
    return loaded


def pictures(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


def as_input(frames: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def test_it_is_what_torchmetrics_computes_with_the_same_weights(backbone: Path, network: LpipsAlex) -> None:
    theirs = reference._LPIPS(pretrained=True, net="alex", pnet_rand=True)  # pyright: ignore[reportPrivateUsage]
    weights = torch.load(backbone, weights_only=True)
    renamed = {key: weights[f"features.{key.partition('.')[2]}"] for key in theirs.net.state_dict()}
    theirs.net.load_state_dict(renamed)
    a, b = pictures(1), pictures(2)
    expected = theirs(as_input(a), as_input(b)).flatten()
    found = network(as_input(a), as_input(b))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    row = lpips_alex_row(iter(a), iter(b), network, task="self", method="model", video="v")
    assert row.value == pytest.approx(float(expected.mean()), rel=1e-4)
    assert (row.metric, row.scorer, row.direction) == (
        "lpips_alex_64px",
        f"lpips_alex:{network.digest[:8]}",
        "lower",
    )


def test_equal_pictures_are_at_zero(network: LpipsAlex) -> None:
    row = lpips_alex_row(pictures(1), pictures(1), network, task="self", method="model", video="v")
    assert row.value == 0.0


def test_without_weights_the_row_says_what_to_give(tmp_path: Path) -> None:
    row = lpips_alex_row([], [], load_lpips_alex(None), task="self", method="model", video="v")
    assert (row.value, row.missing_because) == (None, MISSING)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_lpips_alex(tmp_path / "absent.pth")
    torch.save({"other.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not fit AlexNet"):
        load_lpips_alex(tmp_path / "other.pth")
