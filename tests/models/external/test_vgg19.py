from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.models.vgg import make_layers

from models.external.vgg19 import VGG19Config, VGG19Features
from models.presets import OFFICIAL, TINY
from tests.factories.models.weights import randomise

NARROW = VGG19Config(block_channels=(4, 5, 6, 7, 8))
TORCHVISION_LAYERS: list[str | int] = [
    4,
    4,
    "M",
    5,
    5,
    "M",
    6,
    6,
    6,
    6,
    "M",
    7,
    7,
    7,
    7,
    "M",
    8,
    8,
    8,
    8,
    "M",
]


def saved_vgg(file: Path) -> torch.nn.Sequential:
    """torchvision's VGG19, narrow, its weights saved as torchvision saves them, classifier and all."""
    layers = make_layers(TORCHVISION_LAYERS)
    randomise(layers, seed=15)
    state = {f"features.{key}": value for key, value in layers.state_dict().items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(2, 2), "classifier.6.bias": torch.zeros(2)}, file)
    return layers


def test_features_match_torchvision(tmp_path: Path) -> None:
    layers = saved_vgg(tmp_path / "vgg.pth")
    network = VGG19Features(NARROW, tmp_path / "vgg.pth")
    image = torch.rand(1, 3, 32, 48) * 2 - 1
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    # torchvision numbers the layers: relu1_1, 2_1, 3_1, 4_1 and 5_1 end at 1, 6, 11, 20 and 29.
    expected = [layers[: end + 1](((image + 1) / 2 - mean) / deviation) for end in (1, 6, 11, 20, 29)]
    found = network(image)
    assert [tuple(maps.shape[1:]) for maps in found] == [
        (4, 32, 48),
        (5, 16, 24),
        (6, 8, 12),
        (7, 4, 6),
        (8, 2, 3),
    ]
    for maps, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(maps, reference)


def test_official_layers_are_vgg19_up_to_relu5_1() -> None:
    with torch.device("meta"):
        ours = VGG19Features(OFFICIAL.vgg19).state_dict()
        theirs = torchvision.models.vgg19(weights=None).state_dict()
    kept = {
        key: value.shape
        for key, value in theirs.items()
        if key.startswith("features.") and int(key.split(".")[1]) <= 28
    }
    assert {key: value.shape for key, value in ours.items()} == kept


def test_random_features_are_fixed_and_keep_the_random_state() -> None:
    torch.manual_seed(1)
    first = VGG19Features(TINY.vgg19)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    torch.manual_seed(2)
    second = VGG19Features(TINY.vgg19)
    for ours, others in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, others)


def test_gradients_reach_the_image_and_no_weight() -> None:
    network = VGG19Features(TINY.vgg19)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    network(image)[-1].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_weights_of_other_widths_are_rejected(tmp_path: Path) -> None:
    saved_vgg(tmp_path / "vgg.pth")
    with pytest.raises(ValueError, match=r"features\.0\.bias: \[4\] in the file, \[16\] in the network"):
        VGG19Features(TINY.vgg19, tmp_path / "vgg.pth")
