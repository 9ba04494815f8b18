"""EmoNet: the published files' layout, and its arithmetic against the layers written out one by one."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from models.external.emonet import EXPRESSIONS, EmoNet, EmoNetConfig, load_emonet
from tests.factories.models.weights import TOY_EMONET as TOY
from tests.factories.models.weights import parameter_count, randomise


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.{key}": (channels,) for key in ("weight", "bias", "running_mean", "running_var")
    }
    return shapes | {f"{name}.num_batches_tracked": ()}


def layer(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def block(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    half, quarter = outputs // 2, outputs // 4
    shapes = norm(f"{name}.bn1", inputs) | norm(f"{name}.bn2", half) | norm(f"{name}.bn3", quarter)
    shapes |= {
        f"{name}.conv1.weight": (half, inputs, 3, 3),
        f"{name}.conv2.weight": (quarter, half, 3, 3),
        f"{name}.conv3.weight": (quarter, quarter, 3, 3),
    }
    if inputs != outputs:
        shapes |= norm(f"{name}.downsample.0", inputs)
        shapes |= {f"{name}.downsample.2.weight": (outputs, inputs, 1, 1)}
    return shapes


def published_shapes(expressions: int) -> dict[str, tuple[int, ...]]:
    """Key -> shape of emonet_8.pth and emonet_5.pth."""
    shapes = layer("conv1", 64, 3, 7, 7) | norm("bn1", 64)
    shapes |= block("conv2", 64, 128) | block("conv3", 128, 128) | block("conv4", 128, 256)
    for number in "01":
        branches = [f"b{part}_{level}" for part in "123" for level in "1234"] + ["b2_plus_1"]
        for branch in branches:
            shapes |= block(f"m{number}.{branch}", 256, 256)
        shapes |= block(f"top_m_{number}", 256, 256) | layer(f"conv_last{number}", 256, 256, 1, 1)
        shapes |= norm(f"bn_end{number}", 256) | layer(f"l{number}", 68, 256, 1, 1)
    shapes |= layer("bl0", 256, 256, 1, 1) | layer("al0", 256, 68, 1, 1)
    shapes |= layer("conv1x1_input_emo_2", 256, 768, 1, 1)
    for number in (0, 2, 4, 6):
        shapes |= block(f"emo_net_2.{number}", 256, 256)
    shapes |= layer("emo_fc_2.0", 128, 256) | norm("emo_fc_2.1", 128)
    return shapes | layer("emo_fc_2.3", expressions + 2, 128)


def published_state(expressions: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for number, (key, shape) in enumerate(published_shapes(expressions).items()):
        dtype = torch.int64 if key.endswith("num_batches_tracked") else torch.float32
        state[key] = torch.tensor(number, dtype=dtype).expand(shape)
    return state


@pytest.mark.parametrize("expressions", [8, 5])
def test_published_layouts_load(tmp_path: Path, expressions: int) -> None:
    state = published_state(expressions)
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "emonet.pth")
    network = load_emonet(tmp_path / "emonet.pth")
    assert not network.training
    assert network.config.expression_count == expressions == len(EXPRESSIONS[expressions])
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_extra_keys_are_ignored_and_missing_weights_are_errors(tmp_path: Path) -> None:
    state = {key: value for key, value in published_state(8).items() if not key.endswith("batches_tracked")}
    torch.save(state | {"emo_fc.weight": torch.zeros(2)}, tmp_path / "emonet.pth")
    assert int(load_emonet(tmp_path / "emonet.pth").state_dict()["al0.bias"][0]) > 0
    del state["al0.bias"]
    torch.save(state, tmp_path / "emonet.pth")
    with pytest.raises(ValueError, match=r"does not fit EmoNet: 1 keys do not \(al0\.bias: missing in"):
        load_emonet(tmp_path / "emonet.pth")


class Hostile:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def test_pickled_objects_are_rejected(tmp_path: Path) -> None:
    torch.save(torch.nn.DataParallel(EmoNet(TOY)), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"whole\.pth cannot be read as weights.*only tensors are unpickled"):
        load_emonet(tmp_path / "whole.pth")
    proof = tmp_path / "it ran"
    torch.save({**published_state(8), "extra": Hostile(proof)}, tmp_path / "hostile.pth")
    with pytest.raises(ValueError, match=r"hostile\.pth cannot be read as weights"):
        load_emonet(tmp_path / "hostile.pth")
    assert not proof.exists()
    pickle.loads(pickle.dumps(Hostile(proof)))  # noqa: S301 -- our own: shows that it would have run
    assert proof.exists()


def by_hand(state: dict[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
    """Feature and read-outs, layer by layer from the bare tensors; TOY's two levels and two blocks."""

    def bn(name: str, maps: Tensor) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        shape = (1, -1, 1, 1) if maps.ndim == 4 else (1, -1)
        scale = state[f"{name}.weight"] / (variance + 1e-5).sqrt()
        return (maps - mean.view(shape)) * scale.view(shape) + state[f"{name}.bias"].view(shape)

    def conv(name: str, maps: Tensor, **places: int) -> Tensor:
        return functional.conv2d(maps, state[f"{name}.weight"], state.get(f"{name}.bias"), **places)

    def unit(name: str, maps: Tensor) -> Tensor:
        parts, at = [], maps
        for number in (1, 2, 3):
            at = conv(f"{name}.conv{number}", bn(f"{name}.bn{number}", at).relu(), padding=1)
            parts.append(at)
        if f"{name}.downsample.2.weight" in state:
            maps = conv(f"{name}.downsample.2", bn(f"{name}.downsample.0", maps).relu())
        return torch.cat(parts, dim=1) + maps

    def glass(name: str, maps: Tensor) -> Tensor:
        middle = unit(f"{name}.b2_2", functional.max_pool2d(maps, 2))
        least = unit(f"{name}.b2_1", functional.max_pool2d(middle, 2))
        least = unit(f"{name}.b3_1", unit(f"{name}.b2_plus_1", least))
        middle = unit(f"{name}.b1_1", middle) + least.repeat_interleave(2, 2).repeat_interleave(2, 3)
        middle = unit(f"{name}.b3_2", middle)
        return unit(f"{name}.b1_2", maps) + middle.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def stack(number: int, maps: Tensor) -> Tensor:
        refined = unit(f"top_m_{number}", glass(f"m{number}", maps))
        return bn(f"bn_end{number}", conv(f"conv_last{number}", refined)).relu()

    maps = functional.max_pool2d(
        unit("conv2", bn("bn1", conv("conv1", image, stride=2, padding=3)).relu()), 2
    )
    maps = unit("conv4", unit("conv3", maps))
    features = stack(0, maps)
    first = conv("bl0", features)
    second = stack(1, maps + first + conv("al0", conv("l0", features)))
    mask = conv("l1", second).sum(1, keepdim=True)
    at = conv("conv1x1_input_emo_2", torch.cat([maps, first * mask, second * mask], 1))
    for number in (0, 2):
        at = functional.max_pool2d(unit(f"emo_net_2.{number}", at), 2)
    feature = at.mean((2, 3))
    hidden = bn("emo_fc_2.1", feature @ state["emo_fc_2.0.weight"].T + state["emo_fc_2.0.bias"]).relu()
    return feature, hidden @ state["emo_fc_2.3.weight"].T + state["emo_fc_2.3.bias"]


