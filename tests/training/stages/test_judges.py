"""Outside networks in the losses: who judges what, where gradients go, and whole steps with all of them."""

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
from models.residual_trunk import ResidualTrunkConfig
from tests.factories.stages import TOY
from tests.factories.toy_run import toy_parents
from tests.factories.weights import TOY_EMONET, randomise
from tests.training.stages.test_stage1_motion import make_batch as make_pairs
from tests.training.stages.test_stage3_expression import make_batch as make_windows
from training.engine.optimizer_step import weighted_total
from training.stages import judges
from training.stages.face_views import DEEP3D_VIEW, EMONET_VIEW, L2CS_VIEW, see
from training.stages.judges import Judges, judges_of
from training.stages.stage import Frozen, PretrainedFiles, Stage, StageContext
from training.stages.stage1_motion import MotionSettings, MotionStage
from training.stages.stage3_expression import ExpressionSettings, ExpressionStage

FILES = PretrainedFiles(deep3d=Path("deep3d"), emonet=Path("emonet"), l2cs=Path("l2cs"))
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
    monkeypatch.setattr(judges, "load_face_reconstruction", toy_reconstruction)
    monkeypatch.setattr(judges, "load_emonet", toy_emonet)
    monkeypatch.setattr(judges, "load_l2cs", toy_l2cs)


def toy_judges(outside: PretrainedFiles = FILES) -> Judges:
    torch.manual_seed(0)
    return judges_of(StageContext(TOY, toy_parents(), outside)).eval()


def picture() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_without_outside_networks_perception_judges_everything() -> None:
    own = toy_judges(PretrainedFiles())
    with torch.no_grad():
        said, seen = own(picture()), own.perceiver(picture())
    assert torch.equal(said.phi, seen.feature)
    assert torch.equal(said.psi, seen.shape_feature)
    assert torch.equal(said.gaze, seen.gaze)
    assert torch.equal(said.blink, seen.blink)


@pytest.mark.usefixtures("toy_networks")
def test_each_outside_network_sees_its_square_in_its_own_range() -> None:
    both = toy_judges()
    with torch.no_grad():
        said = both(picture())
        face = toy_reconstruction(Path())(see(picture(), DEEP3D_VIEW, 32))
        emotion = toy_emonet(Path())(see(picture(), EMONET_VIEW, 32))
        mean, deviation = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        gaze = toy_l2cs(Path())((see(picture(), L2CS_VIEW, 32) - mean) / deviation)
        blink = both.perceiver(picture()).blink
    assert both.reconstruction is not None
    weights = both.reconstruction.state_dict()
    matrix = torch.cat([weights[f"final_layers.{index}.weight"][:, :, 0, 0] for index in range(7)])
    offset = torch.cat([weights[f"final_layers.{index}.bias"] for index in range(7)])
    torch.testing.assert_close(said.phi @ matrix.T + offset, face, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(said.psi, emotion.feature)
    torch.testing.assert_close(said.gaze, gaze)
    torch.testing.assert_close(said.blink, blink)


@pytest.mark.usefixtures("toy_networks")
@pytest.mark.parametrize(
    ("outside", "taken"),
    [
        (PretrainedFiles(deep3d=Path("a file")), "phi"),
        (PretrainedFiles(emonet=Path("a file")), "psi"),
        (PretrainedFiles(l2cs=Path("a file")), "gaze"),
    ],
)
def test_one_alone_takes_its_own_place_alone(outside: PretrainedFiles, taken: str) -> None:
    with torch.no_grad():
        own, changed = vars(toy_judges(PretrainedFiles())(picture())), vars(toy_judges(outside)(picture()))
    assert [name for name in own if not torch.equal(own[name], changed[name])] == [taken]


@pytest.mark.usefixtures("toy_networks")
@pytest.mark.parametrize("part", ["phi", "psi", "gaze"])
def test_gradients_reach_the_picture_through_each_and_no_weight(part: str) -> None:
    frozen = Frozen(toy_judges())
    image = picture().requires_grad_()
    getattr(frozen(image), part).square().sum().backward()
    assert image.grad is not None
    assert (image.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(value.grad is None for value in frozen.parameters())


@pytest.mark.usefixtures("toy_networks")
def test_what_trains_begins_alike_with_and_without_them() -> None:
    begun: list[Mapping[str, Tensor]] = []
    for outside in (PretrainedFiles(), FILES):
        torch.manual_seed(0)
        stage = MotionStage(StageContext(TOY, toy_parents(), outside), MotionSettings())
        begun.append(stage.saved["generator"].state_dict())
    assert all(torch.equal(value, begun[1][key]) for key, value in begun[0].items())


def step(stage: Stage[Any], batch: Any) -> Mapping[str, Tensor]:
    """A model's turn: its losses, after their gradients went where they should."""
    player = stage.model.train()
    losses = player(batch).losses
    weighted_total(losses, stage.loss_weights).backward()
    judge = player.get_submodule("judges")
    assert not any(module.training for module in judge.modules())
    assert all(value.grad is None for value in judge.parameters())
    generator: nn.Module = stage.saved["generator"]
    gradients = [value.grad for value in generator.parameters() if value.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert all(loss.isfinite() for loss in losses.values())
    return losses


@pytest.mark.usefixtures("toy_networks")
def test_a_step_of_stage_1_with_all_of_them_in_half_precision() -> None:
    torch.manual_seed(0)
    stage = MotionStage(StageContext(TOY, toy_parents(), FILES), MotionSettings())
    with torch.autocast("cpu", torch.bfloat16):
        losses = step(stage, make_pairs())
    assert min(losses["phi"], losses["psi"]) > 0


@pytest.mark.usefixtures("toy_networks")
def test_a_step_of_stage_3_with_all_of_them() -> None:
    torch.manual_seed(0)
    stage = ExpressionStage(StageContext(TOY, toy_parents(), FILES), ExpressionSettings())
    losses = step(stage, make_windows())
    assert min(losses["phi"], losses["psi"], losses["gaze"]) > 0


@pytest.mark.slow
def test_networks_of_the_published_size_judge_a_picture(tmp_path: Path) -> None:
    published = {
        "deep3d": FaceReconstruction(FaceReconstructionConfig()),
        "emonet": EmoNet(EmoNetConfig()),
        "l2cs": L2CS(L2CSConfig()),
    }
    for name, network in published.items():
        state = network.state_dict()
        torch.save({"net_recon": state} if name == "deep3d" else state, tmp_path / name)
    outside = PretrainedFiles(**{name: tmp_path / name for name in published})
    image = picture()[:1].requires_grad_()
    said = toy_judges(outside)(image)
    assert (said.phi.shape, said.psi.shape, said.gaze.shape) == ((1, 2048), (1, 256), (1, 2))
    (said.phi.sum() + said.psi.sum() + said.gaze.sum()).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0
