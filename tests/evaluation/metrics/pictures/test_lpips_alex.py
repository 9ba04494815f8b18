"""LPIPS against torchmetrics' own network, on one set of random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torchmetrics.functional.image import lpips as reference

from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo
from evaluation.metrics.pictures.lpips_alex import LpipsAlex, measure_lpips


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
    loaded = LpipsAlex(backbone)
    assert loaded is not None
    return loaded


def pictures(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


def video(pictures: NDArray[np.uint8]) -> PictureVideo:
    return PictureVideo(list(pictures), lambda _: np.zeros((0, 478, 3), np.float32))


def lpips(a: NDArray[np.uint8], b: NDArray[np.uint8], network: LpipsAlex) -> float | None:
    return measure_lpips(video(a), PictureReference(portrait=video(a), truth=video(b)), network).value


def as_input(frames: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def test_lpips_equals_torchmetrics_with_the_same_weights(backbone: Path, network: LpipsAlex) -> None:
    theirs = reference._LPIPS(pretrained=True, net="alex", pnet_rand=True)  # pyright: ignore[reportPrivateUsage]
    weights = torch.load(backbone, weights_only=True)
    renamed = {key: weights[f"features.{key.partition('.')[2]}"] for key in theirs.net.state_dict()}
    theirs.net.load_state_dict(renamed)
    a, b = pictures(1), pictures(2)
    expected = theirs(as_input(a), as_input(b)).flatten()
    found = network(as_input(a), as_input(b))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert lpips(a, b, network) == pytest.approx(float(expected.mean()), rel=1e-4)


def test_lpips_of_equal_pictures_is_zero(network: LpipsAlex) -> None:
    assert lpips(pictures(1), pictures(1), network) == 0.0


def test_lpips_rejects_absent_and_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights at"):
        LpipsAlex(tmp_path / "absent.pth")
    torch.save({"other.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not fit AlexNet"):
        LpipsAlex(tmp_path / "other.pth")
