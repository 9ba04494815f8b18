"""A finished run as one file: the networks that animate a portrait, and the facts needed to build them.

The file is safetensors. Networks are float16, and float32 again when loaded; the eye axes, a linear fit of a
few numbers, keep their precision. `metadata["pdfgc"]` is a JSON object: `format`, `run`, `side_px`,
`networks` (sizes of all networks), `windows` (stage 3's, over which the expression code is averaged) and
`weights` (digest of each stage's weights). The same run gives the same bytes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from upath import UPath

from evaluation.animation.checkpoint_abilities import EXPORTED_SUFFIX, FACTS_KEY, exported_facts
from evaluation.animation.run_weights import RunWeights, read_run
from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.generator import Generator
from models.motion import MotionEncoder
from models.presets import NetworkPreset
from models.trunks.mesh_trunk import MeshTrunkConfig
from storage.fingerprint import to_json_value
from storage.publishing import require_current
from storage.settings import settings_error
from training.data.sources import ExpressionWindowSettings
from training.engine.stage_weights import StageWeights, read_weights, write_weights
from training.engine.weights_digest import weights_digest
from training.stage_catalog import EYE_AXES_PART, RENDERING_STAGE, stage_info
from training.stages.codes.code_scale import CODE_SCALE_PART

FORMAT: Final = 1
STAGES: Final = tuple(
    stage for stage in (*stage_info(RENDERING_STAGE).parents, RENDERING_STAGE) if stage != "perception"
)
LEFT_OUT: Final[Mapping[str, tuple[str, ...]]] = {
    "stage1_motion": ("generator", "discriminator"),
    RENDERING_STAGE: ("discriminator",),
}
"""Stage -> the parts of its weights that a talking head does not use; the names of others are unique."""

SLACK: Final = 2
"""Networks may have so many times the weights of their file: heads of single stages are left out of it."""

FULL_PRECISION_PARTS: Final = (EYE_AXES_PART, CODE_SCALE_PART)


def export_run(root: UPath, run: str, file: Path) -> int:
    """Write a run's talking head into one file, whole or not at all; returns its size in bytes.

    Raises:
        ValueError: the run or one of its stages is not trained or is damaged, the file's name does not end
            in .safetensors, or a weight is out of float16's range.
    """
    if file.suffix != EXPORTED_SUFFIX:
        raise ValueError(f"{file}: exported models must end in {EXPORTED_SUFFIX}")
    weights = read_run(root, run)
    tensors: dict[str, Tensor] = {}
    for stage in STAGES:
        source, left_out = weights.stages[stage], LEFT_OUT.get(stage, ())
        for name, value in source.tensors.items():
            if name.startswith(tuple(f"{part}." for part in left_out)):
                continue
            if name in tensors:
                raise ValueError(f"{source.origin}: {name} is also in an earlier stage's weights")
            exact = name.startswith(tuple(f"{part}." for part in FULL_PRECISION_PARTS))
            tensors[name] = value if exact else _half(name, value, source.origin)
    facts = {
        "format": FORMAT,
        "run": run,
        "side_px": weights.networks.image_side_px,
        "networks": to_json_value(weights.networks, "networks"),
        "windows": weights.windows.model_dump(mode="json"),
        "weights": {stage: _digest(root, stage, weights.run_of(stage, run)) for stage in STAGES},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_weights(file, tensors, {FACTS_KEY: json.dumps(facts, sort_keys=True)})
    return file.stat().st_size


def read_exported(file: Path) -> RunWeights:
    """Weights of an exported model, float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, not an exported model, or of another version.
    """
    facts = exported_facts(file)
    if facts["format"] != FORMAT:
        raise ValueError(f"{file}: format must be {FORMAT}, got {facts['format']}")
    try:
        networks = TypeAdapter(NetworkPreset).validate_python(facts["networks"])
        windows = ExpressionWindowSettings.model_validate(facts["windows"])
    except ValidationError as error:
        raise ValueError(f"{file}: networks of another version ({settings_error(error)})") from error
    tensors = {
        name: value.float() if value.dtype == torch.float16 else value
        for name, value in read_weights(file).tensors.items()
    }
    _require_weights_for(networks, tensors, file)
    weights = StageWeights(str(file), tensors)  # names of parts are unique, so every stage reads the same
    return RunWeights(networks, dict.fromkeys(STAGES, weights), windows)


def _require_weights_for(networks: NetworkPreset, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Refuse a header that describes more than the file holds, before memory is taken for it.

    Raises:
        ValueError: the networks have more weights than the file can hold.
    """
    held = sum(value.numel() for value in tensors.values())
    with torch.device("meta"):  # shapes without memory
        described: list[nn.Module] = [Generator(networks.generator)]
        described += [AppearanceEncoder(networks.appearance), AudioEncoder(networks.audio)]
        if not isinstance(networks.motion.trunk, MeshTrunkConfig):  # whose weights are MediaPipe's
            described.append(MotionEncoder(networks.motion))
    needed = sum(value.numel() for part in described for value in part.parameters())
    if needed > SLACK * held:
        raise ValueError(f"{file}: its header describes networks of {needed:,} weights, it holds {held:,}")


def _half(name: str, value: Tensor, origin: str) -> Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    if not bool(torch.isfinite(half).all()):
        largest = float(value.abs().max())
        raise ValueError(f"{origin}: {name} must be within float16's ±65504, got {largest:g}")
    return half


def _digest(root: UPath, stage: str, run: str) -> str:
    return weights_digest(require_current(root, stage, run))
