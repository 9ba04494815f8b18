import dataclasses

import pytest
import torch
from torch import Tensor, nn

from models.presets import NetworkPreset
from tests.factories.training.stages import (
    TOY,
    TOY_WARP,
    random_frames,
    random_landmarks,
    row_facts,
    trained_flow,
)
from tests.factories.training.toy_run import ALL_PICTURE_WEIGHTS, PICTURES, toy_parents
from training.data.batches import ExpressionWindows
from training.engine.optimizer import OptimizerStep, weighted_total
from training.engine.settings import TrainerSettings
from training.engine.stage_weights import collect
from training.jobs.plan import RUN_PRESETS
from training.losses.codes.decorrelation import decorrelation_loss
from training.losses.codes.label_readout import label_readout_loss
from training.stages.codes.readouts import EXPRESSION_SCALES_CM
from training.stages.expression_model import ExpressionModel, ExpressionStageSettings, ExpressionWeights
from training.stages.held_out_metrics import CorrelationMetric, YawLeakage
from training.stages.stage import FrozenNetwork, StageContext
from training.stages.stage3_expression import ExpressionStage

ROWS, FRAMES = 3, 3
SETTINGS = ExpressionStageSettings(
    memory_rows=4, pictures=PICTURES, weights=ExpressionWeights(**ALL_PICTURE_WEIGHTS)
)
TRAINED = {"expression_head", "expression_code", "lip_code", "generator"}


def make_stage(
    settings: ExpressionStageSettings = SETTINGS, networks: NetworkPreset = TOY_WARP
) -> ExpressionStage:
    torch.manual_seed(0)
    stage = ExpressionStage(StageContext(networks, toy_parents(networks)), settings)
    trained_flow(model_of(stage).generator)
    return stage


def model_of(stage: ExpressionStage) -> ExpressionModel:
    assert isinstance(stage.model, ExpressionModel)
    return stage.model


def make_batch(seed: int = 1, real: tuple[bool, ...] = (True,) * ROWS) -> ExpressionWindows:
    mels = torch.rand(ROWS, 1, 80, 20, generator=torch.Generator().manual_seed(seed))
    window = random_frames(ROWS, FRAMES, seed=seed)
    appearance = random_frames(ROWS, seed=seed + 1)
    landmarks = [random_landmarks(ROWS, seed=seed) for seed in (1, 2)]
    return ExpressionWindows(row_facts(ROWS, real=real), appearance, window, mels, *landmarks)


def decorrelate(model: ExpressionModel, expression: Tensor, audio_feature: Tensor) -> Tensor:
    return model._decorrelation(expression, audio_feature)  # pyright: ignore[reportPrivateUsage]


def parts_with_gradients(module: nn.Module) -> set[str]:
    return {
        name.split(".")[0]
        for name, value in module.named_parameters()
        if value.grad is not None and value.grad.abs().max() > 0
    }


def test_stage3_model_step_gradients() -> None:
    stage = make_stage()
    assert stage.adversary is not None
    result = stage.model.train()(make_batch())
    weighted_total(result.losses, stage.loss_weights).backward()
    assert parts_with_gradients(stage.model) == TRAINED
    assert {n.split(".")[0] for n, p in stage.model.named_parameters() if p.requires_grad} == TRAINED
    assert all(value.grad is None for value in stage.adversary.parameters())
    assert all(value.requires_grad for value in stage.adversary.parameters())


def test_stage3_adversary_step_gradients() -> None:
    stage = make_stage()
    assert stage.adversary is not None
    result = stage.model.train()(make_batch())
    assert result.real is not None
    assert result.generated is not None
    output = stage.adversary(result.real.detach(), result.generated.detach())
    weighted = {name for name, weight in stage.loss_weights.items() if weight}
    assert set(output.losses) | set(result.losses) == weighted
    output.losses["discriminator"].backward()
    assert parts_with_gradients(stage.model) == set()
    assert parts_with_gradients(stage.adversary) == {"network"}


def test_stage3_frozen_networks_do_not_change() -> None:
    stage = make_stage()
    frozen = {name: part for name, part in stage.model.named_modules() if isinstance(part, FrozenNetwork)}
    assert set(frozen) == {"picture_losses.perceptual", "picture_losses.vgg"} | {
        f"encoders.{name}" for name in ("appearance", "trunk", "lip", "eye", "pose", "audio")
    }
    before = collect(frozen)
    step = OptimizerStep(
        stage.model.train(),
        stage.model,
        stage.loss_weights,
        stage.optimizer,
        TrainerSettings(steps=1, batch_size=ROWS),
    )
    for number in range(2):
        step.step(number, make_batch(number))
    assert not any(part.training for part in frozen.values())
    torch.testing.assert_close(collect(frozen), before, rtol=0, atol=0)


