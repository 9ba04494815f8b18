import dataclasses
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from models.appearance import Appearance
from models.generator import Synthesis
from models.portrait_warp import Portrait
from models.presets import NetworkPreset
from tests.factories.training.stages import (
    TOY,
    TOY_WARP,
    random_frames,
    random_landmarks,
    row_facts,
    trained_flow,
)
from tests.factories.training.toy_run import ALL_PICTURE_WEIGHTS, PICTURES, parent_parts, toy_parents
from training.data.batches import ClipPairs
from training.engine.optimizer import OptimizerStep, weighted_total
from training.engine.settings import TrainerSettings
from training.engine.stage_weights import collect
from training.stages.pictures.adversary import AdversarySettings
from training.stages.stage import StageContext
from training.stages.stage1_motion import MotionModel, MotionStage, MotionStageSettings, MotionWeights

ROWS = 3
SETTINGS = MotionStageSettings(pictures=PICTURES, weights=MotionWeights(**ALL_PICTURE_WEIGHTS))


def make_stage(settings: MotionStageSettings = SETTINGS, networks: NetworkPreset = TOY_WARP) -> MotionStage:
    torch.manual_seed(0)
    stage = MotionStage(StageContext(networks, toy_parents(networks)), settings)
    trained_flow(model_of(stage).generator)
    return stage


def model_of(stage: MotionStage) -> MotionModel:
    assert isinstance(stage.model, MotionModel)
    return stage.model


def make_batch(real: tuple[bool, ...] = (True,) * ROWS) -> ClipPairs:
    frames = [random_frames(ROWS, seed=seed) for seed in (1, 2)]
    landmarks = [random_landmarks(ROWS, seed=seed) for seed in (1, 2)]
    return ClipPairs(row_facts(ROWS, real=real), *frames, *landmarks, identity=torch.arange(ROWS))


def without_gradient(named: Mapping[str, Tensor]) -> list[str]:
    return [name for name, value in named.items() if value.grad is None or not value.grad.abs().max() > 0]


def test_stage1_model_step_gradients() -> None:
    stage = make_stage()
    assert stage.adversary is not None
    result = stage.model.train()(make_batch())
    weighted_total(result.losses, stage.loss_weights).backward()
    trained = {name: value for name, value in stage.model.named_parameters() if value.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"appearance", "motion", "generator"}
    assert without_gradient(trained) == []
    assert all(value.grad is None for value in stage.adversary.parameters())
    assert all(value.requires_grad for value in stage.adversary.parameters())


@pytest.mark.parametrize("r1", [0.0, 0.5])
def test_stage1_adversary_step_gradients(r1: float) -> None:
    stage = make_stage(SETTINGS.replace(adversary=AdversarySettings(r1=r1)))
    assert stage.adversary is not None
    result = stage.model.train()(make_batch())
    assert result.real is not None
    assert result.generated is not None
    # The trainer detaches both.
    output = stage.adversary(result.real.detach(), result.generated.detach())
    assert set(output.losses) == {"discriminator"} | ({"r1"} if r1 else set())
    weighted_total(output.losses, stage.loss_weights).backward()
    assert all(value.grad is None for value in stage.model.parameters())
    assert any(
        value.grad is not None and value.grad.abs().max() > 0 for value in stage.adversary.parameters()
    )


def test_stage1_losses_have_weights() -> None:
    stage = make_stage(SETTINGS.replace(weights=SETTINGS.weights.replace(identity=1.0)))
    model_of(stage).add_classifier(ROWS)
    assert stage.adversary is not None
    result = stage.model.train()(make_batch())
    assert result.real is not None
    assert result.generated is not None
    assert result.real.shape == result.generated.shape == (ROWS, 3, TOY.image_side_px, TOY.image_side_px)
    output = stage.adversary(result.real, result.generated.detach())
    assert set(result.losses) | set(output.losses) == set(stage.loss_weights)


def test_stage1_loss_networks_are_frozen() -> None:
    stage = make_stage()
    names = ("picture_losses.perceptual", "picture_losses.vgg")
    networks = {name: stage.model.get_submodule(name) for name in names}
    before = collect(networks)
    step = OptimizerStep(
        stage.model.train(),
        stage.model,
        stage.loss_weights,
        stage.optimizer,
        TrainerSettings(steps=1, batch_size=ROWS),
    )
    for number in range(2):
        step.step(number, make_batch())
    assert not any(network.training for network in networks.values())
    torch.testing.assert_close(collect(networks), before, rtol=0, atol=0)


