"""Repair of a root: what `pdfgc verify` finds is set aside and built again from what is in order."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from upath import UPath

from pipelines.operations.maintenance.verify import Verification, verify_root
from preprocessing.dataset.index import DATASET, WHOLE
from preprocessing.dataset.joining import DatasetSettings
from preprocessing.integrity.catalog_repair import (
    published_batches,
    rebuild_catalog,
    remembered_folders,
    restore_catalog,
    usable_catalog,
)
from preprocessing.integrity.rebuild import (
    ALL_STEPS,
    NAME_DIGITS,
    rebuild_dataset,
    rebuild_step,
    sources_are_there,
)
from preprocessing.orchestration.chosen_settings import apply_changes, read_chosen
from preprocessing.orchestration.step import VideoBatch
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.catalog import parse_catalog
from preprocessing.sources.remote import SourcePath, source_path
from preprocessing.sources.stored_catalog import SourceSettings, load_batches
from storage.integrity.builds import BuildsFound, examine_builds
from storage.integrity.faults import Fault
from storage.integrity.mending import Action, BuildRepair, plan_builds
from storage.integrity.quarantine import quarantined_builds, set_aside
from storage.integrity.reading import Night
from storage.integrity.suspect import clear_suspect
from storage.objects import exists
from storage.printable import display_text

logger = logging.getLogger(__name__)

HELD_BACK: Final = "its videos are not all there: face tracks built now would lose their clips"


@dataclass(frozen=True)
class RepairSettings:
    """The settings of the deployment, for what is built again."""

    preprocessing: PreprocessingSettings
    dataset: DatasetSettings
    sources: SourceSettings
    folders: tuple[SourcePath, ...]  # of videos, for a lost catalog
    workers: int | None = None


@dataclass(frozen=True)
class Rebuild:
    """A partition to build again, and the fingerprint that its lost build had."""

    asset: str
    partition: str
    wanted: str


@dataclass(frozen=True)
class RepairPlan:
    """What a repair does, in order.

    Attributes:
        actions: What is moved, marked and restored.
        rebuilds: Batch steps and the data set, in the order to build.
        left: Faults that it does not mend.
    """

    actions: tuple[Action, ...]
    rebuilds: tuple[Rebuild, ...]
    left: tuple[Fault, ...]

    def lines(self) -> list[str]:
        """The plan, a line each."""
        lines = [action.line for action in self.actions]
        lines += [f"build {each.asset}/{each.partition} again" for each in self.rebuilds]
        lines += [f"left as it is: {fault.line()}" for fault in self.left]
        return [display_text(line) for line in lines]


def plan_repair(root: UPath, result: Verification, settings: RepairSettings) -> RepairPlan:
    """Plan what is done about the faults of a verification."""
    catalog = [fault for fault in result.faults if fault.kind == "catalog"]
    actions = _plan_catalog(root, result.found, settings) if catalog else []
    held = _held_back(root, result.faults)
    faults = [fault for fault in result.faults if fault.build not in held]
    repair = plan_builds(root, result.found, faults)
    actions += [*repair.actions, *_plan_others(root, faults)]
    rebuilds = _plan_rebuilds(root, result.found, repair)
    rebuilt = {(each.asset, each.partition) for each in rebuilds}
    left = [replace(fault, mend=HELD_BACK) for fault in result.faults if fault.build in held]
    left += [fault for fault in faults if _is_left(fault, rebuilt)]
    return RepairPlan(tuple(actions), tuple(rebuilds), tuple(left))


def carry_out(root: UPath, plan: RepairPlan, settings: RepairSettings) -> list[str]:
    """Carry out a plan; returns an error of each build that failed. Killed anywhere, it can be run again."""
    for action in plan.actions:
        logger.info("%s", display_text(action.line))
        action.do()
    batches: dict[str, VideoBatch] = {batch.key: batch for batch in load_batches(root)}
    failed: list[str] = []
    chosen = read_chosen(root)
    for each in plan.rebuilds:
        try:
            if each.asset == DATASET:
                kept = {} if chosen.dataset is None else chosen.dataset.changes
                rebuild_dataset(root, apply_changes(settings.dataset, kept), each.wanted)
            elif each.partition in batches:
                batch = batches[each.partition]
                own = chosen.of(batch.key, settings.preprocessing)
                rebuild_step(root, each.asset, batch, own, each.wanted, workers=settings.workers)
            else:
                failed.append(f"{each.asset}/{each.partition}: the catalog has no such batch")
        except (ValueError, OSError, RuntimeError) as error:
            failed.append(f"{each.asset}/{each.partition}: {error}")
            logger.warning("Not built again: %s", display_text(failed[-1]))
    _clear_verified(root)
    return failed


def _plan_catalog(root: UPath, found: BuildsFound, settings: RepairSettings) -> list[Action]:
    usable = usable_catalog(root)
    if usable is not None and _has_every_batch(usable[1], found):
        line = f"write the catalog, its backup and its record from {usable[0]}"
        return [Action(line, partial(restore_catalog, root))]
    folders = settings.folders or tuple(source_path(folder) for folder in remembered_folders(root))
    names = ", ".join(str(folder) for folder in folders) or "no folder: name them with --videos"
    count = len(published_batches(found))
    return [
        Action(
            f"rebuild the catalog with {count} batches as published, scanning {names}",
            partial(rebuild_catalog, root, found, folders, settings.sources),
        )
    ]


def _has_every_batch(catalog: bytes, found: BuildsFound) -> bool:
    """Whether a catalog has the batches that are published; it lacks them where they were dealt again."""
    keys = set(parse_catalog(catalog, "the catalog")["batch"].to_pylist())
    return published_batches(found).keys() <= keys


def _held_back(root: UPath, faults: Sequence[Fault]) -> set[str]:
    """Damaged face tracks of batches whose videos are not all there."""
    damaged = {fault.build: fault.build.split("/") for fault in faults if "/face_tracks/" in fault.build}
    if not damaged:
        return set()
    try:
        batches = {batch.key: batch for batch in load_batches(root)}
    except ValueError:
        return set()  # the catalog comes first; the next run sees the videos
    return {
        location
        for location, parts in damaged.items()
        if parts[2] in batches and not sources_are_there(batches[parts[2]])
    }


def _plan_others(root: UPath, faults: Sequence[Fault]) -> list[Action]:
    """Checkpoints that are damaged: training goes on from the one before."""
    folders = {fault.path.rpartition("/")[0] for fault in faults if fault.kind == "checkpoint"}
    return [_set_aside(root, folder) for folder in sorted(folders) if exists(root, folder)]


def _set_aside(root: UPath, location: str) -> Action:
    def do() -> None:
        set_aside(root, location)

    return Action(f"set aside {location}", do)


def _plan_rebuilds(root: UPath, found: BuildsFound, repair: BuildRepair) -> list[Rebuild]:
    """Partitions whose current build is damaged or suspect, or whose lost build no other replaces."""
    wanted: dict[tuple[str, str], str] = {}
    for (asset, name), partition in found.partitions.items():
        location = f"assets/{asset}/{name}/{partition.current}"
        if partition.current is None:
            continue
        if location in repair.damaged or location in repair.suspect or location not in partition.builds:
            wanted[asset, name] = partition.current
    for (asset, name), builds in quarantined_builds(root).items():
        partition = found.partitions.get((asset, name))
        if partition is None or not partition.manifests:
            wanted.setdefault((asset, name), max(builds))
    for location in repair.damaged:
        _, asset, name, build = location.split("/")
        partition = found.partitions[asset, name]
        if partition.current is None and partition.manifests.keys() <= repair.damaged.keys():
            wanted.setdefault((asset, name), build)
    rebuilds = [
        Rebuild(asset, name, build[:NAME_DIGITS])
        for (asset, name), build in wanted.items()
        if asset in ALL_STEPS
    ]
    rebuilds.sort(key=lambda each: (each.partition, ALL_STEPS.index(each.asset)))
    if (DATASET, WHOLE) in wanted:
        rebuilds.append(Rebuild(DATASET, WHOLE, wanted[DATASET, WHOLE][:NAME_DIGITS]))
    return rebuilds


def _is_left(fault: Fault, rebuilt: set[tuple[str, str]]) -> bool:
    if fault.kind in ("source", "record", "copy", "weights"):
        return True
    if not fault.build:
        return False
    _, asset, partition, _ = fault.build.split("/")
    return (asset, partition) not in rebuilt and asset not in (*ALL_STEPS, DATASET)


def _clear_verified(root: UPath) -> None:
    """Clear the marks of trainings and evaluations whose inputs are all in order again.

    They were verified before such a build, and are the same as they were then: it stands on nothing damaged.
    """
    found = examine_builds(root)
    marked = {fault.build for fault in found.faults if fault.kind == "suspect"}
    while True:
        cleared = {location for location in marked if _stands_on_good_inputs(location, found, marked)}
        if not cleared:
            return
        for location in cleared:
            clear_suspect(root / location)
            logger.info("%s is not suspect any more: its inputs were verified before it was built", location)
        marked -= cleared


def _stands_on_good_inputs(location: str, found: BuildsFound, marked: set[str]) -> bool:
    manifest = found.manifests[location]
    if not manifest.inputs_verified or manifest.asset in (*ALL_STEPS, DATASET):
        return False
    locations = [value.location for value in manifest.inputs.values() if value.location]
    return all(each in found.manifests and each not in marked for each in locations)


def examine(root: UPath, night: Night | None, threads: int) -> Verification:
    """Verify before a repair; from the first file, since the plan needs every fault."""
    return verify_root(root, night=night, threads=threads, restart=True)