def test_stage3_readout_reaches_two_dimensions_of_the_expression_code() -> None:
    weights = ExpressionWeights(**ALL_PICTURE_WEIGHTS, expression_readout=1.0)
    stage = make_stage(SETTINGS.replace(weights=weights))
    labels = torch.rand(ROWS, FRAMES, 2, generator=torch.Generator().manual_seed(2))
    result = stage.model.train()(dataclasses.replace(make_batch(), expression_labels=labels))
    result.losses["expression_readout"].backward()
    assert parts_with_gradients(stage.model) == {"expression_head", "expression_code"}
    (weight,) = (
        layer.weight for layer in model_of(stage).expression_code.modules() if isinstance(layer, nn.Linear)
    )
    assert weight.grad is not None
    assert (weight.grad.abs().amax(dim=1) > 0).tolist() == [True, True, False, False, False]


def test_stage3_decorrelation_reaches_expression_only() -> None:
    stage = make_stage()
    stage.model.train()
    with torch.no_grad():
        stage.model(make_batch(5))
    stage.model(make_batch()).losses["decorrelation"].backward()
    assert parts_with_gradients(stage.model) == {"expression_head", "expression_code"}


def test_stage3_decorrelation_has_no_other_gradient() -> None:
    model = model_of(make_stage())
    model.train()
    e, a = (torch.randn(ROWS, width, requires_grad=True) for width in (5, 16))
    past_e, past_a = (torch.randn(ROWS, width, requires_grad=True) for width in (5, 16))
    decorrelate(model, past_e * 1, past_a * 1)
    loss = decorrelate(model, e, a)
    expected = decorrelation_loss(e, a, past_e.detach(), past_a.detach())
    assert loss.item() == expected.item() > 0
    loss.backward()
    assert e.grad is not None
    assert e.grad.abs().min() > 0
    assert (a.grad, past_e.grad, past_a.grad) == (None, None, None)


def test_stage3_banks_are_aligned_and_detached() -> None:
    model = model_of(make_stage())
    model.train()
    rows = [torch.randn(ROWS, width, requires_grad=True) for width in (5, 16)]
    decorrelate(model, *(value * 1 for value in rows))
    decorrelate(model, *(value * 2 for value in rows))
    # Four places: the last row of the first batch was in place 2, the second batch took 3, 0 and 1.
    order = [(1, 2.0), (2, 2.0), (2, 1.0), (0, 2.0)]
    for bank, value in zip((model.expression_bank, model.audio_bank), rows, strict=True):
        held = bank.latest()
        assert not held.requires_grad
        torch.testing.assert_close(held, torch.stack([factor * value.detach()[row] for row, factor in order]))


def test_stage3_evaluation_does_not_change_the_banks() -> None:
    stage = make_stage()
    with torch.no_grad():
        stage.model.eval()(make_batch())
        stage.held_out([make_batch()])
        stage.sample_grid(make_batch())
    assert len(model_of(stage).expression_bank) == 0


def test_stage3_gradient_reaches_every_window_frame() -> None:
    stage = make_stage()
    recorded: list[Tensor] = []

    def keep(module: nn.Module, given: object, codes: Tensor) -> None:
        del module, given
        codes.retain_grad()
        recorded.append(codes)

    model_of(stage).expression_code.register_forward_hook(keep)
    stage.model.train()(make_batch()).losses["pixel"].backward()
    (codes,) = recorded
    assert codes.shape == (ROWS * FRAMES, 5)
    assert codes.grad is not None
    by_frame = codes.grad.unflatten(0, (ROWS, FRAMES))
    assert by_frame.abs().amax(dim=2).min() > 0
    torch.testing.assert_close(by_frame, by_frame[:, :1].expand_as(by_frame))


def test_stage3_rank_state_round_trip() -> None:
    first, second = make_stage(), make_stage()
    first.model.train()
    with torch.no_grad():
        first.model(make_batch(1))
        first.model(make_batch(2))
    second.load_rank_state(first.rank_state())
    for name, value in first.rank_state().items():
        assert torch.equal(second.rank_state()[name], value)
    assert len(model_of(second).audio_bank) == 4
    with pytest.raises(ValueError, match="do not fit a bank"):
        make_stage(SETTINGS.replace(memory_rows=5)).load_rank_state(first.rank_state())
    with pytest.raises(ValueError, match="not a memory bank's state"):
        second.load_rank_state({})


def test_stage3_can_start_from_stage1() -> None:
    parents = toy_parents(TOY_WARP)["stage1_motion"].tensors
    name = next(key for key in parents if key.startswith("discriminator.") and key.endswith("bias"))
    for settings, alike in (
        (SETTINGS, True),
        (SETTINGS.replace(start_from_stage1=False), False),
    ):
        saved = collect(make_stage(settings).saved)
        assert torch.equal(saved[name], parents[name]) == alike
        key = "generator.convs.0.conv.weight"
        assert torch.equal(saved[key], parents[key]) == alike


def test_stage3_metrics_count_real_rows() -> None:
    stage = make_stage()
    stage.model.eval()
    with torch.no_grad():
        figures = stage.held_out([make_batch(real=(True, False, True)), make_batch(2)])
    assert [figure.name for figure in figures] == [
        "PSNR",
        "SSIM",
        "expression-audio correlation",
        "yaw gain of expression over pose",
    ]
    assert [figure.rows for figure in figures] == [2 * ROWS - 1] * 4


