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
from training.data.batches import LabelledFrames, RowFacts
from training.engine.stage_weights import collect
from training.losses.codes.pose import PoseScale, pose_loss
from training.stages.stage2_pose import PoseStage, PoseStageSettings

ROWS = 4
SCALE = PoseScale(angle_rad=0.5, translation_cm=4.0)


def make_batch(pose: Tensor | None = None, real: tuple[bool, ...] = (True,) * ROWS) -> LabelledFrames:
    generator = torch.Generator().manual_seed(0)
    return LabelledFrames(
        row_facts(ROWS, real=real),
        frames=random_frames(ROWS),
        pose=torch.randn(ROWS, 6, generator=generator) if pose is None else pose,
        gaze=torch.zeros(ROWS, 2),
        blink=torch.zeros(ROWS, 2),
        landmarks_px=torch.zeros(ROWS, 478, 3),
    )


def make_stage(settings: PoseStageSettings | None = None) -> PoseStage:
    torch.manual_seed(0)
    return PoseStage(context_on_stage1(), settings or PoseStageSettings(scale=SCALE))


class Always(nn.Module):
    """The same code for every frame."""

    def __init__(self, code: list[float]) -> None:
        super().__init__()
        self.code = torch.tensor(code)

    @override
    def forward(self, frames: Tensor, facts: RowFacts) -> Tensor:
        del facts
        return self.code.expand(*frames.shape[:2], 6)


def saying(code: list[float]) -> PoseStage:
    """A stage whose code is always the same."""
    stage = make_stage()
    stage.pose_model.motion_feature = Always(code)  # pyright: ignore[reportAttributeAccessIssue]
    stage.pose_model.to_headpose = stage.pose_model.headpose_embed = nn.Sequential()
    return stage


def test_pose_stage_trains_the_pose_head_only() -> None:
    stage = make_stage()
    result = stage.model.train()(make_batch())
    assert set(result.losses) == set(stage.loss_weights)
    result.losses["pose"].backward()
    assert parts_with_gradients(stage.model) == {"to_headpose", "headpose_embed"}
    trained = {f"motion.{name}" for name, p in stage.model.named_parameters() if p.requires_grad}
    assert trained == {name for name in collect(stage.saved) if name.endswith(("weight", "bias"))}


def test_pose_stage_trunk_is_frozen() -> None:
    stage = make_stage()
    stage.model.train()
    before = collect({"trunk": stage.pose_model.motion_feature})
    optimizer = torch.optim.Adam([p for p in stage.model.parameters() if p.requires_grad], lr=0.1)
    stage.model(make_batch()).losses["pose"].backward()
    optimizer.step()
    torch.testing.assert_close(collect({"trunk": stage.pose_model.motion_feature}), before, rtol=0, atol=0)


def test_pose_stage_loss_uses_the_scale() -> None:
    stage, batch = make_stage(), make_batch()
    model = stage.pose_model.eval()
    code = model.headpose_embed(
        model.to_headpose(model.motion_feature(batch.frames[:, None], batch.facts)[:, 0])
    )
    torch.testing.assert_close(stage.model(batch).losses["pose"], pose_loss(code, batch.pose, SCALE))
    # A code of ones is half a radian and four centimetres.
    right = torch.tensor([[0.5, 0.5, 0.5, 4.0, 4.0, 4.0]]).expand(ROWS, 6)
    assert saying([1.0] * 6).model(make_batch(right)).losses["pose"].item() == 0


def test_pose_metrics_are_in_degrees_and_centimetres() -> None:
    # The code says 90 degrees of pitch, -45 of yaw, none of roll, and 2, 0, -4 cm.
    quarter = math.pi / 2
    stage = saying([quarter / 0.5, -quarter / 2 / 0.5, 0.0, 0.5, 0.0, -1.0])
    # Off by 90, 45, 10 and 2, 0, 4; by 60, 45, 10 and 2, 3, 4; then by none; the last row fills up.
    ten = math.radians(10)
    labels = torch.tensor(
        [
            [0.0, 0.0, ten, 0.0, 0.0, 0.0],
            [math.radians(30), 0.0, -ten, 0.0, 3.0, 0.0],
            [quarter, -quarter / 2, 0.0, 2.0, 0.0, -4.0],
            [9.0, 9.0, 9.0, 99.0, 99.0, 99.0],
        ]
    )
    figures = {f.name: f for f in stage.held_out([make_batch(labels, (True, True, True, False))])}
    values = {name: figure.value for name, figure in figures.items()}
    assert values == pytest.approx(
        {
            "head angle error": (50 + 30 + 20 / 3) / 3,
            "head pitch error": 50.0,
            "head yaw error": 30.0,
            "head roll error": 20 / 3,
            "head translation error": (4 / 3 + 1 + 8 / 3) / 3,
        },
        rel=1e-5,
    )
    # Chance answers with the median label: 30, 0 and 0 degrees, 0, 0 and 0 cm.
    assert {name: figure.chance for name, figure in figures.items()} == pytest.approx(
        {
            "head angle error": (30 + 15 + 20 / 3) / 3,
            "head pitch error": 30.0,
            "head yaw error": 15.0,
            "head roll error": 20 / 3,
            "head translation error": (2 / 3 + 1 + 4 / 3) / 3,
        },
        rel=1e-5,
    )
    assert {figure.rows for figure in figures.values()} == {3}
    assert [name for name, figure in figures.items() if figure.decides] == ["head angle error"]


def test_pose_metric_of_constant_predictions() -> None:
    batch = make_batch()
    median = batch.pose.median(dim=0).values
    for answer in (batch.pose.mean(dim=0), median, torch.zeros(6)):
        code = torch.cat([answer[:3] / 0.5, answer[3:] / 4.0]).tolist()
        # An answer that is a median itself may be off by the last bit.
        assert all(f.value >= (f.chance or 0) - 1e-5 for f in saying(code).held_out([batch]))


def test_pose_metric_needs_a_real_row() -> None:
    with pytest.raises(ValueError, match="the held-out batches have no real row"):
        make_stage().held_out([dataclasses.replace(make_batch(), facts=row_facts(ROWS, real=[False] * ROWS))])


def test_pose_stage_loss_decreases() -> None:
    stage, batch = make_stage(), make_batch()
    stage.model.train()
    optimizer = torch.optim.Adam([p for p in stage.model.parameters() if p.requires_grad], lr=1e-2)
    losses = list[float]()
    for _ in range(40):
        loss = stage.model(batch).losses["pose"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
