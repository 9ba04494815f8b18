"""The generator's `warp` path: the portrait moved by flows and blended in."""

import math

import pytest
import torch
from torch import Tensor

from models.generator import START_LOGIT, Generator, GeneratorConfig
from models.portrait_warp import (
    REFINEMENT_BOUND,
    SMALLEST_DEVIATION,
    CoarseFlow,
    Portrait,
    PortraitPyramid,
    Standardise,
    WarpHead,
    smooth,
    warp_by_flow,
)

CONFIG = GeneratorConfig(
    style_width=10,
    start_side_px=4,
    channels=(6, 5, 4, 3),
    appearance_path="warp",
    skip_count=2,
    appearance_width=6,
    motion_feature_width=5,
)
SIDE_PX = 32


def make_generator(config: GeneratorConfig = CONFIG) -> Generator:
    torch.manual_seed(0)
    return Generator(config)


def make_inputs() -> tuple[Tensor, Tensor, Portrait]:
    source = torch.Generator().manual_seed(1)
    style, maps = torch.randn(2, 10, generator=source), torch.randn(2, 6, 4, 4, generator=source)
    image = torch.rand(2, 3, SIDE_PX, SIDE_PX, generator=source) * 2 - 1
    return style, maps, Portrait(image, torch.randn(2, 5, generator=source))


def numbered(height: int, width: int) -> Tensor:
    return torch.arange(float(height * width)).reshape(1, 1, height, width)


def test_zero_flow_returns_the_pixels() -> None:
    image = make_inputs()[2].image
    assert torch.equal(warp_by_flow(image, torch.zeros(2, 2, SIDE_PX, SIDE_PX)), image)
    maps = numbered(3, 5)  # neither square nor a power of two
    torch.testing.assert_close(warp_by_flow(maps, torch.zeros(1, 2, 3, 5)), maps, rtol=1e-5, atol=1e-5)


def test_flow_is_in_half_sides_and_repeats_edges() -> None:
    maps, flow = numbered(4, 8), torch.zeros(1, 2, 4, 8)
    flow[:, 0] = 2 / 8  # one pixel of eight: samples the right neighbour
    expected = torch.cat([maps[..., 1:], maps[..., -1:]], dim=3)
    torch.testing.assert_close(warp_by_flow(maps, flow), expected)
    flow = torch.zeros(1, 2, 4, 8)
    flow[:, 1] = -2 / 4  # one pixel of four: samples the neighbour above
    expected = torch.cat([maps[:, :, :1], maps[:, :, :-1]], dim=2)
    torch.testing.assert_close(warp_by_flow(maps, flow), expected)
    flow[:, 1] = -1 / 4
    torch.testing.assert_close(warp_by_flow(maps, flow)[0, 0, 1], (maps[0, 0, 0] + maps[0, 0, 1]) / 2)


def test_smoothing_spreads_a_displacement_over_nine_pixels() -> None:
    flow = torch.zeros(1, 2, 15, 15)
    flow[0, 0, 7, 7] = 625.0
    smoothed = smooth(flow)
    # 5 x 5 ones twice: along each axis 1, 2, 3, 4, 5, 4, 3, 2, 1.
    triangle = torch.tensor([1.0, 2, 3, 4, 5, 4, 3, 2, 1])
    torch.testing.assert_close(smoothed[0, 0, 3:12, 3:12], torch.outer(triangle, triangle))
    assert smoothed[0, 1].abs().max() == 0
    torch.testing.assert_close(smooth(torch.full((1, 2, 4, 6), 0.5)), torch.full((1, 2, 4, 6), 0.5))


def test_warp_positions_keep_float32_under_bfloat16_maps() -> None:
    ramp = (torch.arange(128.0) / 64 - 1).expand(1, 1, 128, 128)
    flow = torch.full((1, 2, 128, 128), 0.3 * 2 / 128)  # .3 px
    exact, rounded = warp_by_flow(ramp, flow), warp_by_flow(ramp.bfloat16(), flow)
    assert rounded.dtype == torch.bfloat16
    # bfloat16's own steps below 1 are 2⁻⁸; positions in bfloat16 would add a pixel's 2⁻⁶.
    assert (exact - rounded.float()).abs().max() <= 2**-8


