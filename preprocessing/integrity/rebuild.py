"""Build again what was set aside or is suspect: batch steps and the data set, with the settings they had."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from upath import UPath

from preprocessing.dataset.index import DATASET, SPLITS_TABLE, WHOLE, read_splits
from preprocessing.dataset.joining import DatasetSettings, PreviousDataset, run_dataset
from preprocessing.orchestration.step import Step, VideoBatch
from preprocessing.orchestration.steps import (
    OPTIONAL_STEPS,
    STEPS,
    PreprocessingSettings,
    recipe_of,
    resolve_step_weights,
    run_step,
    step_named,
    step_settings,
)
from storage.integrity.quarantine import QUARANTINE
from storage.manifest import Manifest
from storage.objects import entries, is_local, local_path, read_sha256
from storage.publishing import ASSETS, Published, current
from storage.remote.transfer import read_manifest
from storage.settings import Settings
from weights.resolve import ResolvedWeights

logger = logging.getLogger(__name__)

ALL_STEPS: Final = (*STEPS, *OPTIONAL_STEPS)
NAME_DIGITS: Final = 16


def rebuild_step(
    root: UPath,
    name: str,
    batch: VideoBatch,
    settings: PreprocessingSettings,
    wanted: str,
    *,
    workers: int | None = None,
) -> Published:
    """Build a step of a batch again, with the settings that give the wanted recipe if they are known.

    Args:
        root: from `open_root`.
        name: of the step.
        batch: the videos.
        settings: of the deployment.
        wanted: the fingerprint of the build that was lost, at least its first 16 digits.
        workers: as in `run_step`.

    Raises:
        FileNotFoundError, ValueError: as `run_step`.
    """
    step = step_named(name)
    inputs = {each: found for each in step.upstream if (found := current(root, each, batch.key)) is not None}
    if len(inputs) < len(step.upstream):
        missing = ", ".join(sorted(set(step.upstream) - inputs.keys()))
        raise ValueError(f"{name} of batch {batch.key} needs {missing}, which is not there")
    for candidate in _candidates(root, step, batch.key, settings):
        weights = resolve_step_weights(candidate, [name]).get(name)
        recipe = recipe_of(step, batch, candidate, inputs, weights)
        if recipe.fingerprint.startswith(wanted[:NAME_DIGITS]):
            return _run(root, name, batch, candidate, workers, weights)
    logger.warning("%s of batch %s is built with the settings of the deployment", name, batch.key)
    return _run(root, name, batch, settings, workers, None)


def _run(
    root: UPath,
    name: str,
    batch: VideoBatch,
    settings: PreprocessingSettings,
    workers: int | None,
    weights: ResolvedWeights | None,
) -> Published:
    published = run_step(root, name, batch, settings, workers=workers, weights=weights)
    logger.info("%s of batch %s: %s", name, batch.key, published.reason)
    return published


def _candidates(
    root: UPath, step: Step[Any], key: str, settings: PreprocessingSettings
) -> Iterator[PreprocessingSettings]:
    """Settings that a lost build may have had: the deployment's, then those of other builds."""
    yield settings
    if step.name not in PreprocessingSettings.model_fields:
        return
    for base in (settings, PreprocessingSettings()):
        for manifest in known_manifests(root, step.name, key):
            own = merged(step_settings(step, base), manifest.settings)
            if own is not None:
                yield settings.replace(**{step.name: own})


def merged(settings: Settings, recorded: Mapping[str, Any]) -> Settings | None:
    """Settings with the values that a manifest recorded; None if they are of another version."""

    def overlay(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(base)
        for name, value in values.items():
            if name in base:  # a recipe may have more than settings
                nested = isinstance(value, Mapping) and isinstance(base[name], dict)
                result[name] = overlay(base[name], value) if nested else value
        return result

    try:
        return type(settings).model_validate(overlay(settings.model_dump(mode="json"), recorded))
    except ValueError:
        return None


def known_manifests(root: UPath, asset: str, partition: str) -> list[Manifest]:
    """Manifests of an asset that can be read, of the partition first; also of builds that were set aside."""
    found: list[Manifest] = []
    for top in (ASSETS, f"{QUARANTINE}/{ASSETS}"):
        names = [entry.name for entry in entries(root, f"{top}/{asset}") if entry.is_directory]
        for name in sorted(names, key=lambda name: name != partition):
            for build in entries(root, f"{top}/{asset}/{name}"):
                try:
                    manifest = read_manifest(root / f"{top}/{asset}/{name}/{build.name}")
                except (ValueError, NotADirectoryError):
                    continue
                if manifest is not None:
                    found.append(manifest)
    return found


def rebuild_dataset(root: UPath, settings: DatasetSettings, wanted: str) -> Published:
    """Join the data set again, with its settings and, for identities that it had, its splits.

    Args:
        root: from `open_root`.
        settings: of the deployment.
        wanted: the fingerprint of the data set that was lost, at least its first 16 digits.

    Raises:
        ValueError: as `run_dataset`.
    """
    manifests = known_manifests(root, DATASET, WHOLE)
    same = [each for each in manifests if each.fingerprint.startswith(wanted[:NAME_DIGITS])]
    for manifest in same or manifests:
        known = merged(settings, manifest.settings)
        if isinstance(known, DatasetSettings):
            settings = known
            break
    published = run_dataset(root, settings, previous=_lost_dataset(root))
    logger.info("data set: %s", published.reason)
    return published


def _lost_dataset(root: UPath) -> PreviousDataset | None:
    """The splits of the newest data set that was set aside, if there is no other and they are in order."""
    if current(root, DATASET, WHOLE) is not None:
        return None
    top = f"{QUARANTINE}/{ASSETS}/{DATASET}/{WHOLE}"
    found: list[tuple[str, UPath]] = []
    for build in entries(root, top):
        directory = root / f"{top}/{build.name}"
        try:
            manifest = read_manifest(directory) if build.is_directory else None
        except ValueError:
            continue
        record = None if manifest is None else manifest.files[SPLITS_TABLE]
        if manifest is not None and record and read_sha256(directory / SPLITS_TABLE) == record.sha256:
            found.append((manifest.finished_at, directory))
    if not found or not is_local(root):
        return None
    return PreviousDataset(read_splits(local_path(max(found)[1])))


def sources_are_there(batch: VideoBatch) -> bool:
    """Whether every local video of a batch is a file; without it, new face tracks would lose its clips."""
    return all(video.path.is_file() for video in batch.videos if isinstance(video.path, Path))
