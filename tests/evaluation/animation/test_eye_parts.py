"""Gaze, blinks and the rest of an eye code, each by a strength of its own."""

from pathlib import Path

import pytest
import torch

from evaluation.animation.eye_parts import OFFICIAL_EYE_PARTS, EyeParts, measured_parts, parts_of_dimensions
from evaluation.animation.loading import load_talking_head
from evaluation.animation.rendering import eye_strength
from evaluation.animation.request import Strengths
from tests.factories.evaluation.head_files import fitted_axes, publish_toy_run
from tests.factories.evaluation.pixel_head import pixel_head
from training.engine.stage_weights import StageWeights
from training.stages.codes.eye_axes import EyeAxes

OBLIQUE = EyeParts(  # gaze along (1, 0, 0), blinks along (1, 1, 0)
    gaze=torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    blink=torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
)


def test_strength_scales_each_part_separately() -> None:
    change = torch.tensor([3.0, 2.0, 5.0])  # 1 of gaze, 2 of blinks, 5 of neither
    for strengths, expected in {
        (1.0, 1.0, 1.0): [3.0, 2.0, 5.0],
        (1.0, 0.0, 0.0): [1.0, 0.0, 0.0],
        (0.0, 1.0, 0.0): [2.0, 2.0, 0.0],
        (0.0, 0.0, 1.0): [0.0, 0.0, 5.0],
        (3.0, 0.5, 0.0): [4.0, 1.0, 0.0],
    }.items():
        assert (change @ OBLIQUE.strength(*strengths)).tolist() == expected


def test_blink_strength_0_does_not_change_gaze() -> None:
    gaze_alone = torch.tensor([1.5, 0.0, 0.0])
    assert (gaze_alone @ OBLIQUE.strength(1.0, 0.0, 1.0)).tolist() == gaze_alone.tolist()


def test_official_parts_are_diagonal() -> None:
    strength = OFFICIAL_EYE_PARTS.strength(gaze=2.0, blink=0.5, rest=0.3)
    assert torch.equal(strength, torch.diag(torch.tensor([0.5, 0.5, 2.0, 2.0, 0.5, 0.5])))


def test_equal_strengths_are_a_factor() -> None:
    for parts in (OFFICIAL_EYE_PARTS, None):
        head, _ = pixel_head(eye_parts=parts)
        assert eye_strength(head, Strengths()) == 1.0
        assert eye_strength(head, Strengths(eye=0.5, gaze=0.5)) == 0.5
    head, _ = pixel_head(eye_parts=parts_of_dimensions(6, gaze=(0,), blink=(1,)))
    both = eye_strength(head, Strengths(gaze=0.0, blink=0.0))
    assert torch.equal(torch.as_tensor(both), torch.diag(torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])))


@pytest.mark.usefixtures("toy_presets")
def test_measured_parts_are_those_of_the_eye_stage(tmp_path: Path) -> None:
    head = load_talking_head("able", publish_toy_run(tmp_path, "able", eye_axes=fitted_axes()), "cpu")
    assert head.eye_parts is not None
    expected = parts_of_dimensions(6, gaze=(0, 1), blink=(2, 3))
    torch.testing.assert_close(head.eye_parts.gaze, expected.gaze, atol=0.02, rtol=0)
    torch.testing.assert_close(head.eye_parts.blink, expected.blink, atol=0.02, rtol=0)
    assert load_talking_head("old", publish_toy_run(tmp_path, "old"), "cpu").eye_parts is None


def test_measured_parts_rejects_incomplete_axes() -> None:
    assert measured_parts(StageWeights("old", {"motion.to_eye.0.bias": torch.zeros(1)})) is None
    whole = {f"eye_axes.{name}": value for name, value in EyeAxes().state_dict().items()}
    with pytest.raises(ValueError, match="were never fitted"):
        measured_parts(StageWeights("unfinished", whole))
    del whole["eye_axes.axes"]
    with pytest.raises(ValueError, match=r"torn: eye_axes does not fit EyeAxes .*axes: missing"):
        measured_parts(StageWeights("torn", whole))
