import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from tests.factories.training.stages import (
    context_on_stage1,
    parts_with_gradients,
    random_frames,
    row_facts,
)
from training.data.augmentation.pictures import MotionAugmentation
from training.data.batches import EyeAnchors, RowFacts
from training.engine.stage_weights import collect
from training.losses.codes.eye_contrastive import eye_contrastive_loss
from training.stages.stage2_eye import EyeStage, EyeStageSettings

ROWS = 4


def make_batch(real: tuple[bool, ...] = (True,) * ROWS) -> EyeAnchors:
    eyes, base, anchor = (random_frames(ROWS, seed=seed) for seed in (1, 2, 3))
    return EyeAnchors(row_facts(ROWS, real=real), eyes=eyes, base=base, anchor=anchor)


def make_stage(settings: EyeStageSettings | None = None) -> EyeStage:
    torch.manual_seed(0)
    return EyeStage(context_on_stage1(), settings or EyeStageSettings())


class FirstPixel(nn.Module):
    """A code of 6 numbers that tells the level of a frame's first pixel (0 to 5)."""

    @override
    def forward(self, frames: Tensor, facts: RowFacts) -> Tensor:
        del facts
        return nn.functional.one_hot(frames[:, :, 0, 0, 0].long(), 6).float()


def level_batch(levels: list[tuple[int, int, int]], real: tuple[bool, ...]) -> EyeAnchors:
    """Rows whose v1, v2 and v_a have these levels."""
    frames = torch.tensor(levels).to(torch.uint8)[:, :, None, None, None].expand(-1, -1, 3, 32, 32)
    eyes, base, anchor = frames.unbind(dim=1)
    return dataclasses.replace(make_batch(real), eyes=eyes, base=base, anchor=anchor)


def reading_stage() -> EyeStage:
    """A stage whose codes are the levels of `level_batch`."""
    stage = make_stage()
    stage.eye_model.motion_feature = FirstPixel()  # pyright: ignore[reportAttributeAccessIssue]
    stage.eye_model.to_eye = stage.eye_model.eye_embed = nn.Sequential()
    return stage


def test_eye_stage_trains_the_eye_head_only() -> None:
    stage = make_stage()
    result = stage.model.train()(make_batch())
    assert set(result.losses) == set(stage.loss_weights)
    result.losses["eye"].backward()
    assert parts_with_gradients(stage.model) == {"to_eye", "eye_embed"}
    trained = {f"motion.{name}" for name, p in stage.model.named_parameters() if p.requires_grad}
    assert trained == {name for name in collect(stage.saved) if name.endswith(("weight", "bias"))}


def test_eye_stage_trunk_is_frozen() -> None:
    stage = make_stage()
    stage.model.train()
    before = collect({"trunk": stage.eye_model.motion_feature})
    optimizer = torch.optim.Adam([p for p in stage.model.parameters() if p.requires_grad], lr=0.1)
    stage.model(make_batch()).losses["eye"].backward()
    optimizer.step()
    torch.testing.assert_close(collect({"trunk": stage.eye_model.motion_feature}), before, rtol=0, atol=0)


def test_eye_stage_loss_matches_reference() -> None:
    stage, batch = make_stage(EyeStageSettings(temperature=0.25)), make_batch()
    model = stage.eye_model.eval()
    f_1, f_2, f_a = (
        model.eye_embed(model.to_eye(model.motion_feature(frames[:, None], batch.facts)[:, 0]))
        for frames in (batch.eyes, batch.base, batch.anchor)
    )
    assert f_1.shape == (ROWS, 6)
    torch.testing.assert_close(
        stage.model(batch).losses["eye"], eye_contrastive_loss(f_1, f_2, f_a, temperature=0.25)
    )


def test_eye_stage_positive_is_v1() -> None:
    right = level_batch([(0, 1, 0)] * ROWS, (True,) * ROWS)
    wrong = level_batch([(0, 1, 1)] * ROWS, (True,) * ROWS)
    stage = reading_stage()
    assert stage.model(right).losses["eye"].item() == pytest.approx(math.log(1 + 1 / math.e))
    assert stage.model(wrong).losses["eye"].item() == pytest.approx(math.log(1 + math.e))


def test_eye_stage_augments_frames_independently() -> None:
    same = make_batch()
    same = dataclasses.replace(same, base=same.eyes, anchor=same.eyes)
    model = make_stage(EyeStageSettings(augmentation=MotionAugmentation())).eye_model
    trained = model.train().codes(same)
    assert not torch.allclose(trained.f_1, trained.f_2, atol=1e-4)
    assert not torch.allclose(trained.f_2, trained.f_a, atol=1e-4)
    looked_at = model.eval().codes(same)
    torch.testing.assert_close(looked_at.f_1, looked_at.f_2)
    torch.testing.assert_close(looked_at.f_1, looked_at.f_a)


def test_eye_metric_counts_real_rows() -> None:
    # Like its eyes, like its face, like neither (a tie), and a row that only fills up.
    batch = level_batch([(0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 1, 0)], (True, True, True, False))
    (figure,) = reading_stage().held_out([batch, level_batch([(2, 3, 2)] * ROWS, (True,) * ROWS)])
    assert (figure.value, figure.chance, figure.rows) == (5 / 7, 0.5, 7)
    assert figure.decides
    assert figure.beats_chance


def test_eye_metric_of_constant_codes() -> None:
    (figure,) = reading_stage().held_out([level_batch([(1, 1, 1)] * ROWS, (True,) * ROWS)])
    assert figure.value == 0


def test_eye_metric_needs_a_real_row() -> None:
    with pytest.raises(ValueError, match="the held-out batches have no real row"):
        make_stage().held_out([make_batch(real=(False,) * ROWS)])


def test_eye_stage_loss_decreases() -> None:
    stage, batch = make_stage(EyeStageSettings(temperature=0.1)), make_batch()
    stage.model.train()
    optimizer = torch.optim.Adam([p for p in stage.model.parameters() if p.requires_grad], lr=3e-3)
    losses = list[float]()
    for _ in range(15):
        loss = stage.model(batch).losses["eye"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_eye_readout_trains_the_released_dimensions() -> None:
    stage = make_stage(EyeStageSettings(readout=1.0))
    frames = random_frames(ROWS, 3, seed=4)
    labels = torch.rand(ROWS, 3, 4, generator=torch.Generator().manual_seed(5))
    batch = dataclasses.replace(make_batch(), labelled=frames, eye_labels=labels)
    result = stage.model.train()(batch)
    assert set(result.losses) == set(stage.loss_weights)
    result.losses["readout"].backward()
    (weight,) = (layer.weight for layer in stage.eye_model.eye_embed if isinstance(layer, nn.Linear))
    assert weight.grad is not None
    assert (weight.grad.abs().amax(dim=1) > 0).tolist() == [True] * 4 + [False] * 2


def test_eye_readout_reads_cached_features_alike() -> None:
    stage = make_stage(EyeStageSettings(readout=1.0))
    frames = random_frames(ROWS, 3, seed=4)
    labels = torch.rand(ROWS, 3, 4, generator=torch.Generator().manual_seed(5))
    batch = dataclasses.replace(make_batch(), labelled=frames, eye_labels=labels)
    model = stage.eye_model.eval()
    features = model.motion_feature(frames, batch.facts)
    cached = dataclasses.replace(batch, labelled=features)
    torch.testing.assert_close(model(cached).losses["readout"], model(batch).losses["readout"])
