import pytest
import torch
import torchvision
from torchvision.models.resnet import Bottleneck, ResNet

from models.appearance import AppearanceEncoder
from models.presets import OFFICIAL, TINY
from models.trunks.residual_trunk import ResidualTrunk, ResidualTrunkConfig
from tests.factories.models.weights import randomise


@pytest.mark.parametrize(
    "config",
    [OFFICIAL.appearance.trunk, ResidualTrunkConfig(block_counts=(1, 2, 1, 1))],
    ids=["ResNeXt", "ResNet"],
)
def test_trunk_matches_torchvision(config: ResidualTrunkConfig) -> None:
    trunk = ResidualTrunk(config).eval()
    randomise(trunk, seed=1)
    theirs = ResNet(
        Bottleneck,
        list(config.block_counts),
        groups=config.group_count,
        width_per_group=config.width_per_group,
    ).eval()
    report = theirs.load_state_dict(trunk.state_dict(), strict=False)
    assert not report.unexpected_keys
    assert sorted(report.missing_keys) == ["fc.bias", "fc.weight"]
    theirs.register_module("fc", torch.nn.Identity())
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        pooled = theirs(image)
        assert pooled.std() > 0.1
        torch.testing.assert_close(trunk(image).mean(dim=(2, 3)), pooled, rtol=1e-4, atol=1e-5)


def test_official_trunk_is_resnext50() -> None:
    with torch.device("meta"):
        ours = ResidualTrunk(OFFICIAL.appearance.trunk).state_dict()
        theirs = torchvision.models.resnext50_32x4d(weights=None).state_dict()
    shapes = {key: value.shape for key, value in theirs.items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.items()} == shapes


def test_code_is_pooled_and_map_is_projected() -> None:
    encoder = AppearanceEncoder(TINY.appearance).eval()
    randomise(encoder, seed=2)
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        appearance = encoder(image)
        features = encoder.model(image)
    assert appearance.code.shape == (2, 512)
    assert appearance.map.shape == (2, 64, 4, 4)
    torch.testing.assert_close(appearance.code, features.flatten(2).sum(-1) / 64)
    weight, bias = encoder.conv1x1.weight[:, :, 0, 0], encoder.conv1x1.bias
    assert bias is not None
    projected = torch.einsum("oc,bchw->bohw", weight, features) + bias[:, None, None]
    expected = projected.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean(dim=(3, 5))  # 8 x 8 to 4 x 4
    torch.testing.assert_close(appearance.map, expected, rtol=1e-4, atol=1e-5)


def test_official_encoder_shapes() -> None:
    encoder = AppearanceEncoder(OFFICIAL.appearance).eval()
    with torch.no_grad():
        appearance = encoder(torch.zeros(1, 3, 224, 224))
    assert appearance.code.shape == (1, 2048)
    assert appearance.map.shape == (1, 512, 7, 7)


def test_other_image_size_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"image must be \[B, 3, 64, 64\], got \[1, 3, 224, 224\]"):
        AppearanceEncoder(TINY.appearance)(torch.zeros(1, 3, 224, 224))
