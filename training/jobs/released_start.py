"""A stage's networks begin as the authors' released ones, part by part."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.generator import Generator
from models.official import OfficialNetworks, load_official
from models.presets import NetworkPreset
from training.engine.stage_weights import StageWeights, collect
from training.stages.first_generator import start_from_first
from training.stages.stage import Stage


def begin_as_released(stage: Stage[Any], folder: Path, networks: NetworkPreset) -> tuple[str, ...]:
    """Put the released weights into what a stage trains.

    Stage 1's generator reads another style than the released one: it takes over all but the columns of the
    motion codes, which stay random. The discriminator was never released; it stays as it is.

    Args:
        stage: as built, before its first step.
        folder: of the four released files.
        networks: the preset that the stage was built with; the files are of `OFFICIAL`.

    Returns:
        The parts that were taken over, as the stage's weights name them.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file does not fit the preset's networks.
    """
    # What is drawn for weights that files replace is put back.
    with torch.random.fork_rng(devices=[]):
        released = load_official(folder, networks)
    taken: list[str] = []
    for part, network in stage.saved.items():
        if part == "generator":
            assert isinstance(network, Generator)
            _begin_generator(network, released.generator, networks)
        elif (source := _released_part(released, part)) is not None:
            network.load_state_dict(source.state_dict())
        else:
            continue
        taken.append(part)
    return tuple(taken)


def _begin_generator(own: Generator, released: Generator, networks: NetworkPreset) -> None:
    if own.config == released.config:
        own.load_state_dict(released.state_dict())
        return
    given = StageWeights("the released generator", collect({"generator": released}))
    start_from_first(own, given, networks)


def _released_part(released: OfficialNetworks, part: str) -> nn.Module | None:
    """The released network's part of that name; None where nothing like it was released."""
    network, _, inner = part.partition(".")
    if part == "appearance":
        return released.appearance
    if part == "lip_code":  # of the sound's feature, as the released networks drive lips
        return released.audio.mouth_embed
    if network == "motion":
        return released.motion.get_submodule(inner)
    return released.audio.get_submodule(inner) if network == "audio" else None
