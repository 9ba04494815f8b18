"""Checkpoints: everything that a run needs to resume bit for bit, written completely or not at all.

    <work>/.checkpoints/step-00000200/weights.safetensors  networks by part
                                      ema.safetensors      their moving averages, if any
                                      state.pt             optimizers and the state of every rank; tensors
                                      only manifest.json        step, configuration, data cursor, sha256 of
                                      the files

The folder is renamed into place after its manifest is written: a folder without a manifest does not count.
The newest checkpoint is the one whose manifest has the highest step.
"""

import io
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from storage.atomic import (
    PARTIAL_MARK,
    flush_directory,
    partial_path,
    remove,
    remove_dead_partials,
    write_atomically,
)
from storage.fingerprint import file_sha256
from training.engine.checkpoint_files import CHECKPOINT_VERSION, MANIFEST_NAME, manifest_text, read_manifest
from training.engine.stage_weights import StageWeights, read_weights, write_weights
from training.engine.weights_digest import EMA_NAME, WEIGHTS_NAME

STATE_NAME: Final = "state.pt"


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint is of."""

    stage: str
    step: int  # steps done
    ranks: int
    configuration: Mapping[str, Any]  # JSON values; a resumed run must have the same
    schema_version: int  # of the data set's samples


@dataclass(frozen=True)
class RankState:
    """State of one rank: its position in the data, random generators, and memory banks."""

    cursor: Mapping[str, Any]  # `Cursor.to_json`
    cpu_random: Tensor
    device_random: Tensor | None
    stage: Mapping[str, Tensor]  # `Stage.rank_state`


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    facts: CheckpointFacts
    weights: StageWeights
    ema: StageWeights | None
    optimizers: Mapping[str, Any]
    ranks: tuple[RankState, ...]


class UnfitCheckpointError(ValueError):
    """A checkpoint is of another stage, configuration or data schema than the run that would load it."""


def write_checkpoint(
    folder: Path,
    facts: CheckpointFacts,
    weights: Mapping[str, Tensor],
    ema: Mapping[str, Tensor],
    optimizers: Mapping[str, Any],
    ranks: list[RankState],
) -> Path:
    """Write a checkpoint into `folder`, named by its step; return its folder."""
    target = folder / f"step-{facts.step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    remove_dead_partials(folder)
    partial = partial_path(target)
    partial.mkdir()
    try:
        write_weights(partial / WEIGHTS_NAME, weights)
        if ema:
            write_weights(partial / EMA_NAME, ema)
        state = {"optimizers": dict(optimizers), "ranks": [_plain(rank) for rank in ranks]}
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with write_atomically(partial / STATE_NAME) as file:
            file.write_bytes(buffer.getvalue())
        manifest = {
            "checkpoint_version": CHECKPOINT_VERSION,
            "stage": facts.stage,
            "step": facts.step,
            "ranks": facts.ranks,
            "schema_version": facts.schema_version,
            "cursor": dict(ranks[0].cursor),
            "configuration": dict(facts.configuration),
            "files": {path.name: file_sha256(path) for path in sorted(partial.iterdir())},
        }
        with write_atomically(partial / MANIFEST_NAME) as file:
            file.write_text(manifest_text(manifest), "utf-8")
        remove(target)  # left by a run that was later resumed from an earlier step
        partial.rename(target)
    finally:
        remove(partial)
    flush_directory(folder)
    return target


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file differs from its sha256 in the manifest, or the manifest is of another version.
    """
    manifest = read_manifest(folder)
    for name, sha256 in manifest["files"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != sha256:
            raise ValueError(f"{folder / name} is missing or damaged: its sha256 differs from the manifest's")
    state = torch.load(folder / STATE_NAME, map_location="cpu", weights_only=True)
    ema = folder / EMA_NAME
    return Checkpoint(
        facts=_facts(manifest),
        weights=read_weights(folder / WEIGHTS_NAME),
        ema=read_weights(ema) if ema.is_file() else None,
        optimizers=state["optimizers"],
        ranks=tuple(RankState(**rank) for rank in state["ranks"]),
    )


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest step in its manifest; None where there is none."""
    if not folder.is_dir():
        return None
    return max(_complete(folder), key=_step, default=None)


def keep_newest(folder: Path, count: int) -> None:
    """Remove all but the checkpoints of the `count` highest steps."""
    for entry in sorted(_complete(folder), key=_step)[:-count]:
        shutil.rmtree(entry)


def require_fit(facts: CheckpointFacts, run: CheckpointFacts, origin: str) -> None:
    """Require that a checkpoint is of the same stage, configuration and data schema as this run.

    Raises:
        UnfitCheckpointError: it is not; names what differs.
    """
    differences = [
        f"{name}: {then!r} in the checkpoint, {now!r} here"
        for name, then, now in (
            ("stage", facts.stage, run.stage),
            ("data schema version", facts.schema_version, run.schema_version),
        )
        if then != now
    ]
    differences += config_differences(facts.configuration, run.configuration)
    if differences:
        raise UnfitCheckpointError(
            f"{origin} does not fit: " + "; ".join(differences[:6]) + "; choose another run name, or force"
        )


def config_differences(then: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """Where two configurations differ, by dotted name."""
    differences: list[str] = []
    for name in sorted({*then, *now}):
        before, after, where = then.get(name), now.get(name), f"{path}{name}"
        if isinstance(before, dict) and isinstance(after, dict):
            differences += config_differences(before, after, f"{where}.")
        elif before != after:
            differences.append(f"{where}: {before!r} in the checkpoint, {after!r} here")
    return differences


def _complete(folder: Path) -> list[Path]:
    """The checkpoints in a folder, without those that a killed run had not renamed into place."""
    entries = [entry for entry in folder.iterdir() if (entry / MANIFEST_NAME).is_file()]
    return [entry for entry in entries if PARTIAL_MARK not in entry.name]


def _step(folder: Path) -> int:
    return int(read_manifest(folder)["step"])


def _facts(manifest: Mapping[str, Any]) -> CheckpointFacts:
    return CheckpointFacts(
        stage=manifest["stage"],
        step=manifest["step"],
        ranks=manifest["ranks"],
        configuration=manifest["configuration"],
        schema_version=manifest["schema_version"],
    )


def _plain(state: RankState) -> dict[str, Any]:
    return {
        "cursor": dict(state.cursor),
        "cpu_random": state.cpu_random,
        "device_random": state.device_random,
        "stage": dict(state.stage),
    }
