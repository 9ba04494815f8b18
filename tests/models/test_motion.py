import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.motion import MotionEncoder
from models.presets import OFFICIAL, TINY, TINY_LANDMARK_TRUNK
from models.trunks.landmark_trunk import Hourglass, LandmarkTrunk, LandmarkTrunkConfig
from tests.factories.models.weights import randomise

Weights = dict[str, Tensor]


def normalised(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """Batch normalisation in evaluation mode, written out."""
    shape = (1, -1) + (1,) * (maps.ndim - 2)
    mean, variance = weights[f"{name}.running_mean"].view(shape), weights[f"{name}.running_var"].view(shape)
    scale, shift = weights[f"{name}.weight"].view(shape), weights[f"{name}.bias"].view(shape)
    return (maps - mean) / (variance + 1e-5).sqrt() * scale + shift


def block(weights: Weights, name: str, maps: Tensor) -> Tensor:
    parts: list[Tensor] = []
    hidden = maps
    for index in (1, 2, 3):
        hidden = normalised(weights, f"{name}.bn{index}", hidden).clamp(min=0)
        hidden = functional.conv2d(hidden, weights[f"{name}.conv{index}.weight"], padding=1)
        parts.append(hidden)
    shortcut = maps
    if f"{name}.downsample.2.weight" in weights:
        shortcut = normalised(weights, f"{name}.downsample.0", maps).clamp(min=0)
        shortcut = functional.conv2d(shortcut, weights[f"{name}.downsample.2.weight"])
    return torch.cat(parts, dim=1) + shortcut


def resized(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Bilinear interpolation between pixel centres, one matrix per axis."""

    def matrix(size: int, wanted: int) -> Tensor:
        weights = torch.zeros(wanted, size)
        for row in range(wanted):
            place = max((row + 0.5) * size / wanted - 0.5, 0.0)
            low = min(int(place), size - 1)
            high = min(low + 1, size - 1)
            weights[row, low] += 1 - (place - low)
            weights[row, high] += place - low
        return weights

    return matrix(maps.shape[2], rows) @ maps @ matrix(maps.shape[3], columns).T


def hourglass(weights: Weights, name: str, level: int, maps: Tensor) -> Tensor:
    skip = block(weights, f"{name}b1_{level}", maps)
    rows, columns = maps.shape[2] // 2, maps.shape[3] // 2
    halved = (
        maps[:, :, : rows * 2, : columns * 2].unflatten(2, (rows, 2)).unflatten(4, (columns, 2)).amax((3, 5))
    )
    low = block(weights, f"{name}b2_{level}", halved)
    low = hourglass(weights, name, level - 1, low) if level > 1 else block(weights, f"{name}b2_plus_1", low)
    low = block(weights, f"{name}b3_{level}", low)
    return skip + resized(low, skip.shape[2], skip.shape[3])


def test_hourglass_preserves_odd_sizes() -> None:
    network = Hourglass(channels=8, depth=2, dropout=0.5).eval()
    randomise(network, seed=3)
    maps = torch.randn(2, 8, 7, 13)
    with torch.no_grad():
        torch.testing.assert_close(
            network(maps), hourglass(network.state_dict(), "", 2, maps), rtol=1e-4, atol=1e-5
        )


def test_trunk_matches_reference() -> None:
    trunk = LandmarkTrunk(TINY_LANDMARK_TRUNK).eval()
    randomise(trunk, seed=4)
    weights = trunk.state_dict()
    weights["conv6.bias"].zero_()
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    maps = functional.conv2d(image, weights["conv1.weight"], weights["conv1.bias"], stride=2, padding=3)
    maps = block(weights, "conv2", normalised(weights, "bn1", maps).clamp(min=0))
    maps = maps.unflatten(2, (16, 2)).unflatten(4, (16, 2)).amax((3, 5))
    maps = block(weights, "conv4", block(weights, "conv3", maps))
    maps = block(weights, "top_m_0", hourglass(weights, "m0.", TINY_LANDMARK_TRUNK.hourglass_depth, maps))
    maps = functional.conv2d(maps, weights["conv_last0.weight"], weights["conv_last0.bias"])
    maps = normalised(weights, "bn_end0", maps).clamp(min=0)
    maps = functional.conv2d(maps, weights["l0.weight"], weights["l0.bias"])
    maps = normalised(weights, "bn5", maps).clamp(min=0)
    maps = functional.conv2d(maps, weights["conv6.weight"], weights["conv6.bias"], stride=2, padding=1)
    assert (maps > 0).any()
    assert (maps < 0).any()  # or the rectification would not show
    expected = maps.flatten(1).clamp(min=0) @ weights["fc.weight"].T + weights["fc.bias"]
    with torch.no_grad():
        torch.testing.assert_close(trunk(image), expected, rtol=1e-3, atol=1e-4)


def test_dropout_is_on_the_skip_branch_only() -> None:
    network = Hourglass(channels=4, depth=1, dropout=1.0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    randomise(network, seed=5)
    maps = torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        weights = network.state_dict()
        skip = block(weights, "b1_1", maps)
        torch.testing.assert_close(
            network(maps), hourglass(weights, "", 1, maps) - skip, rtol=1e-4, atol=1e-5
        )


def test_heads_match_reference() -> None:
    encoder = MotionEncoder(TINY.motion).eval()
    randomise(encoder, seed=6)
    weights = encoder.state_dict()
    feature = torch.randn(3, 128)
    expected: dict[str, Tensor] = {}
    for name in ("mouth", "headpose", "eye", "emo"):
        hidden = (feature @ weights[f"to_{name}.0.weight"].T + weights[f"to_{name}.0.bias"]).clamp(min=0)
        hidden = normalised(weights, f"to_{name}.2", hidden)
        expected[name] = hidden @ weights[f"to_{name}.3.weight"].T + weights[f"to_{name}.3.bias"]
    codes = {
        name: head.clamp(min=0) @ weights[f"{name}_embed.1.weight"].T + weights[f"{name}_embed.1.bias"]
        for name, head in expected.items()
    }
    with torch.no_grad():
        lip_feature = encoder.lip_feature(feature)
        torch.testing.assert_close(lip_feature, expected["mouth"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder.lip_code(lip_feature), codes["mouth"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder.pose_code(feature), codes["headpose"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder.eye_code(feature), codes["eye"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder.expression_code(feature), codes["emo"], rtol=1e-4, atol=1e-5)


def test_official_encoder_shapes() -> None:
    encoder = MotionEncoder(OFFICIAL.motion).eval()
    image = torch.zeros(1, 3, 224, 224)
    with torch.no_grad():
        codes = encoder(image)
        assert encoder.lip_code(codes.lip_feature).shape == (1, 500)
    assert codes.pose.shape == (1, 6)
    assert codes.eye.shape == (1, 6)
    assert codes.expression.shape == (1, 30)
    assert codes.lip_feature.shape == (1, 512)
    assert OFFICIAL.motion.trunk == LandmarkTrunkConfig()
    assert LandmarkTrunkConfig().heat_map_side_px == 56
    assert LandmarkTrunkConfig().summary_width == 784


def test_other_image_size_is_rejected() -> None:
    with pytest.raises(ValueError, match="image must be"):
        MotionEncoder(TINY.motion)(torch.zeros(1, 3, 60, 64))


def test_hourglass_pools_with_the_maximum() -> None:
    hourglass = Hourglass(channels=4, depth=1, dropout=0.0).eval()
    for branch in ("b1_1", "b2_1", "b3_1", "b2_plus_1"):
        hourglass.set_submodule(branch, nn.Identity())
    maps = torch.zeros(1, 4, 2, 2)
    maps[0, :, 0, 1] = 8.0
    # One cell of the pooled map covers all four, so the upsampled branch adds its maximum, 8, everywhere.
    assert torch.equal(hourglass(maps), maps + 8.0)
