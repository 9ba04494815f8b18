import pytest
import torch
from torch import Tensor
from typing_extensions import override

from models.generator import Generator
from models.portrait_warp import Portrait
from models.presets import NetworkPreset
from tests.factories.training.stages import TOY, TOY_SIDE_PX, TOY_WARP, trained_flow
from training.engine.optimizer import OptimizerStep
from training.engine.settings import OptimizerSettings, TrainerSettings
from training.engine.stage_weights import StageWeights, collect
from training.stages.pictures import generator as generator_module
from training.stages.pictures.generator import (
    PLAIN_LAYERS_RATE,
    first_generator_config,
    generator_optimizers,
    start_from_first,
    start_from_motion_feature,
)
from training.stages.stage import LossModule


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


APPEARANCE = TOY.style_widths.appearance
CODES = TOY.style_widths.total - APPEARANCE
SILENT = slice(TOY.style_widths.lip, TOY.style_widths.lip + TOY.style_widths.expression)
RATE = OptimizerSettings(learning_rate=2e-3)


def make_codes(rows: int) -> tuple[Tensor, Tensor]:
    """Motion codes of variance about 1, and motion features that the codes but the silent ones determine."""
    source = torch.Generator().manual_seed(2)
    codes = torch.randn(rows, CODES, generator=source) + 0.5
    linear = torch.randn(CODES, TOY.motion.trunk.feature_width, generator=source) / CODES**0.5
    linear[SILENT] = 0.0
    return codes, codes @ linear + 3.0


def started_pair(networks: NetworkPreset) -> tuple[Generator, Generator, Tensor, Tensor]:
    """G0, G, codes and features."""
    torch.manual_seed(0)
    first, final = Generator(first_generator_config(networks)), Generator(networks.generator)
    trained_flow(first)
    codes, features = make_codes(400)
    if networks.generator.appearance_path == "warp":
        for part in (first.coarse_flow.motion, first.coarse_flow.portrait):
            part.measure(features, to_unit_variance=True)
    weights = StageWeights("stage1", collect({"generator": first}))
    start_from_first(final, weights, networks)
    start_from_motion_feature(final, weights, codes.clone(), features, SILENT)
    return first, final, codes, features


@pytest.mark.parametrize("networks", [TOY, TOY_WARP], ids=["map", "warp"])
def test_start_from_motion_feature_moves_as_the_first(
    networks: NetworkPreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator_module, "RIDGE", 1e-7)  # the codes determine the feature
    first, final, codes, features = started_pair(networks)
    rows = 4
    source = torch.Generator().manual_seed(3)
    code, maps = (
        torch.randn(rows, APPEARANCE, generator=source),
        torch.randn(rows, 16, 4, 4, generator=source),
    )
    image = torch.rand(rows, 3, TOY_SIDE_PX, TOY_SIDE_PX, generator=source) * 2 - 1
    portrait = Portrait(image, features[rows : 2 * rows])
    with torch.no_grad():
        expected = first.synthesise(torch.cat([code, features[:rows]], dim=1), maps, "off", portrait=portrait)
        actual = final.synthesise(torch.cat([code, codes[:rows]], dim=1), maps, "off", portrait=portrait)
        other = final(torch.cat([code, codes[rows : 2 * rows]], dim=1), maps, "off", portrait=portrait)
    torch.testing.assert_close(actual.image, expected.image, rtol=0, atol=1e-4)
    assert (actual.image - other).abs().max() > 1e-2
    if networks is TOY_WARP:
        assert actual.flow is not None
        assert actual.flow.abs().max() > 1e-2
        torch.testing.assert_close(actual.flow, expected.flow, rtol=0, atol=1e-4)


@pytest.mark.parametrize("networks", [TOY, TOY_WARP], ids=["map", "warp"])
def test_start_from_motion_feature_silences_the_expression(networks: NetworkPreset) -> None:
    _, final, codes, _ = started_pair(networks)
    columns = [
        value[:, APPEARANCE:]
        for key, value in final.state_dict().items()
        if key.endswith("modulation.weight")
    ]
    if networks is TOY_WARP:
        columns.append(final.coarse_flow.from_motion.weight)
        torch.testing.assert_close(final.coarse_flow.motion.mean, codes.mean(dim=0))
        assert torch.equal(final.coarse_flow.motion.factor, torch.ones(CODES))
    assert len(columns) == len(final.convs) + len(final.to_rgbs) + 2 + (networks is TOY_WARP)
    for value in columns:
        assert not value[:, SILENT].any()
        assert value[:, : SILENT.start].any()
        assert value[:, SILENT.stop :].any()


class GeneratorAlone(LossModule):
    """A stage's model that is a generator."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    @override
    def part_optimizers(self) -> dict[str, OptimizerSettings]:
        return generator_optimizers(self.generator, RATE)


def test_plain_parts_of_the_warp_path_learn_slowly() -> None:
    generator = Generator(TOY_WARP.generator)
    settings = generator_optimizers(generator, RATE)
    rates = {prefix: part.learning_rate for prefix, part in settings.items()}
    plain = PLAIN_LAYERS_RATE * RATE.learning_rate
    assert rates == {
        "generator.coarse_flow.": plain,
        "generator.warps.": plain,
        "generator.blend.": plain,
        "generator.pyramid.": plain,
        "generator.": RATE.learning_rate,
    }
    # The first prefix that fits counts.
    assert list(settings)[-1] == "generator."


def test_optimizer_takes_the_plain_parts_rate() -> None:
    model = GeneratorAlone(Generator(TOY_WARP.generator))
    step = OptimizerStep(
        model, model, {}, OptimizerSettings(learning_rate=1.0), TrainerSettings(steps=1, batch_size=1)
    )
    rates = {parameter: group["lr"] for group in step.optimizer.param_groups for parameter in group["params"]}
    named = {name: rates[value] for name, value in model.named_parameters()}
    plain = {name for name, rate in named.items() if rate == PLAIN_LAYERS_RATE * RATE.learning_rate}
    assert {name.split(".")[1] for name in plain} == {"coarse_flow", "warps", "blend", "pyramid"}
    others = {name: rate for name, rate in named.items() if name not in plain}
    assert set(others.values()) == {RATE.learning_rate}
    assert {name.split(".")[1] for name in others} == {"conv1", "to_rgb1", "convs", "to_rgbs"}


def test_map_path_has_one_rate() -> None:
    assert generator_optimizers(Generator(TOY.generator), RATE) == {"generator.": RATE}
