from pathlib import Path

import pytest
import torch

from models.external.face_reconstruction import FaceCoefficients, FaceReconstruction
from models.official import load_face_reconstruction
from models.presets import OFFICIAL, TINY
from tests.factories.models.weights import randomise


def test_outputs_have_published_order() -> None:
    network = FaceReconstruction(TINY.face_reconstruction).eval()
    randomise(network, seed=16)
    with torch.no_grad():
        for index, layer in enumerate(network.final_layers):
            layer.get_parameter("weight").zero_()
            layer.get_parameter("bias").fill_(float(index))
        output = network(torch.rand(2, 3, 64, 64))
    assert output.shape == (2, 257)
    assert (output[:, 144:224] == 2).all()
    assert (output[:, 224:227] == 3).all()
    assert output[0, 254:257].tolist() == [5.0, 5.0, 6.0]
    face = FaceCoefficients.from_output(output)
    assert (face.identity == 0).all()
    assert face.identity.shape == (2, 80)
    assert face.expression.shape == (2, 64)
    assert torch.equal(face.angles, output[:, 224:227])
    assert torch.equal(face.lighting, output[:, 227:254])
    assert torch.equal(face.translation, output[:, 254:257])


def test_coefficients_are_linear_in_the_feature() -> None:
    network = FaceReconstruction(TINY.face_reconstruction).eval()
    randomise(network, seed=17)
    image = torch.rand(2, 3, 64, 64)
    weights = network.state_dict()
    matrix = torch.cat([weights[f"final_layers.{index}.weight"][:, :, 0, 0] for index in range(7)])
    offset = torch.cat([weights[f"final_layers.{index}.bias"] for index in range(7)])
    with torch.no_grad():
        pooled = network.backbone(image).mean((2, 3))
        torch.testing.assert_close(network(image), pooled @ matrix.T + offset, rtol=1e-4, atol=1e-5)


def test_official_network_has_published_layout() -> None:
    with torch.device("meta"):
        network = FaceReconstruction(OFFICIAL.face_reconstruction)
    weights = network.state_dict()
    assert {key.split(".")[0] for key in weights} == {"backbone", "final_layers"}
    assert [weights[f"final_layers.{index}.weight"].shape for index in range(7)] == [
        (width, 2048, 1, 1) for width in (80, 64, 80, 3, 27, 2, 1)
    ]
    assert weights["backbone.layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)


def test_published_checkpoint_with_optimizer_loads(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    with torch.device("meta"):
        trunk = resnet50().state_dict()
    shapes = {f"backbone.{key}": (v.shape, v.dtype) for key, v in trunk.items() if not key.startswith("fc.")}
    for index, width in enumerate((80, 64, 80, 3, 27, 2, 1)):
        shapes[f"final_layers.{index}.weight"] = torch.Size([width, 2048, 1, 1]), torch.float32
        shapes[f"final_layers.{index}.bias"] = torch.Size([width]), torch.float32
    # Expanded, not filled: the file holds one number for each tensor.
    state = {
        key: torch.tensor(number % 7, dtype=dtype).expand(shape)
        for number, (key, (shape, dtype)) in enumerate(shapes.items())
    }
    optimizer = {"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    file = tmp_path / "epoch_20.pth"
    torch.save({"net_recon": state, "opt_00": optimizer, "sched_00": {"last_epoch": 20}}, file)
    network = load_face_reconstruction(file)
    assert not network.training
    loaded = network.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    torch.save({"net_recon": {"backbone.conv1.weight": torch.zeros(1)}}, file)
    with pytest.raises(ValueError, match=r"epoch_20\.pth .* does not fit FaceReconstruction"):
        load_face_reconstruction(file)
