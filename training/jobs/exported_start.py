"""Initialise a stage's networks with an exported model, such as the starter model, part by part."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

import weights
from models.generator import Generator
from models.perception import PerceptionNetwork
from models.presets import NetworkPreset
from models.trunks.mesh_trunk import MeshTrunkConfig
from training.engine.stage_weights import StageWeights, read_weights
from training.jobs.config import EXPORTED_SUFFIX, STARTER_NAME
from training.stage_catalog import EYE_AXES_PART
from training.stages.pictures.generator import start_from_first
from training.stages.stage import Stage
from training.stages.stage1_motion import MotionStage

FACTS_KEY: Final = "pdfgc"  # of an exported file's metadata, see `evaluation.animation.exported_model`
STARTER_FILE: Final = Path(weights.__file__).parent / STARTER_NAME / f"starter{EXPORTED_SUFFIX}"
USED_NETWORKS: Final = ("appearance", "motion", "audio", "generator")


def exported_start(start_from: str) -> Path | None:
    """The exported file that `start_from` names; None if it means none, or the released networks."""
    if start_from == STARTER_NAME:
        return STARTER_FILE
    return Path(start_from).expanduser() if start_from.endswith(EXPORTED_SUFFIX) else None


def require_same_networks(file: Path, networks: NetworkPreset, preset: str) -> None:
    """Refuse an exported model of other networks than a preset's, by its header alone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no exported model, or its networks have other sizes.
    """
    if not file.is_file():
        raise FileNotFoundError(f"start_from: no file {file}")
    try:
        with safe_open(file, "pt") as opened:
            facts = json.loads((opened.metadata() or {})[FACTS_KEY])
        given = TypeAdapter(NetworkPreset).validate_python(facts["networks"])
    except (SafetensorError, KeyError, ValueError, ValidationError) as error:
        raise ValueError(f"start_from: {file} is no exported model of this version (pdfgc export)") from error
    given_trunk, trunk = given.motion.trunk, networks.motion.trunk
    if isinstance(given_trunk, MeshTrunkConfig) and isinstance(trunk, MeshTrunkConfig):
        # The side of the crops that it reads is no size of a network.
        given = dataclasses.replace(given, motion=dataclasses.replace(given.motion, trunk=trunk))
    other = [name for name in USED_NETWORKS if getattr(given, name) != getattr(networks, name)]
    if other:
        raise ValueError(
            f"start_from: {', '.join(other)} of {file} ({given.image_side_px} px) differ in size from preset "
            f"{preset}'s ({networks.image_side_px} px)"
        )


def load_exported(stage: Stage[Any], file: Path, networks: NetworkPreset) -> tuple[str, ...]:
    """Load an exported model into what a stage trains.

    `perception` takes the trunk; so does stage 1, unless it starts from perception's. Stage 1's generator
    reads other motion codes than the exported one, so those columns stay random. No discriminator is
    exported; it stays as it is. Stage 2 measures its eye axes itself.

    Args:
        stage: as built, before its first step.
        file: see `require_same_networks`.
        networks: the preset of the stage.

    Returns:
        The parts that were loaded, as the stage's weights name them.

    Raises:
        ValueError: a tensor is missing or has another shape.
    """
    raw = read_weights(file)
    single = {
        name: value.float() if value.is_floating_point() else value for name, value in raw.tensors.items()
    }
    given = StageWeights(str(file), single)
    own = {EYE_AXES_PART}
    if isinstance(stage, MotionStage) and stage.settings.start_trunk_from_perception:
        own.add("motion.model")
    parts = {part: network for part, network in stage.saved.items() if part not in own}
    return tuple(part for part, network in parts.items() if _load(part, network, given, networks))


def _load(part: str, network: nn.Module, given: StageWeights, networks: NetworkPreset) -> bool:
    if isinstance(network, PerceptionNetwork):
        given.load_into("motion.model", network.trunk)
    elif isinstance(network, Generator) and network.config != networks.generator:
        start_from_first(network, given, networks)
    elif given.has(part):
        given.load_into(part, network)
    else:
        return False
    return True