def test_correlation_metric_is_pearsons_r() -> None:
    e = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0]])
    a = torch.tensor([[2.0], [1.0], [4.0], [3.0]])
    tally = CorrelationMetric()
    tally.add(e[:3], a[:3])
    tally.add(e[3:], a[3:])
    figure = tally.metric()
    # r = 0.6 of the first with the sound; the second is constant and goes with nothing.
    assert figure.value == pytest.approx((0.36 / 2) ** 0.5, rel=1e-5)
    # The sounds moved on by 1, 2 and 3 rows: r = 0.2, -1 and 0.2.
    assert figure.chance == pytest.approx((0.2 + 1.0 + 0.2) / 3 / 2**0.5, rel=1e-5)
    assert not figure.decides


def test_stage3_noise_can_be_frozen() -> None:
    model = model_of(make_stage(SETTINGS.replace(generator_noise=False)))
    still = {name for name, value in model.generator.named_parameters() if not value.requires_grad}
    assert still == {name for name, _ in model.generator.named_parameters() if name.endswith("noise.weight")}
    assert still


def test_yaw_leakage_hand_values() -> None:
    leakage = YawLeakage()
    assert leakage.metrics() == []
    turns = torch.tensor([1.0, -2.0, 1.0])
    leakage.add(turns[:2], torch.tensor([0.5, -1.0]), torch.tensor([-0.2, 0.1]))
    leakage.add(turns[2:], torch.tensor([0.5]), torch.tensor([0.4]))
    (figure,) = leakage.metrics()
    # Slopes: (.5 + 2 + .5) / 6 = .5 of the pose, (-.2 - .2 + .4) / 6 = 0 of the expression.
    assert figure.value == pytest.approx(0.0, abs=1e-6)
    leakage.add(torch.tensor([2.0]), torch.tensor([-1.0]), torch.tensor([-1.0]))
    (figure,) = leakage.metrics()
    # (3 - 2) / 10 = .1 and -2 / 10 = -.2; the sign does not count.
    assert figure.value == pytest.approx(2.0, rel=1e-5)
    assert (figure.chance, figure.rows, figure.higher_is_better, figure.decides) == (1.0, 4, False, False)


def test_stage3_map_path_has_no_flow_loss() -> None:
    weights = SETTINGS.weights.replace(flow=0.0, flow_local=0.0, flow_bending=0.0)
    stage = make_stage(SETTINGS.replace(weights=weights), TOY)
    assert stage.adversary is not None
    losses = set(stage.model.train()(make_batch()).losses)
    assert losses == set(make_stage().model.train()(make_batch()).losses) - {
        *("flow", "flow_local", "flow_bending")
    }


def test_stage3_readout_compares_codes_as_the_generator_gets_them() -> None:
    stage = make_stage(SETTINGS.replace(weights=ExpressionWeights(expression_readout=1.0)))
    model = model_of(stage).train()
    labels = torch.rand(ROWS, FRAMES, 2, generator=torch.Generator().manual_seed(2))
    batch = dataclasses.replace(make_batch(), expression_labels=labels)
    model.code_scale.factors.fill_(20.0)
    with torch.no_grad():
        raw = model.frame_expressions(model.window_features(batch, augmented=True))[..., :2]
        loss = model(batch).losses["expression_readout"]
    assert loss.item() == pytest.approx(label_readout_loss(20.0 * raw, labels, EXPRESSION_SCALES_CM).item())


def test_mixed_rows_take_pose_and_eyes_of_other_rows() -> None:
    model = model_of(make_stage())
    rows = model.encode(make_batch())
    mixed = model.mixed.mix(rows, 2)
    codes, given = mixed.rows.style.codes(), rows.style.codes()
    assert mixed.sources == {"pose": [1, 2], "eye": [2, 0], "lip": [0, 1]}
    for name, places in {"appearance": [0, 1], "expression": [0, 1], **mixed.sources}.items():
        assert torch.equal(codes[name], given[name][places])
    assert torch.equal(mixed.rows.portrait.image, rows.portrait.image[:2])


def test_codes_of_mixed_pictures_train_the_generator() -> None:
    weights = ExpressionWeights(
        **dict.fromkeys(ALL_PICTURE_WEIGHTS, 0.0), lip=0.0, decorrelation=0.0, codes=1.0
    )
    stage = make_stage(SETTINGS.replace(weights=weights))
    losses = stage.model.train()(make_batch()).losses
    assert set(losses) == {"codes"}
    losses["codes"].backward()
    assert "generator" in parts_with_gradients(stage.model)
    assert parts_with_gradients(stage.model) <= TRAINED


def test_control_consistency_is_off_by_default_and_in_paper() -> None:
    for weights in (ExpressionWeights(), RUN_PRESETS["paper"].stage("stage3_expression").settings.weights):
        assert (weights.controls, weights.codes) == (0, 0)
    assert RUN_PRESETS["starter"].stage("stage3_expression").settings.weights.controls > 0
