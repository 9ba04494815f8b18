"""Pretrained networks in the losses: what each replaces, gradients, and whole training steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.external.emonet import EmoNet, EmoNetConfig
from models.external.face_reconstruction import FaceReconstruction, FaceReconstructionConfig
from models.external.l2cs import L2CS, L2CSConfig
from models.external.vgg19 import IMAGENET_DEVIATION, IMAGENET_MEAN
from models.perception import PerceptionNetwork
from models.trunks.residual_trunk import ResidualTrunkConfig
from tests.factories.models.weights import TOY_EMONET, randomise
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import PICTURES, toy_parents
from tests.training.stages.test_stage1_motion import make_batch as make_pairs
from tests.training.stages.test_stage3_expression import make_batch as make_windows
from training.engine.optimizer import weighted_total
from training.stages.expression_model import ExpressionStageSettings
from training.stages.pictures import perceptual_networks
from training.stages.pictures.perceptual_networks import (
    DEEP3D_SQUARE,
    EMONET_SQUARE,
    L2CS_SQUARE,
    PerceptionReader,
    PerceptualNetworks,
    build_perceptual_networks,
    crop_square,
)
from training.stages.stage import FrozenNetwork, PretrainedFiles, Stage, StageContext
from training.stages.stage1_motion import MotionStage, MotionStageSettings
from training.stages.stage3_expression import ExpressionStage

FILES = PretrainedFiles(deep3d=Path("deep3d"), emonet=Path("emonet"), l2cs=Path("l2cs"))
STAGE1, STAGE3 = MotionStageSettings(pictures=PICTURES), ExpressionStageSettings(pictures=PICTURES)
TRUNK = ResidualTrunkConfig(image_side_px=32, stem_channels=4, block_counts=(1, 1, 1, 1))


def toy_reconstruction(_: Path) -> FaceReconstruction:
    network = FaceReconstruction(FaceReconstructionConfig(TRUNK)).eval()
    randomise(network, seed=31)
    return network


def toy_emonet(_: Path) -> EmoNet:
    network = EmoNet(TOY_EMONET).eval()
    randomise(network, seed=32)
    return network


def toy_l2cs(_: Path) -> L2CS:
    network = L2CS(L2CSConfig(TRUNK)).eval()
    randomise(network, seed=33)
    return network


@pytest.fixture
def toy_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files' loaders give networks of few pixels."""
    monkeypatch.setattr(perceptual_networks, "load_face_reconstruction", toy_reconstruction)
    monkeypatch.setattr(perceptual_networks, "load_emonet", toy_emonet)
    monkeypatch.setattr(perceptual_networks, "load_l2cs", toy_l2cs)


def build_toy(files: PretrainedFiles = FILES) -> PerceptualNetworks:
    torch.manual_seed(0)
    return build_perceptual_networks(StageContext(TOY, toy_parents(), files), "perception").eval()


def random_image() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1


def perception_of(networks: PerceptualNetworks) -> PerceptionNetwork:
    assert isinstance(networks.reader, PerceptionReader)
    return networks.reader.perception


def test_perception_reader_gives_all_features() -> None:
    networks = build_toy(PretrainedFiles())
    with torch.no_grad():
        features, perceived = networks(random_image()), perception_of(networks)(random_image())
    assert torch.equal(features.phi, perceived.feature)
    assert torch.equal(features.psi, perceived.shape_feature)
    assert torch.equal(features.gaze, perceived.gaze)
    assert torch.equal(features.lids, perceived.blink)


@pytest.mark.usefixtures("toy_networks")
def test_pretrained_networks_see_their_squares() -> None:
    networks = build_toy()
    with torch.no_grad():
        features = networks(random_image())
        face = toy_reconstruction(Path())(crop_square(random_image(), DEEP3D_SQUARE, 32))
        emotion = toy_emonet(Path())(crop_square(random_image(), EMONET_SQUARE, 32))
        mean, deviation = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        gaze = toy_l2cs(Path())((crop_square(random_image(), L2CS_SQUARE, 32) - mean) / deviation)
        blink = perception_of(networks)(random_image()).blink
    assert networks.reconstruction is not None
    weights = networks.reconstruction.state_dict()
    matrix = torch.cat([weights[f"final_layers.{index}.weight"][:, :, 0, 0] for index in range(7)])
    offset = torch.cat([weights[f"final_layers.{index}.bias"] for index in range(7)])
    torch.testing.assert_close(features.phi @ matrix.T + offset, face, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features.psi, emotion.feature)
    torch.testing.assert_close(features.gaze, gaze)
    torch.testing.assert_close(features.lids, blink)


