"""L2CS-Net: the published file's layout, the angles that its bins mean, and their signs."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.external.l2cs import L2CS, L2CSConfig, expected_angle_rad, load_l2cs
from models.trunks.residual_trunk import ResidualTrunkConfig
from preprocessing.faces.shape.frame_of_reference import direction_from_gaze
from tests.factories.models.weights import randomise

TINY = L2CSConfig(ResidualTrunkConfig(image_side_px=32, stem_channels=4, block_counts=(1, 1, 1, 1)))


def published_state() -> dict[str, Tensor]:
    """The keys and shapes of L2CSNet_gaze360.pkl: torchvision's ResNet-50 without `fc`, and three layers."""
    from torchvision.models import resnet50

    with torch.device("meta"):
        trunk = resnet50().state_dict()
    shapes = {key: (value.shape, value.dtype) for key, value in trunk.items() if not key.startswith("fc.")}
    for name, rows, columns in (("yaw_gaze", 90, 2048), ("pitch_gaze", 90, 2048), ("finetune", 3, 2051)):
        shapes[f"fc_{name}.weight"] = torch.Size([rows, columns]), torch.float32
        shapes[f"fc_{name}.bias"] = torch.Size([rows]), torch.float32
    # Expanded, not filled: the file holds one number for each tensor.
    return {
        key: torch.tensor(number % 7, dtype=dtype).expand(shape)
        for number, (key, (shape, dtype)) in enumerate(shapes.items())
    }


def test_published_layout_loads_with_and_without_data_parallel(tmp_path: Path) -> None:
    state = published_state()
    for name, content in (
        ("bare", state),
        ("parallel", {f"module.{key}": value for key, value in state.items()}),
        ("nested", {"model_state_dict": state, "epoch": 3}),
    ):
        torch.save(content, tmp_path / name)
        network = load_l2cs(tmp_path / name)
        assert not network.training
        loaded = network.state_dict()
        assert set(state) - set(loaded) == {"fc_finetune.weight", "fc_finetune.bias"}
        assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_file_of_another_data_set_is_rejected(tmp_path: Path) -> None:
    state = published_state() | {"fc_yaw_gaze.weight": torch.zeros(28, 2048)}
    torch.save(state, tmp_path / "mpii.pkl")
    with pytest.raises(ValueError, match=r"does not fit L2CS.*fc_yaw_gaze.weight: \[28, 2048\] in the file"):
        load_l2cs(tmp_path / "mpii.pkl")


def test_gpu_tensors_load_and_pickled_networks_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = published_state()
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:1")
    torch.save(state, tmp_path / "gpu.pkl")
    monkeypatch.undo()
    assert b"cuda:1" in (tmp_path / "gpu.pkl").read_bytes()
    loaded = load_l2cs(tmp_path / "gpu.pkl").state_dict()
    assert all(value.device.type == "cpu" and torch.equal(value, state[key]) for key, value in loaded.items())
    torch.save(torch.nn.DataParallel(L2CS(TINY)), tmp_path / "whole.pkl")
    with pytest.raises(ValueError, match=r"whole\.pkl cannot be read as weights.*only tensors are unpickled"):
        load_l2cs(tmp_path / "whole.pkl")


def test_expected_angle_is_the_softmax_mean_of_bins() -> None:
    scores = torch.full((4, 90), -1e9)
    scores[0, 45] = 0.0  # bin 45 begins at 45 * 4 - 180 = 0 degrees
    scores[1, 50] = 0.0  # 20 degrees
    scores[2, [40, 44]] = torch.tensor([math.log(1.0), math.log(3.0)])  # -20 and -4 degrees, 1 to 3: -8
    scores[3] = 0.0  # all alike: the mean of 0..89 is 44.5, which is -2 degrees
    wanted = np.deg2rad([0.0, 20.0, -8.0, -2.0])
    np.testing.assert_allclose(expected_angle_rad(scores).numpy(), wanted, atol=1e-6)


def test_expected_angle_agrees_with_double_precision() -> None:
    scores = torch.randn(5, 90, generator=torch.Generator().manual_seed(3)) * 4
    exponentials = np.exp(scores.double().numpy())
    share = exponentials / exponentials.sum(axis=1, keepdims=True)
    wanted = np.deg2rad(share @ (np.arange(90) * 4.0 - 180.0))
    np.testing.assert_allclose(expected_angle_rad(scores).numpy(), wanted, atol=2e-6)


def test_angles_have_the_projects_signs() -> None:
    """Gaze360's yaw 20 looks to the image's left, its pitch 12 up."""
    network = L2CS(TINY).eval()
    randomise(network, seed=4)
    with torch.no_grad():
        for head, chosen in ((network.fc_yaw_gaze, 50), (network.fc_pitch_gaze, 48)):
            head.weight.zero_()
            head.bias.fill_(-1e9)
            head.bias[chosen] = 0.0
        gaze = network(torch.randn(2, 3, 32, 32))
    np.testing.assert_allclose(gaze.numpy(), np.deg2rad([[-12.0, -20.0]] * 2), atol=1e-6)
    # As vectors: Gaze360's has x right, y down, z away from the camera; ours x right, y up, z towards it.
    pitch, yaw = np.deg2rad(12.0), np.deg2rad(20.0)
    theirs = np.array([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)])
    np.testing.assert_allclose(direction_from_gaze(gaze[0].numpy()), theirs * [1, -1, -1], atol=1e-6)


def test_gaze_is_differentiable() -> None:
    network = L2CS(TINY).eval().requires_grad_(requires_grad=False)
    randomise(network, seed=5)
    image = torch.randn(2, 3, 32, 32, requires_grad=True)
    network(image).sum().backward()
    assert image.grad is not None
    assert (image.grad.abs().amax((1, 2, 3)) > 0).all()
    with pytest.raises(ValueError, match=r"image must be \[B, 3, 32, 32\], got \[1, 3, 16, 16\]"):
        network(torch.zeros(1, 3, 16, 16))
