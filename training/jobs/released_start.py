"""Initialise a stage's networks with the authors' released weights, part by part."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.generator import Generator
from models.official import OfficialNetworks, load_official
from models.presets import NetworkPreset
from training.engine.stage_weights import StageWeights, collect
from training.stages.pictures.generator import start_from_first
from training.stages.stage import Stage


def load_released(stage: Stage[Any], folder: Path, networks: NetworkPreset) -> tuple[str, ...]:
    """Load the released weights into what a stage trains.

    Stage 1's generator has a narrower style than the released one, so the columns of the motion codes stay
    random. No discriminator was released; it stays as it is.

    Args:
        stage: as built, before its first step.
        folder: of the four released files.
        networks: the preset of the stage, which must be the files' layout.

    Returns:
        The parts that were loaded, as the stage's weights name them.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file does not fit the preset's networks.
    """
    # Building the released networks must not change the random state.
    with torch.random.fork_rng(devices=[]):
        released = load_official(folder, networks)
    loaded: list[str] = []
    for part, network in stage.saved.items():
        if part == "generator":
            assert isinstance(network, Generator)
            _load_generator(network, released.generator, networks)
        elif (source := _released_part(released, part)) is not None:
            network.load_state_dict(source.state_dict())
        else:
            continue
        loaded.append(part)
    return tuple(loaded)


def _load_generator(generator: Generator, released: Generator, networks: NetworkPreset) -> None:
    if generator.config == released.config:
        generator.load_state_dict(released.state_dict())
        return
    given = StageWeights("the released generator", collect({"generator": released}))
    start_from_first(generator, given, networks)


def _released_part(released: OfficialNetworks, part: str) -> nn.Module | None:
    """The released network's part of that name; None where none was released."""
    network, _, inner = part.partition(".")
    if part == "appearance":
        return released.appearance
    if part == "lip_code":  # of the audio feature, with which the released networks drive lips
        return released.audio.mouth_embed
    if network == "motion":
        return released.motion.get_submodule(inner)
    return released.audio.get_submodule(inner) if network == "audio" else None
