"""What stages 1 and 3 share of the generator: its sizes in stage 1, its initialisation, its noise."""

import dataclasses
import math

import torch

from models.generator import Generator, GeneratorConfig
from models.modulated_convolution import NoiseStrength
from models.presets import NetworkPreset
from training.engine.stage_weights import StageWeights


def first_generator_config(networks: NetworkPreset) -> GeneratorConfig:
    """Stage 1's G0: the preset's generator with a style of appearance code and unified motion feature."""
    width = networks.style_widths.appearance + networks.motion.trunk.feature_width
    return dataclasses.replace(networks.generator, style_width=width)


def start_from_first(generator: Generator, first: StageWeights, networks: NetworkPreset) -> None:
    """Copy G0's weights into G (ours).

    They differ in the width of the style, and so in the layers that read it. Of those, the columns of the
    appearance code are copied, scaled so that they keep their effect; the columns of the motion codes, which
    G0 does not have, stay random.

    Raises:
        ValueError: `first` holds no generator of this preset.
    """
    appearance_width = networks.style_widths.appearance
    state = generator.state_dict()
    prefix = "generator."
    given = {
        key.removeprefix(prefix): value for key, value in first.tensors.items() if key.startswith(prefix)
    }
    misfits = sorted(set(state) ^ set(given)) or [
        f"{key}: {list(given[key].shape)} there, {list(value.shape)} here"
        for key, value in state.items()
        if not key.endswith("modulation.weight") and given[key].shape != value.shape
    ]
    if misfits:
        raise ValueError(f"{first.origin} holds no generator of this preset: {misfits[:4]}")
    with torch.no_grad():
        for key, value in state.items():
            if key.endswith("modulation.weight"):
                # The layer divides by the square root of its input's width.
                scale = math.sqrt(value.shape[1] / given[key].shape[1])
                value[:, :appearance_width] = given[key][:, :appearance_width] * scale
            else:
                value.copy_(given[key])


def freeze_noise(generator: Generator) -> None:
    """Exclude the noise strengths, which start at zero, from training: images then contain no noise.

    Feature losses against weak networks reward any texture, and noise is the easiest to make: with preset
    `tiny_cpu` it costs image quality (docs/log.md).
    """
    for module in generator.modules():
        if isinstance(module, NoiseStrength):
            module.requires_grad_(requires_grad=False)
