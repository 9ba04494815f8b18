import math

import pytest
import torch
from torch import Tensor

from models.perception import Perceived, PerceptionNetwork
from tests.factories.training.stages import TOY, TOY_SIDE_PX, random_frames, row_facts
from training.data.augmentation.pictures import ColourJitter, MotionAugmentation
from training.data.batches import LabelledFrames
from training.losses.codes.pose import PoseScale
from training.stages.perception import PerceptionStage, PerceptionStageSettings, distance_to_mean
from training.stages.stage import StageContext

ROWS = 4
PLAIN = MotionAugmentation(
    colour=ColourJitter(brightness=0.0, contrast=0.0, saturation=0.0, hue_turns=0.0),
    perspective=0.0,
    perspective_probability=0.0,
)
SETTINGS = PerceptionStageSettings(
    augmentation=PLAIN, pose_scale=PoseScale(angle_rad=0.2, translation_cm=2.0)
)


def make_stage(settings: PerceptionStageSettings = SETTINGS) -> PerceptionStage:
    torch.manual_seed(0)
    return PerceptionStage(StageContext(TOY, {}), settings)


def make_batch(real: tuple[bool, ...] = (True,) * ROWS) -> LabelledFrames:
    rng = torch.Generator().manual_seed(3)

    def label(*shape: int) -> Tensor:
        return torch.rand(ROWS, *shape, generator=rng)

    return LabelledFrames(
        row_facts(ROWS, real=real),
        frames=random_frames(ROWS),
        pose=label(6),
        gaze=label(2),
        blink=label(2),
        landmarks_px=label(478, 3) * (TOY_SIDE_PX - 1),
    )


def network_of(stage: PerceptionStage) -> PerceptionNetwork:
    network = stage.saved["perception"]
    assert isinstance(network, PerceptionNetwork)
    return network


def test_perception_losses_match_reference() -> None:
    stage, batch = make_stage(), make_batch()
    network = network_of(stage).eval()
    perceived: Perceived = network(batch.frames.float() / 127.5 - 1)
    losses = stage.model(batch).losses
    pixels = (perceived.landmarks + 1) / 2 * TOY_SIDE_PX - 0.5  # edge to edge -> first pixel's centre is 0
    shut = perceived.blink
    by_hand = {
        "landmarks": (pixels - batch.landmarks_px[..., :2]).abs().mean() / (TOY_SIDE_PX / 2),
        "pose": (perceived.pose - batch.pose / torch.tensor([0.2, 0.2, 0.2, 2, 2, 2])).abs().mean(),
        "gaze": (perceived.gaze - batch.gaze).abs().mean(),
        "blink": -(batch.blink * shut.log() + (1 - batch.blink) * (1 - shut).log()).mean(),
    }
    torch.testing.assert_close(dict(losses), by_hand, rtol=1e-4, atol=1e-5)
    assert set(losses) == set(stage.loss_weights)


def test_perception_trains_every_weight() -> None:
    stage = make_stage(PerceptionStageSettings())
    torch.stack(list(stage.model.train()(make_batch()).losses.values())).sum().backward()
    still = [n for n, p in stage.model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


def test_perception_metrics_count_real_rows() -> None:
    stage, batch = make_stage(), make_batch(real=(True, True, False, True))
    network = network_of(stage).eval()
    with torch.no_grad():
        figures = {figure.name: figure for figure in stage.held_out([batch])}
        perceived: Perceived = network(batch.frames[[0, 1, 3]].float() / 127.5 - 1)
    rows = [0, 1, 3]
    assert {figure.rows for figure in figures.values()} == {3}
    degrees = (perceived.pose[:, :3] * 0.2 - batch.pose[rows, :3]).abs().mean() * 180 / math.pi
    assert figures["pose error"].value == pytest.approx(degrees.item(), rel=1e-4)
    pixels = (perceived.landmarks + 1) / 2 * TOY_SIDE_PX - 0.5
    error_px = (pixels - batch.landmarks_px[rows][..., :2]).abs().mean()
    assert figures["landmarks error"].value == pytest.approx(error_px.item(), rel=1e-4)
    blink = batch.blink[rows]
    assert figures["blink error"].chance == pytest.approx(
        (blink - blink.mean(0)).abs().mean().item(), rel=1e-4
    )


def test_distance_to_mean() -> None:
    assert distance_to_mean(torch.tensor([[0.0, 10.0], [2.0, 10.0]])).item() == 0.5
