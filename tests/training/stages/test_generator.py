import pytest
import torch

from models.generator import Generator
from tests.factories.training.stages import TOY
from training.engine.stage_weights import StageWeights, collect
from training.stages.generator import first_generator_config, start_from_first


def test_start_from_first_keeps_the_appearance() -> None:
    torch.manual_seed(0)
    first, final = Generator(first_generator_config(TOY)), Generator(TOY.generator)
    start_from_first(final, StageWeights("stage1", collect({"generator": first})), TOY)
    appearance = TOY.style_widths.appearance
    code, maps = torch.randn(2, appearance), torch.randn(2, 16, 4, 4)
    styles = [torch.zeros(2, network.config.style_width) for network in (first, final)]
    for style in styles:
        style[:, :appearance] = code
    assert styles[0].shape != styles[1].shape
    with torch.no_grad():
        images = [
            network(style, maps, noise="off") for network, style in zip((first, final), styles, strict=True)
        ]
        with_motion = final(styles[1] + 1, maps, noise="off")
        stored = [
            network(style, maps, noise="stored")
            for network, style in zip((first, final), styles, strict=True)
        ]
    torch.testing.assert_close(images[1], images[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stored[1], stored[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(with_motion, images[1], atol=1e-2)


def test_start_from_first_rejects_other_generators() -> None:
    weights = collect({"generator": Generator(first_generator_config(TOY))})
    key = "generator.to_rgb1.bias"
    assert key in weights
    with pytest.raises(
        ValueError, match=r"stage1 holds no generator of this preset: \['to_rgb1\.bias: \[1\] t"
    ):
        start_from_first(
            Generator(TOY.generator), StageWeights("stage1", weights | {key: torch.zeros(1)}), TOY
        )
    del weights[key]
    with pytest.raises(ValueError, match=r"stage1 holds no generator of this preset: \['to_rgb1\.bias'\]"):
        start_from_first(Generator(TOY.generator), StageWeights("stage1", weights), TOY)