def test_warp_head_starts_without_motion_and_adds_to_the_coarser_flow() -> None:
    head, maps = WarpHead(3), torch.randn(1, 3, 4, 4)
    still = torch.zeros(1, 2, 2, 2)
    flow, gate = head(maps, still)
    assert flow.shape == (1, 2, 4, 4)
    assert not flow.any()
    assert torch.equal(gate, torch.full((1, 1, 4, 4), 0.5))
    assert torch.equal(head(maps, torch.full((1, 2, 2, 2), 0.25))[0], torch.full((1, 2, 4, 4), 0.25))
    assert head.conv.bias is not None
    with torch.no_grad():
        head.conv.bias[:] = torch.tensor([100.0, math.atanh(0.5), 0.0])
    refinement = torch.tensor([REFINEMENT_BOUND, REFINEMENT_BOUND / 2])
    flow, _ = head(maps, still)
    torch.testing.assert_close(flow[0, :, 0, 0], refinement)
    flow, _ = head(maps, torch.full((1, 2, 2, 2), 0.25))
    torch.testing.assert_close(flow[0, :, 3, 1], refinement + 0.25)


def test_pyramid_shapes_are_smallest_first() -> None:
    maps = PortraitPyramid((5, 4, 3))(torch.zeros(2, 3, 16, 16))
    assert [tuple(level.shape) for level in maps] == [(2, 5, 4, 4), (2, 4, 8, 8), (2, 3, 16, 16)]


def test_coarse_flow_is_zero_before_training_and_reads_both_inputs() -> None:
    torch.manual_seed(0)
    network, motion, feature = CoarseFlow(4, 5, 8), torch.randn(2, 4), torch.randn(2, 5)
    flow = network(motion, feature)
    assert flow.shape == (2, 2, 8, 8)
    assert not flow.any()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    (flow - 1).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        after = network(motion, feature)
        assert after.any()
        assert not torch.equal(network(motion + 1, feature), after)
        assert not torch.equal(network(motion, feature + 1), after)