def test_emonet_matches_reference() -> None:
    network = EmoNet(TOY).eval()
    randomise(network, seed=9)
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        emotion = network(image)
        feature, output = by_hand(network.state_dict(), image)
    torch.testing.assert_close(emotion.feature, feature, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(emotion.expression, output[:, :8], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(emotion.valence, output[:, 8], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(emotion.arousal, output[:, 9], rtol=1e-4, atol=1e-4)


def test_emonet_feature_is_differentiable() -> None:
    network = EmoNet(TOY).eval().requires_grad_(requires_grad=False)
    randomise(network, seed=10)
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    network(image).feature.square().sum().backward()
    assert image.grad is not None
    assert (image.grad.abs().amax((1, 2, 3)) > 0).all()
    with pytest.raises(ValueError, match=r"image must be \[B, 3, 32, 32\], got \[1, 3, 16, 16\]"):
        network(torch.zeros(1, 3, 16, 16))


def test_emonet_published_size() -> None:
    with torch.device("meta"):
        network = EmoNet(EmoNetConfig())
    assert {tuple(value.shape) for value in network.state_dict().values()} == set(
        published_shapes(8).values()
    )
    assert parameter_count(network) == sum(
        value.numel()
        for key, value in published_state(8).items()
        if "running" not in key and not key.endswith("batches_tracked")
    )