@pytest.mark.usefixtures("toy_networks")
@pytest.mark.parametrize(
    ("files", "changed_feature"),
    [
        (PretrainedFiles(deep3d=Path("a file")), "phi"),
        (PretrainedFiles(emonet=Path("a file")), "psi"),
        (PretrainedFiles(l2cs=Path("a file")), "gaze"),
    ],
)
def test_each_pretrained_network_replaces_one_feature(files: PretrainedFiles, changed_feature: str) -> None:
    with torch.no_grad():
        default = vars(build_toy(PretrainedFiles())(random_image()))
        changed = vars(build_toy(files)(random_image()))
    assert [name for name in default if not torch.equal(default[name], changed[name])] == [changed_feature]


@pytest.mark.usefixtures("toy_networks")
@pytest.mark.parametrize("part", ["phi", "psi", "gaze"])
def test_gradients_reach_the_image_and_no_weight(part: str) -> None:
    frozen = FrozenNetwork(build_toy())
    image = random_image().requires_grad_()
    getattr(frozen(image), part).square().sum().backward()
    assert image.grad is not None
    assert (image.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(value.grad is None for value in frozen.parameters())


@pytest.mark.usefixtures("toy_networks")
def test_pretrained_networks_do_not_change_initial_weights() -> None:
    initial: list[Mapping[str, Tensor]] = []
    for files in (PretrainedFiles(), FILES):
        torch.manual_seed(0)
        stage = MotionStage(StageContext(TOY, toy_parents(), files), STAGE1)
        initial.append(stage.saved["generator"].state_dict())
    assert all(torch.equal(value, initial[1][key]) for key, value in initial[0].items())


def step(stage: Stage[Any], batch: Any) -> Mapping[str, Tensor]:
    """One training step; checks where its gradients went and returns its losses."""
    model = stage.model.train()
    losses = model(batch).losses
    weighted_total(losses, stage.loss_weights).backward()
    frozen = model.get_submodule("picture_losses.perceptual")
    assert not any(module.training for module in frozen.modules())
    assert all(value.grad is None for value in frozen.parameters())
    generator: nn.Module = stage.saved["generator"]
    gradients = [value.grad for value in generator.parameters() if value.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert all(loss.isfinite() for loss in losses.values())
    return losses


@pytest.mark.usefixtures("toy_networks")
def test_stage1_step_with_pretrained_networks_in_bfloat16() -> None:
    torch.manual_seed(0)
    stage = MotionStage(StageContext(TOY, toy_parents(), FILES), STAGE1)
    with torch.autocast("cpu", torch.bfloat16):
        losses = step(stage, make_pairs())
    assert min(losses["phi"], losses["psi"]) > 0


@pytest.mark.usefixtures("toy_networks")
def test_stage3_step_with_pretrained_networks() -> None:
    torch.manual_seed(0)
    stage = ExpressionStage(StageContext(TOY, toy_parents(), FILES), STAGE3)
    losses = step(stage, make_windows())
    assert min(losses["phi"], losses["psi"], losses["gaze"]) > 0


@pytest.mark.slow
def test_networks_of_published_size(tmp_path: Path) -> None:
    published = {
        "deep3d": FaceReconstruction(FaceReconstructionConfig()),
        "emonet": EmoNet(EmoNetConfig()),
        "l2cs": L2CS(L2CSConfig()),
    }
    for name, network in published.items():
        state = network.state_dict()
        torch.save({"net_recon": state} if name == "deep3d" else state, tmp_path / name)
    files = PretrainedFiles(**{name: tmp_path / name for name in published})
    image = random_image()[:1].requires_grad_()
    features = build_toy(files)(image)
    assert (features.phi.shape, features.psi.shape, features.gaze.shape) == ((1, 2048), (1, 256), (1, 2))
    (features.phi.sum() + features.psi.sum() + features.gaze.sum()).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0