def test_standardise_hand_values() -> None:
    rows = torch.tensor([[1.0, 4.0], [3.0, 4.0]])  # means 2 and 4, deviations 1 and 0
    standardise = Standardise(2)
    assert torch.equal(standardise(rows), rows)
    standardise.measure(3 * rows, to_unit_variance=False)
    assert torch.equal(standardise(3 * rows), torch.tensor([[-3.0, 0.0], [3.0, 0.0]]))
    standardise.measure(3 * rows, to_unit_variance=True)
    torch.testing.assert_close(standardise(3 * rows), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    # A constant dimension is divided by the smallest deviation, not by 0.
    torch.testing.assert_close(standardise.factor, torch.tensor([1 / 3, 1 / SMALLEST_DEVIATION]))
    loaded = Standardise(2)
    loaded.load_state_dict(standardise.state_dict())
    assert torch.equal(loaded(rows), standardise(rows))


def test_flow_moves_the_whole_portrait() -> None:
    style, maps, portrait = make_inputs()
    generator = make_generator()
    with torch.no_grad():
        generator.blend.weight.zero_()
        generator.blend.get_parameter("bias").fill_(100.0)  # shows the portrait alone
        by_level = generator.coarse_flow.out.get_parameter("bias").unflatten(0, (2, 16, 16))
        by_level[0] = 2 * 2 / SIDE_PX  # samples two pixels to the right
        synthesis = generator.synthesise(style, maps, "off", portrait=portrait)
    assert synthesis.flow is not None
    assert synthesis.flow.shape == (2, 2, SIDE_PX, SIDE_PX)
    torch.testing.assert_close(synthesis.flow[:, 0], torch.full((2, SIDE_PX, SIDE_PX), 4 / SIDE_PX))
    assert not synthesis.flow[:, 1].any()
    torch.testing.assert_close(synthesis.image[..., :-2], portrait.image[..., 2:], rtol=1e-4, atol=1e-4)


def test_first_picture_is_mostly_the_portrait() -> None:
    style, maps, portrait = make_inputs()
    image = portrait.image
    generator = make_generator()
    share = 1 / (1 + math.exp(-START_LOGIT))
    with torch.no_grad():
        generator.blend.weight.zero_()  # leaves the bias: the same share everywhere
        for head in generator.warps:  # the portrait's features reach the decoder through these alone
            head.get_parameter("conv.bias")[2] = -1e4
        black, given = (
            generator(style, maps, "off", portrait=Portrait(shown, portrait.motion_feature))
            for shown in (torch.zeros_like(image), image)
        )
    torch.testing.assert_close(given - black, share * image, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        generated = make_generator()(style, maps, "off", portrait=portrait)
    assert (generated - image).abs().mean() < 0.5 * image.abs().mean()


def test_gradients_reach_every_part_of_the_warp_path() -> None:
    generator = make_generator()
    style, maps, portrait = make_inputs()
    with torch.no_grad():
        for head in generator.warps:  # from zero weights no gradient passes through to the decoder's maps
            head.get_parameter("conv.weight").normal_()
        generator.coarse_flow.out.weight.normal_(std=0.01)
    generator(style, maps, "off", portrait=portrait).square().sum().backward()
    for part in ("pyramid", "coarse_flow", "warps", "blend"):
        named = dict(generator.get_submodule(part).named_parameters())
        assert named
        still = [name for name, value in named.items() if value.grad is None or not value.grad.any()]
        assert still == [], part


def test_map_path_has_the_released_keys_only() -> None:
    layers = ["conv1", "convs.0", "convs.1"]
    keys = {
        *(f"{layer}.{key}" for layer in layers for key in ("activate.bias", "noise.weight", "conv.weight")),
        *(f"{layer}.conv.modulation.{key}" for layer in layers for key in ("weight", "bias")),
        *(f"{image}.{key}" for image in ("to_rgb1", "to_rgbs.0") for key in ("bias", "conv.weight")),
        *(
            f"{image}.conv.modulation.{key}"
            for image in ("to_rgb1", "to_rgbs.0")
            for key in ("weight", "bias")
        ),
        *("convs.0.conv.blur.kernel", "to_rgbs.0.upsample.kernel"),
        *(f"noises.noise_{layer}" for layer in range(3)),
    }
    plain = Generator(GeneratorConfig(style_width=10, start_side_px=4, channels=(6, 4)))
    assert set(plain.state_dict()) == keys
    warping = GeneratorConfig(10, 4, (6, 4), appearance_path="warp", skip_count=1, appearance_width=6)
    added = set(Generator(warping).state_dict()) - keys
    assert {key.split(".")[0] for key in added} == {"pyramid", "coarse_flow", "warps", "blend"}


def test_warp_path_needs_the_portraits() -> None:
    generator, (style, maps, portrait) = make_generator(), make_inputs()
    with pytest.raises(ValueError, match="the appearance path 'warp' needs the portrait, got None"):
        generator(style, maps)
    with pytest.raises(ValueError, match=r"portrait must be \[B, 3, 32, 32\], got \[2, 3, 16, 16\]"):
        generator(style, maps, portrait=Portrait(portrait.image[..., :16, :16], portrait.motion_feature))
    with pytest.raises(
        ValueError, match="as many portraits as styles, got 1 images, 1 motion features and 2"
    ):
        generator(style, maps, portrait=Portrait(portrait.image[:1], portrait.motion_feature[:1]))
    with pytest.raises(
        ValueError, match="as many portraits as styles, got 2 images, 1 motion features and 2"
    ):
        generator(style, maps, portrait=Portrait(portrait.image, portrait.motion_feature[:1]))
    with pytest.raises(ValueError, match=r"portrait.motion_feature must be \[B, 5\], got \[2, 4\]"):
        generator(style, maps, portrait=Portrait(portrait.image, portrait.motion_feature[:, :4]))
    with pytest.raises(ValueError, match="skip_count must be 1 to 1, got 3"):
        GeneratorConfig(channels=(6, 4), appearance_path="warp")
    with pytest.raises(ValueError, match="appearance_width must be below style_width 618, got 2048"):
        GeneratorConfig(style_width=618, appearance_path="warp")
