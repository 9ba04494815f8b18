"""What stages 1 and 3 share of the generator: its sizes in stage 1, its initialisation, its noise."""

import dataclasses
import math
from typing import Final

import torch
from torch import Tensor

from models.generator import Generator, GeneratorConfig
from models.modulated_convolution import NoiseStrength
from models.presets import NetworkPreset
from training.engine.settings import OptimizerSettings
from training.engine.stage_weights import StageWeights

MODULATION: Final = "modulation.weight"
CODE_DEPENDENT: Final = (
    "coarse_flow.from_motion.weight",
    "coarse_flow.motion.mean",
    "coarse_flow.motion.factor",
)
"""Ends of the names of tensors beside the modulation that depend on the motion codes' width."""


def generator_optimizers(generator: Generator, optimizer: OptimizerSettings) -> dict[str, OptimizerSettings]:
    """Optimizer settings of the generator's parts, by prefix of the stage's parameters.

    Layers of the appearance path `warp` are plain ones, whose weights start at the size in which they are
    used: they learn at a share of the modulated layers' rate.
    """
    plain = optimizer.replace(learning_rate=PLAIN_LAYERS_RATE * optimizer.learning_rate)
    warp = generator.config.appearance_path == "warp"
    return {f"generator.{part}.": plain for part in PLAIN_PARTS if warp} | {"generator.": optimizer}


PLAIN_PARTS: Final = ("coarse_flow", "warps", "blend", "pyramid")
PLAIN_LAYERS_RATE: Final = 0.15
"""Ours: with one rate for all, the flow jumps by tenths of the image at every step."""


def first_generator_config(networks: NetworkPreset) -> GeneratorConfig:
    """Stage 1's G0: the preset's generator with a style of appearance code and unified motion feature."""
    width = networks.style_widths.appearance + networks.motion.trunk.feature_width
    return dataclasses.replace(networks.generator, style_width=width)


def start_from_first(generator: Generator, first: StageWeights, networks: NetworkPreset) -> None:
    """Copy G0's weights into G (ours).

    They differ in the width of the style, and so in the layers that read it. Of those, the columns of the
    appearance code are copied, scaled so that they keep their effect; the columns of the motion codes, which
    G0 does not have, stay random (`start_from_motion_feature` sets them).

    Raises:
        ValueError: `first` holds no generator of this preset.
    """
    appearance_width = networks.style_widths.appearance
    state, given = generator.state_dict(), generator_state(first)
    misfits = sorted(set(state) ^ set(given)) or [
        f"{key}: {list(given[key].shape)} there, {list(value.shape)} here"
        for key, value in state.items()
        if not key.endswith((MODULATION, *CODE_DEPENDENT)) and given[key].shape != value.shape
    ]
    if misfits:
        raise ValueError(f"{first.origin} holds no generator of this preset: {misfits[:4]}")
    with torch.no_grad():
        for key, value in state.items():
            if key.endswith(MODULATION):
                # The layer divides by the square root of its input's width.
                scale = math.sqrt(value.shape[1] / given[key].shape[1])
                value[:, :appearance_width] = given[key][:, :appearance_width] * scale
            elif not key.endswith(CODE_DEPENDENT):
                value.copy_(given[key])


@torch.no_grad()
def start_from_motion_feature(
    generator: Generator, first: StageWeights, codes: Tensor, features: Tensor, silent: slice
) -> None:
    """Set the columns of the motion codes, so that G starts out moving as G0 does (ours).

    G0 reads the unified motion feature. A ridge regression predicts that feature from the codes, and G gets
    the product of G0's columns and the regression's.

    Args:
        generator: G, after `start_from_first`.
        first: stage 1's weights.
        codes: [N, C], the style's motion codes of training frames, scaled.
        features: [N, D], their unified motion features.
        silent: codes that get columns of zeros: the expression, which must not learn pose and lips from them.
    """
    given, appearance_width = generator_state(first), generator.config.appearance_width
    exact, target = codes.double(), features.double()
    mean, code_mean = target.mean(dim=0), exact.mean(dim=0)
    centred = exact - code_mean
    centred[:, silent] = 0.0
    covariance = centred.T @ centred / len(codes)
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
    fit = torch.linalg.solve(covariance + ridge, centred.T @ (target - mean) / len(codes))  # [C, D]
    fit[silent] = 0.0
    for key, value in generator.state_dict().items():
        if key.endswith(MODULATION):
            columns = given[key][:, appearance_width:].to(fit)
            scale = math.sqrt(value.shape[1] / given[key].shape[1])
            value[:, appearance_width:] = columns @ fit.T * scale
            bias = generator.get_parameter(key.removesuffix("weight") + "bias")
            bias += columns @ (mean - code_mean @ fit) / math.sqrt(given[key].shape[1])
    if generator.config.appearance_path == "warp":
        flow = generator.coarse_flow
        factor, offset = (given[f"coarse_flow.motion.{name}"].to(fit) for name in ("factor", "mean"))
        columns = given["coarse_flow.from_motion.weight"].to(fit) * factor
        flow.motion.measure(codes, to_unit_variance=False)
        flow.from_motion.weight.copy_(columns @ fit.T)
        flow.from_motion.bias.add_(columns @ (mean - offset))


def generator_state(first: StageWeights) -> dict[str, Tensor]:
    """The state dict of stage 1's generator."""
    prefix = "generator."
    return {key.removeprefix(prefix): value for key, value in first.tensors.items() if key.startswith(prefix)}


RIDGE: Final = 0.01  # of the codes' mean variance; ours


def freeze_noise(generator: Generator) -> None:
    """Exclude the noise strengths, which start at zero, from training: images then contain no noise.

    Feature losses against weak networks reward any texture, and noise is the easiest to make: with preset
    `tiny_cpu` it costs image quality (docs/log.md).
    """
    for module in generator.modules():
        if isinstance(module, NoiseStrength):
            module.requires_grad_(requires_grad=False)
