import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.audio import AudioEncoder, ExcitedBlock, SpectrogramTrunk, SqueezeExcitation
from models.presets import OFFICIAL, TINY
from tests.factories.models.weights import randomise
from tests.models.test_motion import normalised

Weights = dict[str, Tensor]


def excited(weights: Weights, name: str, maps: Tensor) -> Tensor:
    mean = maps.mean((2, 3))
    hidden = (mean @ weights[f"{name}.fc.0.weight"].T + weights[f"{name}.fc.0.bias"]).clamp(min=0)
    factor = torch.sigmoid(hidden @ weights[f"{name}.fc.2.weight"].T + weights[f"{name}.fc.2.bias"])
    return torch.einsum("bcft,bc->bcft", maps, factor)


def block(weights: Weights, name: str, maps: Tensor, stride: int) -> Tensor:
    hidden = functional.conv2d(maps, weights[f"{name}.conv1.weight"], stride=stride, padding=1).clamp(min=0)
    hidden = functional.conv2d(
        normalised(weights, f"{name}.bn1", hidden), weights[f"{name}.conv2.weight"], padding=1
    )
    hidden = excited(weights, f"{name}.se", normalised(weights, f"{name}.bn2", hidden))
    shortcut = maps
    if f"{name}.downsample.0.weight" in weights:
        shortcut = functional.conv2d(maps, weights[f"{name}.downsample.0.weight"], stride=stride)
        shortcut = normalised(weights, f"{name}.downsample.1", shortcut)
    return (hidden + shortcut).clamp(min=0)


def test_squeeze_excitation_matches_reference() -> None:
    network = SqueezeExcitation(channels=2, reduction=2)
    with torch.no_grad():
        network.load_state_dict(
            {
                "fc.0.weight": torch.tensor([[1.0, 1.0]]),
                "fc.0.bias": torch.tensor([-1.0]),
                "fc.2.weight": torch.tensor([[0.0], [1.0]]),
                "fc.2.bias": torch.tensor([0.0, -4.0]),
            }
        )
        # Means 2 and 3: hidden 4, factors sigmoid(0) and sigmoid(0).
        maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 4.0]]]])
        assert network(maps).tolist() == [[[[0.5, 1.5]], [[1.0, 2.0]]]]


def test_excited_block_has_relu_before_normalisation() -> None:
    network = ExcitedBlock(input_channels=8, channels=16, stride=2, reduction=8).eval()
    randomise(network, seed=7)
    maps = torch.randn(2, 8, 6, 5)
    expected = block({f"x.{key}": value for key, value in network.state_dict().items()}, "x", maps, stride=2)
    with torch.no_grad():
        torch.testing.assert_close(network(maps), expected, rtol=1e-4, atol=1e-5)
    assert expected.shape == (2, 16, 3, 3)


def test_trunk_pools_with_attention_over_time() -> None:
    trunk = SpectrogramTrunk(TINY.audio).eval()
    randomise(trunk, seed=8)
    weights = trunk.state_dict()
    mel = torch.rand(2, 1, 80, 20)
    maps = functional.conv2d(mel, weights["conv1.weight"], weights["conv1.bias"], padding=1).clamp(min=0)
    maps = normalised(weights, "bn1", maps)
    for stage, stride in enumerate((1, 2, 2, 2), start=1):
        maps = block(weights, f"layer{stage}.0", maps, stride)
    assert maps.shape == (2, 64, 10, 3)
    steps = torch.stack([maps[:, :, :, time].reshape(2, 640) for time in range(3)])  # [T, B, C * F]
    hidden = (steps @ weights["attention.0.weight"][:, :, 0].T + weights["attention.0.bias"]).clamp(min=0)
    hidden = normalised(weights, "attention.2", hidden.flatten(0, 1)).unflatten(0, (3, 2))
    energy = hidden @ weights["attention.3.weight"][:, :, 0].T + weights["attention.3.bias"]
    share = energy.exp() / energy.exp().sum(dim=0)
    expected = (share * steps).sum(dim=0) @ weights["fc.weight"].T + weights["fc.bias"]
    with torch.no_grad():
        torch.testing.assert_close(trunk(mel), expected, rtol=1e-3, atol=1e-4)


def test_official_encoder_shapes() -> None:
    encoder = AudioEncoder(OFFICIAL.audio).eval()
    randomise(encoder, seed=9)
    with torch.no_grad():
        codes = encoder(torch.rand(2, 1, 80, 20))
    assert codes.lip_feature.shape == (2, 512)
    assert codes.lip_code.shape == (2, 500)
    expected = codes.lip_feature.clamp(min=0) @ encoder.state_dict()["mouth_embed.1.weight"].T
    expected = expected + encoder.state_dict()["mouth_embed.1.bias"]
    torch.testing.assert_close(codes.lip_code, expected, rtol=1e-4, atol=1e-5)


def test_other_mel_length_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"mel must be \[B, 1, 80, 20\], got \[1, 1, 80, 16\]"):
        AudioEncoder(TINY.audio)(torch.zeros(1, 1, 80, 16))