def test_stage1_losses_of_a_perfect_reconstruction() -> None:
    stage = make_stage()

    def copy(encoded: Appearance, portrait: Portrait, motion_feature: Tensor) -> Synthesis:
        del encoded, motion_feature
        return Synthesis(portrait.image, torch.zeros_like(portrait.image[:, :2]))

    model_of(stage).generate = copy
    batch = make_batch()
    same = dataclasses.replace(batch, appearance=batch.driving, appearance_landmarks_px=batch.landmarks_px)
    losses = stage.model.eval()(same).losses
    zero = {name: value.item() for name, value in losses.items() if name != "adversarial"}
    assert zero == pytest.approx(dict.fromkeys(zero, 0.0), abs=1e-6)


def test_stage1_metrics_count_real_rows() -> None:
    stage = make_stage()
    stage.model.eval()
    model = model_of(stage)
    model.motion = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]

    def blend(appearance: Tensor, motion_feature: Tensor, appearance_feature: Tensor) -> Synthesis:
        del appearance
        return Synthesis(motion_feature * 0.9 + appearance_feature * 0.1, None)

    model.reconstruct = blend
    with torch.no_grad():
        whole = stage.held_out([make_batch()])
        part = stage.held_out([make_batch(real=(True, True, False))])
    assert [figure.rows for figure in whole] == [ROWS, ROWS]
    assert [figure.rows for figure in part] == [ROWS - 1, ROWS - 1]
    assert part[0].value != whole[0].value
    # A tenth of the difference: 20 dB better than copying.
    for psnr in (whole[0], part[0]):
        assert psnr.chance is not None
        assert psnr.value - psnr.chance == pytest.approx(20, abs=1e-3)
        assert psnr.beats_chance


def test_stage1_rejects_parent_of_another_preset() -> None:
    parents = toy_parents()
    weights = dict(parents["perception"].tensors)
    weights["perception.gaze.bias"] = torch.zeros(3)
    parents["perception"] = type(parents["perception"])("perception of run 'x'", weights)
    with pytest.raises(
        ValueError, match=r"perception of run 'x': perception does not fit .* gaze\.bias: \[3\] in the"
    ):
        MotionStage(StageContext(TOY, parents), SETTINGS)


def test_stage1_trunk_can_start_from_perception() -> None:
    stage = make_stage(SETTINGS.replace(start_trunk_from_perception=True))
    perception = parent_parts()["perception"]["perception"]
    torch.testing.assert_close(
        collect({"trunk": stage.saved["motion.model"]}),
        collect({"trunk": perception.get_submodule("trunk")}),
        rtol=0,
        atol=0,
    )


def test_stage1_noise_can_be_frozen() -> None:
    stage = make_stage(SETTINGS.replace(generator_noise=False))
    model = stage.model.train()
    step = OptimizerStep(
        model, model, stage.loss_weights, stage.optimizer, TrainerSettings(steps=1, batch_size=ROWS)
    )
    step.step(0, make_batch())
    named = dict(model.named_parameters())
    held = {name: value for name, value in named.items() if name.endswith("noise.weight")}
    assert held
    assert not any(value.any() for value in held.values())
    trained = {name: value for name, value in named.items() if value.requires_grad}
    assert held.keys().isdisjoint(trained)
    assert without_gradient(trained) == []


def test_stage1_frozen_trunk_gets_no_gradient_and_stays_in_evaluation_mode() -> None:
    stage = make_stage(SETTINGS.replace(trunk_rate_factor=0.0, start_trunk_from_perception=True))
    model = model_of(stage)
    model.train()
    assert model.appearance.training
    assert not any(module.training for module in model.motion.modules())
    before = collect({"trunk": model.motion})
    step = OptimizerStep(
        model, model, stage.loss_weights, stage.optimizer, TrainerSettings(steps=1, batch_size=ROWS)
    )
    step.step(0, make_batch())
    assert all(value.grad is None for value in model.motion.parameters())
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"appearance", "generator"}
    torch.testing.assert_close(collect({"trunk": model.motion}), before, rtol=0, atol=0)
    assert "motion." not in model.part_optimizers()


def test_stage1_trained_trunk_follows_the_mode() -> None:
    model = model_of(make_stage(SETTINGS.replace(trunk_rate_factor=0.1))).train()
    assert model.motion.training
    rate = model.part_optimizers()["motion."].learning_rate
    assert rate == pytest.approx(0.1 * SETTINGS.optimizer.learning_rate)


def test_stage1_map_path_has_no_flow_loss() -> None:
    settings = SETTINGS.replace(weights=SETTINGS.weights.replace(flow=0.0, flow_local=0.0, flow_bending=0.0))
    losses = set(make_stage(settings, TOY).model.train()(make_batch()).losses)
    assert losses == set(make_stage().model.train()(make_batch()).losses) - {
        *("flow", "flow_local", "flow_bending")
    }
