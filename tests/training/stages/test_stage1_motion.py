from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from tests.factories.training.stages import TOY, random_frames, row_facts
from tests.factories.training.toy_run import parent_parts, toy_parents
from training.data.batches import ClipPairs
from training.engine.optimizer import OptimizerStep, weighted_total
from training.engine.settings import TrainerSettings
from training.engine.stage_weights import collect
from training.stages.adversary import AdversarySettings
from training.stages.stage import StageContext
from training.stages.stage1_motion import MotionStage, MotionStageSettings

ROWS = 3


def make_stage(settings: MotionStageSettings | None = None) -> MotionStage:
    torch.manual_seed(0)
    return MotionStage(StageContext(TOY, toy_parents()), settings or MotionStageSettings())


def make_batch(real: tuple[bool, ...] = (True,) * ROWS) -> ClipPairs:
    frames = [random_frames(ROWS, seed=seed) for seed in (1, 2)]
    return ClipPairs(row_facts(ROWS, real=real), appearance=frames[0], driving=frames[1])


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
    stage = make_stage(MotionStageSettings(adversary=AdversarySettings(r1=r1)))
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
    stage = make_stage()
    assert stage.adversary is not None
    result = stage.model.train()(make_batch())
    assert result.real is not None
    assert result.generated is not None
    assert result.real.shape == result.generated.shape == (ROWS, 3, TOY.image_side_px, TOY.image_side_px)
    output = stage.adversary(result.real, result.generated.detach())
    assert set(result.losses) | set(output.losses) == set(stage.loss_weights)


def test_stage1_loss_networks_are_frozen() -> None:
    stage = make_stage()
    networks = {name: stage.model.get_submodule(name) for name in ("perceptual", "vgg")}
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

    def copy(appearance: Tensor, driving: Tensor) -> Tensor:
        del driving
        return appearance

    stage.model.reconstruct = copy  # pyright: ignore[reportArgumentType]
    batch = make_batch()
    same = ClipPairs(batch.facts, appearance=batch.driving, driving=batch.driving)
    losses = stage.model.eval()(same).losses
    zero = {name: value.item() for name, value in losses.items() if name != "adversarial"}
    assert zero == pytest.approx(dict.fromkeys(zero, 0.0), abs=1e-6)


def test_stage1_metrics_count_real_rows() -> None:
    stage = make_stage()
    stage.model.eval()
    stage.model.reconstruct = lambda appearance, driving: driving * 0.9 + appearance * 0.1  # pyright: ignore[reportArgumentType]
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
        MotionStage(StageContext(TOY, parents), MotionStageSettings())


def test_stage1_trunk_can_start_from_perception() -> None:
    stage = make_stage(MotionStageSettings(start_trunk_from_perception=True))
    perception = parent_parts()["perception"]["perception"]
    torch.testing.assert_close(
        collect({"trunk": stage.saved["motion.model"]}),
        collect({"trunk": perception.get_submodule("trunk")}),
        rtol=0,
        atol=0,
    )


def test_stage1_noise_can_be_frozen() -> None:
    stage = make_stage(MotionStageSettings(generator_noise=False))
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
