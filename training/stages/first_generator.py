"""The final generator begins where stage 1's ended (ours)."""

import math

import torch

from models.generator import Generator
from models.presets import NetworkPreset
from training.engine.stage_weights import StageWeights


def start_from_first(generator: Generator, first: StageWeights, networks: NetworkPreset) -> None:
    """Take over G0's weights into G.

    The two differ in the width of the style alone, so only the layers that read the style do: there the
    columns of the appearance's code are taken over, scaled so that they weigh what they weighed, and those
    of the motion codes, which G0 never saw, stay random.

    Raises:
        ValueError: `first` holds no generator of this preset.
    """
    appearance_width = networks.style_widths.appearance
    own = generator.state_dict()
    prefix = "generator."
    given = {
        key.removeprefix(prefix): value for key, value in first.tensors.items() if key.startswith(prefix)
    }
    misfits = sorted(set(own) ^ set(given)) or [
        f"{key}: {list(given[key].shape)} there, {list(value.shape)} here"
        for key, value in own.items()
        if not key.endswith("modulation.weight") and given[key].shape != value.shape
    ]
    if misfits:
        raise ValueError(f"{first.origin} holds no generator of this preset: {misfits[:4]}")
    with torch.no_grad():
        for key, value in own.items():
            if key.endswith("modulation.weight"):
                # The layer divides by the root of its input's width.
                scale = math.sqrt(value.shape[1] / given[key].shape[1])
                value[:, :appearance_width] = given[key][:, :appearance_width] * scale
            else:
                value.copy_(given[key])
