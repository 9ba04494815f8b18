"""Which losses are computed, and of what."""

import pytest
import torch
from torch import Tensor

from models.generator import Synthesis
from preprocessing.schema import CROP_SIDE_PX
from tests.factories.training.stages import TOY, TOY_SIDE_PX, TOY_WARP
from tests.factories.training.toy_run import PICTURES, toy_parents
from tests.training.stages.test_stage1_motion import make_batch as make_pairs
from tests.training.stages.test_stage3_expression import make_batch as make_windows
from training.engine.stage_weights import StageWeights, collect
from training.losses.pictures.flow import landmark_flow_loss
from training.losses.pictures.pixels import face_region_weights, weighted_edge_l1, weighted_l1
from training.stages.expression_model import ExpressionStageSettings, ExpressionWeights
from training.stages.pictures.adversary import Adversary, AdversarySettings
from training.stages.pictures.picture_losses import PictureLosses, PictureSettings, PictureWeights
from training.stages.stage import StageContext
from training.stages.stage1_motion import MotionStage, MotionStageSettings, MotionWeights
from training.stages.stage3_expression import ExpressionStage

NONE = dict.fromkeys(PictureWeights.model_fields, 0.0)
ROWS = 3


def make_losses(settings: PictureSettings = PICTURES, **weights: float) -> PictureLosses:
    """With these weights, and 0 for all others."""
    torch.manual_seed(0)
    adversary = Adversary(TOY.discriminator, AdversarySettings())
    context = StageContext(TOY_WARP, toy_parents(TOY_WARP))
    return PictureLosses(context, PictureWeights(**(NONE | weights)), settings, adversary)


def make_images(seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.rand(ROWS, 3, TOY_SIDE_PX, TOY_SIDE_PX, generator=source) * 2 - 1


def make_synthesis(seed: int) -> Synthesis:
    flow = torch.randn(ROWS, 2, TOY_SIDE_PX, TOY_SIDE_PX, generator=torch.Generator().manual_seed(seed))
    return Synthesis(make_images(seed), 0.1 * flow)


@pytest.mark.parametrize("name", sorted(NONE))
def test_losses_of_weight_0_are_not_computed(name: str) -> None:
    losses = make_losses(PICTURES, **{name: 1.0})
    computed = losses(make_synthesis(1), make_images(2), make_pairs())
    assert set(computed) == {name}
    assert computed[name].isfinite()
    assert (losses.vgg is not None) == (name == "vgg")
    assert (losses.perceptual is not None) == (name in ("phi", "psi", "gaze", "lids"))


def test_no_weights_give_no_losses() -> None:
    assert make_losses()(make_synthesis(1), make_images(2), make_pairs()) == {}


def test_faces_that_were_read_already_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PICTURES.replace(face_reader="mediapipe", face_rows=2)
    losses = make_losses(settings, phi=1.0, psi=1.0, gaze=1.0, lids=1.0)
    synthesis, driving = make_synthesis(1), make_images(2)
    expected = losses(synthesis, driving, make_pairs())
    assert losses.mesh is not None
    reading = losses.mesh(synthesis.image[:2])
    read = list[int]()
    network = type(losses.mesh.face)
    whole = network.forward
    monkeypatch.setattr(
        network, "forward", lambda self, image: (read.append(len(image)), whole(self, image))[1]
    )
    torch.testing.assert_close(losses(synthesis, driving, make_pairs(), reading), expected)
    assert read == [2, 2, 2]  # the driving frames' mesh and their two eyes


def test_pixel_losses_weigh_eyes_and_mouth() -> None:
    settings = PICTURES.replace(eye_weight=6.0, mouth_weight=4.0)
    generated, driving, batch = make_images(1), make_images(2), make_pairs()
    assert not torch.equal(batch.landmarks_px, batch.appearance_landmarks_px)
    computed = make_losses(settings, pixel=1.0, edges=1.0)(Synthesis(generated, None), driving, batch)
    regions = face_region_weights(batch.landmarks_px, CROP_SIDE_PX, TOY_SIDE_PX, eyes=6.0, mouth=4.0)
    assert set(regions.unique().tolist()) == {1.0, 4.0, 6.0}
    assert torch.equal(computed["pixel"], weighted_l1(driving, generated, regions))
    assert torch.equal(computed["edges"], weighted_edge_l1(driving, generated, regions))


def test_faces_are_read_of_the_first_rows() -> None:
    losses = make_losses(PICTURES.replace(face_rows=2), phi=1.0, psi=1.0, gaze=1.0, lids=1.0)
    generated = make_images(1).requires_grad_()
    computed = losses(Synthesis(generated, None), make_images(2), make_pairs())
    sum(computed.values(), torch.zeros(())).backward()
    assert generated.grad is not None
    assert (generated.grad.flatten(1) != 0).any(dim=1).tolist() == [True, True, False]


def test_flow_loss_needs_a_flow_and_reads_both_landmarks() -> None:
    losses, synthesis, batch = make_losses(flow=1.0), make_synthesis(1), make_pairs()
    assert synthesis.flow is not None
    expected = landmark_flow_loss(
        synthesis.flow, batch.appearance_landmarks_px, batch.landmarks_px, CROP_SIDE_PX
    )
    assert torch.equal(losses(synthesis, make_images(2), batch)["flow"], expected)
    with pytest.raises(ValueError, match="the loss `flow` needs a generator with the appearance path 'warp'"):
        losses(Synthesis(synthesis.image, None), make_images(2), batch)


def test_stages_without_adversarial_weights_have_no_discriminator() -> None:
    context = StageContext(TOY, toy_parents())
    weights = NONE | {"pixel": 1.0}
    first = MotionStage(context, MotionStageSettings(weights=MotionWeights(**weights), pictures=PICTURES))
    third = ExpressionStage(
        context, ExpressionStageSettings(weights=ExpressionWeights(**weights), pictures=PICTURES)
    )
    for stage in (first, third):
        assert stage.adversary is None
        assert "discriminator" not in stage.saved
    assert set(first.model(make_pairs()).losses) == {"pixel"}
    assert set(third.model(make_windows()).losses) == {"pixel", "decorrelation", "lip"}


def test_stage3_losses_of_weight_0_are_not_computed() -> None:
    weights = ExpressionWeights(**NONE | {"pixel": 1.0}, decorrelation=0.0, lip=0.0)
    settings = ExpressionStageSettings(weights=weights, pictures=PICTURES)
    stage = ExpressionStage(StageContext(TOY, toy_parents()), settings)
    assert set(stage.model(make_windows()).losses) == {"pixel"}


def test_stage3_starts_from_a_stage1_without_discriminator() -> None:
    parents = toy_parents()
    first = parents["stage1_motion"]
    assert first.has("discriminator")
    kept = {key: value for key, value in first.tensors.items() if not key.startswith("discriminator.")}
    parents["stage1_motion"] = StageWeights("stage1 of run 'x'", kept)
    assert not parents["stage1_motion"].has("discriminator")
    stage = ExpressionStage(StageContext(TOY, parents), ExpressionStageSettings(pictures=PICTURES))
    key = "generator.convs.0.conv.weight"
    assert torch.equal(collect(stage.saved)[key], kept[key])
    assert "discriminator" in stage.saved


def test_cached_features_need_a_frozen_trunk() -> None:
    with pytest.raises(ValueError, match=r"cache_features needs trunk_rate_factor 0 .*, got 1\.0"):
        MotionStageSettings(cache_features=True)
