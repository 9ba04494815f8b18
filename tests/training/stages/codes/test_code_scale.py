"""Issue 14: unscaled, the motion codes drown in the style vector."""

import math

import pytest
import torch

from models.style_vector import StyleVector, StyleWidths
from training.engine.stage_weights import StageWeights, collect
from training.stages.codes.code_scale import MOTION_CODES, UNSCALED, CodeScale, CodeShares

WIDTHS = StyleWidths(appearance=256, lip=64, expression=30, eye=6, pose=6)
# Standard deviations of one dimension, as far apart as those of the released layout's first codes.
DEVIATIONS = {"lip": 0.3, "expression": 0.1, "eye": 0.02, "pose": 0.01}
SHARES = CodeShares(lip=0.3, expression=0.1, eye=0.2, pose=0.4)


def make_styles(rows: int = 2000) -> StyleVector:
    source = torch.Generator().manual_seed(0)
    codes = {
        name: 5.0 + deviation * torch.randn(rows, getattr(WIDTHS, name), generator=source)
        for name, deviation in DEVIATIONS.items()
    }
    return StyleVector(appearance=torch.rand(rows, WIDTHS.appearance, generator=source), **codes)


def contributions(style: StyleVector) -> dict[str, float]:
    """Standard deviation over rows of what each code adds to a modulation factor, over random layers."""
    source, vectors = torch.Generator().manual_seed(1), style.to_vector()
    weights = torch.randn(4000, WIDTHS.total, generator=source) / math.sqrt(WIDTHS.total)
    parts = zip(
        style.codes(), vectors.split(WIDTHS.as_tuple(), 1), weights.split(WIDTHS.as_tuple(), 1), strict=True
    )
    return {
        name: float((code @ weight.T).var(dim=0).mean().sqrt())
        for name, code, weight in parts
        if name in MOTION_CODES
    }


def test_codes_do_not_drown_in_the_style_vector() -> None:
    styles, scale = make_styles(), CodeScale()
    assert max(contributions(styles)[name] for name in ("eye", "pose")) < 0.01
    scale.measure(styles, SHARES)
    assert contributions(scale(styles)) == pytest.approx(
        {name: getattr(SHARES, name) for name in MOTION_CODES}, rel=0.1
    )
    assert torch.equal(scale(styles).appearance, styles.appearance)


def test_default_shares_are_comparable() -> None:
    shares = vars(CodeShares())
    assert set(shares) == set(MOTION_CODES)
    assert min(shares.values()) >= max(shares.values()) / 3 > 0


def test_code_scale_hand_values() -> None:
    # Variance 1 in each of 2 dimensions of a vector of 8: √(2 / 8) = .5.
    pair = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    constant = torch.full((2, 1), 3.0)
    scale = CodeScale()
    scale.measure(StyleVector(torch.zeros(2, 2), pair, constant, 10 * pair, constant), CodeShares(eye=0.2))
    # A constant code keeps factor 1.
    torch.testing.assert_close(scale.factors, torch.tensor([0.3 / 0.5, 1.0, 0.2 / 5.0, 1.0]))


def test_share_0_leaves_codes_as_they_are() -> None:
    styles, scale = make_styles(8), CodeScale()
    scale.measure(styles, UNSCALED)
    assert scale.factors.tolist() == [1.0] * 4
    assert torch.equal(scale(styles).to_vector(), styles.to_vector())


def test_code_scale_is_saved_and_loaded() -> None:
    styles, scale, loaded = make_styles(8), CodeScale(), CodeScale()
    scale.measure(styles, SHARES)
    StageWeights("toy", collect({"code_scale": scale})).load_into("code_scale", loaded)
    assert torch.equal(loaded.factors, scale.factors)
    assert not torch.equal(loaded(styles).pose, styles.pose)
    assert loaded.line() == scale.line()
