import dataclasses

import pytest
import torch
from torch import nn

from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.discriminator import MultiScaleDiscriminator
from models.external.face_reconstruction import FaceReconstruction
from models.external.vgg19 import VGG19Features
from models.generator import Generator
from models.motion import MotionEncoder
from models.portrait_warp import Portrait
from models.presets import OFFICIAL, PRESETS, SMALL, TINY, NetworkPreset, preset_named
from models.style_vector import StyleVector, StyleWidths
from tests.factories.models.weights import parameter_count


def test_official_preset_has_released_widths() -> None:
    assert OFFICIAL.image_side_px == 224
    assert OFFICIAL.style_widths == StyleWidths()


def test_small_preset_fits_together_at_96_px() -> None:
    assert SMALL.image_side_px == 96
    assert SMALL.generator.appearance_path == "warp"
    assert SMALL.style_widths == TINY.style_widths
    for name, width in (("appearance_width", 511), ("motion_feature_width", 129)):
        generator = dataclasses.replace(SMALL.generator, **{name: width})
        with pytest.raises(ValueError, match=rf"the networks of a preset do not fit together: .*{width}\)"):
            dataclasses.replace(SMALL, generator=generator)


def test_preset_rejects_networks_that_do_not_fit() -> None:
    audio = dataclasses.replace(TINY.audio, lip_width=63)
    with pytest.raises(ValueError, match=r"lip width.*\(64, 63\)"):
        dataclasses.replace(TINY, audio=audio)


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError,
        match="no preset 'huge'; there are official, official_warp, small, small_mesh, tiny, tiny_mesh",
    ):
        preset_named("huge")


def driven_by_itself(preset: NetworkPreset, image: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
    """A frame reconstructed from its own appearance, motion and audio, and scored; a scalar."""
    appearance = AppearanceEncoder(preset.appearance).train()(image)
    motion_encoder = MotionEncoder(preset.motion).train()
    motion, portrait = motion_encoder(image), Portrait(image, motion_encoder.motion_feature(image))
    lip = AudioEncoder(preset.audio).train()(mel).lip_code
    codes = (appearance.code, lip, motion.expression, motion.eye, motion.pose)
    style = StyleVector(*codes).to_vector()
    image = Generator(preset.generator).train()(style, appearance.map, portrait=portrait)
    outputs = MultiScaleDiscriminator(preset.discriminator).train()(image)
    features = VGG19Features(preset.vgg19)(image)
    coefficients = FaceReconstruction(preset.face_reconstruction).eval()(image)
    terms = [output.score.float().mean() for output in outputs] + [maps.float().mean() for maps in features]
    return torch.stack([*terms, coefficients.float().mean()]).sum()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_runs_on_the_device_of_its_inputs(name: str) -> None:
    """On the meta device: a tensor created on the CPU would raise."""
    preset = PRESETS[name]
    side_px = preset.image_side_px
    with torch.device("meta"):
        loss = driven_by_itself(preset, torch.zeros(2, 3, side_px, side_px), torch.zeros(2, 1, 80, 20))
    assert loss.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16 autocast"])
def test_tiny_preset_trains_on_a_cpu(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = driven_by_itself(TINY, torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 1, 80, 20))
    assert torch.isfinite(loss)
    loss.backward()


def test_tiny_preset_size() -> None:
    with torch.device("meta"):
        networks: list[nn.Module] = [
            AppearanceEncoder(TINY.appearance),
            MotionEncoder(TINY.motion),
            AudioEncoder(TINY.audio),
            Generator(TINY.generator),
            MultiScaleDiscriminator(TINY.discriminator),
        ]
    assert sum(parameter_count(network) for network in networks) < 4_000_000
