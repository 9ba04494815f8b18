"""Build an asset's partition once, publish it atomically, and tell when it must be built again.

Layout under the root::

    assets/<asset>/<partition>/<fingerprint[:16]>-<content digest[:8]>/   files and manifest.json
    assets/<asset>/<partition>/current.json                               name of the current directory

A directory without a manifest is not published; `current.json` is replaced in one step.
"""

import json
import re
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from upath import UPath

from storage.atomic import remove, remove_dead_partials
from storage.build_directory import building_lock, collect_files, place_locally, prepare, recorded_inputs
from storage.disk import disk_errors_at
from storage.fingerprint import JsonValue, canonical_json, fingerprint, to_json_value
from storage.integrity.suspect import clear_suspect
from storage.integrity.verified import memory_path, remember_verified, require_verified
from storage.manifest import MANIFEST_NAME, Input, Manifest
from storage.objects import entries, is_local, local_path, read_sha256, write_bytes
from storage.peak_memory import measured_memory
from storage.pointer import point_to, read_pointer
from storage.remote.transfer import damage, read_manifest, upload
from storage.root import scratch_directory

ASSETS: Final = "assets"
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")  # safe as a file name and in a URL


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a build's files: the same recipe gives the same files."""

    asset: str
    partition: str
    code_version: str
    settings: Any  # settings object or mapping with string keys
    inputs: Mapping[str, Input]

    def __post_init__(self) -> None:
        for name in (self.asset, self.partition):
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"asset or partition {name!r} must match {NAME_PATTERN.pattern}")
        _ = self.settings_json

    @property
    def settings_json(self) -> dict[str, JsonValue]:
        """The settings as JSON values. Raises TypeError if they are not a mapping of such."""
        settings = to_json_value(self.settings, "settings")
        if not isinstance(settings, dict):
            raise TypeError(f"settings must be a dataclass instance or a mapping, not {self.settings!r}")
        return settings

    @property
    def fingerprint(self) -> str:
        """sha256 of `identity`, 64 hex digits."""
        return fingerprint(self.identity)

    @property
    def identity(self) -> dict[str, JsonValue]:
        """Every field as JSON values; of inputs their digests, not their locations."""
        digests: dict[str, JsonValue] = {name: value.digest for name, value in self.inputs.items()}
        return {
            "asset": self.asset,
            "partition": self.partition,
            "code_version": self.code_version,
            "settings": self.settings_json,
            "inputs": digests,
        }


@dataclass(frozen=True)
class BuildReport:
    """What a build function reports for the manifest."""

    counts: Mapping[str, int | float]
    refusals: Mapping[str, int]  # reason -> count


@dataclass(frozen=True)
class Published:
    """A published build, and whether this call built it."""

    manifest: Manifest
    directory: UPath
    built: bool
    reason: str  # "nothing to do: ..." or why it was built

    @property
    def location(self) -> str:
        """Its directory below the root, forward slashes."""
        return f"{ASSETS}/{self.manifest.asset}/{self.manifest.partition}/{self.directory.name}"

    def as_input(self, digest: str | None = None, *, build_only: bool = False) -> Input:
        """This build as an input of another; `digest` is its content digest by default."""
        return Input(digest or self.manifest.content_digest, self.location, build_only)


Outdated = Callable[[Published, bool], str | None]
"""(build, whether it is to replace another build of its recipe) -> why it does not do, or None."""


def never_outdated(_: Published, __: bool) -> None:
    """For assets whose files depend on their recipe alone."""


def materialise(
    root: UPath,
    recipe: Recipe,
    build: Callable[[Path], BuildReport],
    *,
    force: bool = False,
    outdated: Outdated = never_outdated,
) -> Published:
    """Ensure that a recipe's files are published and current; build them only if needed.

    Args:
        root: from `open_root`.
        recipe: what to publish.
        build: fills a local work directory. The directory is the same for the same fingerprint, so it holds
            the files of an interrupted run, from which the build may resume; files written with
            `write_atomically` are complete. Names that start with a dot or contain ``.partial-`` are not
            published. Its exceptions are passed on and the directory is kept.
        force: build from an empty directory even if nothing changed.
        outdated: why complete files of this recipe must be built again all the same, or None: an input
            outside the root was not readable then.

    Of two concurrent runs of a recipe the second waits and then finds nothing to do. On two machines with
    one bucket both build the same files, and the last to finish sets the current directory.
    """
    published, reason = _examine(root, recipe, outdated)
    if published is not None and reason is None and not force:
        return replace(published, reason="nothing to do: same inputs, code version and settings")
    work = scratch_directory(root) / recipe.asset / recipe.partition / recipe.fingerprint[:16]
    with disk_errors_at(work), building_lock(work):
        if is_local(root):
            remove_dead_partials(local_path(_partition_directory(root, recipe.asset, recipe.partition)))
        if not force:
            published, reason = _examine(root, recipe, outdated)
            if published is not None and reason is None:
                return replace(published, reason="nothing to do: another run has just built it")
            is_same = published is not None and published.manifest.fingerprint == recipe.fingerprint
            previous = _previous_build(root, recipe, lambda build: outdated(build, is_same))
            if previous is not None:
                point_to(previous.directory.parent, previous.directory.name)
                return replace(previous, reason=f"nothing to do: built before, made current again ({reason})")
        prepare(work, empty=force)
        _require_verified_inputs(root, recipe.inputs)
        with recorded_inputs(work, recipe.inputs):
            manifest = _run(recipe, build, work)
            return _publish(root, manifest, work, "forced" if force else reason or "")


def current(root: UPath, asset: str, partition: str) -> Published | None:
    """The current build of a partition; None if there is none.

    Raises:
        ValueError: its manifest has an unknown version.
    """
    directory = _partition_directory(root, asset, partition)
    pointer = read_pointer(directory)
    return None if pointer is None else _read(directory / pointer.directory)


def read_build(root: UPath, location: str) -> Published | None:
    """The build at a location below the root, current or not; None if there is none (any more)."""
    return _read(root / location)


def staleness(root: UPath, recipe: Recipe, outdated: Outdated = never_outdated) -> str | None:
    """Why a recipe would be built now; None if it is up to date. `outdated` as in `materialise`.

    Files are checked by name and size; `verify` reads them.
    """
    return _examine(root, recipe, outdated)[1]


def published_partitions(root: UPath, asset: str) -> list[str]:
    """The partitions of an asset that have a current build, sorted."""
    names = [entry.name for entry in entries(root, f"{ASSETS}/{asset}") if entry.is_directory]
    return [name for name in names if current(root, asset, name) is not None]


def require_current(root: UPath, asset: str, partition: str) -> Published:
    """The current build of a partition.

    Raises:
        ValueError: there is none; the message lists the partitions that have one.
    """
    published = current(root, asset, partition) if NAME_PATTERN.fullmatch(partition) else None
    if published is None:
        others = ", ".join(published_partitions(root, asset)) or "none"
        raise ValueError(f"no {asset} of {partition!r} under {root}; available: {others}")
    return published


def verify(published: Published) -> list[str]:
    """Names of the files that are missing or differ from the manifest's sha256. Reads all files."""
    wrong: list[str] = []
    for name, record in published.manifest.files.items():
        try:
            sha256 = read_sha256(published.directory / name)
        except FileNotFoundError:
            sha256 = "missing"
        if sha256 != record.sha256:
            wrong.append(name)
    return wrong


def _examine(root: UPath, recipe: Recipe, outdated: Outdated) -> tuple[Published | None, str | None]:
    """The current build, and how it differs from the recipe (None: it does not)."""
    published = current(root, recipe.asset, recipe.partition)
    if published is None:
        return None, "not there yet"
    manifest = published.manifest
    if manifest.fingerprint == recipe.fingerprint:
        return published, damage(published.directory, manifest) or outdated(published, False)
    changes: list[str] = []
    if manifest.code_version != recipe.code_version:
        changes.append(f"code version {manifest.code_version} -> {recipe.code_version}")
    changes += setting_changes(manifest.settings, recipe.settings_json)
    changes += _input_changes(manifest.inputs, recipe.inputs)
    return published, "; ".join(changes)


def setting_changes(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]) -> list[str]:
    """Settings that differ, such as ``setting minimum_face_px: 48 -> 64``."""
    old_values, new_values = _flatten(old), _flatten(new)
    changes: list[str] = []
    for name in sorted(old_values.keys() | new_values.keys()):
        before, after = old_values.get(name, "not set"), new_values.get(name, "not set")
        if before != after:
            changes.append(f"setting {name}: {before} -> {after}")
    return changes


def _input_changes(old: Mapping[str, Input], new: Mapping[str, Input]) -> list[str]:
    """Inputs that differ, such as ``input clips changed``."""
    changes: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            changes.append(f"input {name} removed")
        elif name not in old:
            changes.append(f"input {name} added")
        elif old[name].digest != new[name].digest:
            changes.append(f"input {name} changed")
    return changes


def _flatten(settings: Mapping[str, JsonValue], prefix: str = "") -> dict[str, str]:
    """Dotted name -> JSON text. Lists are not flattened, so that a change reads as one."""
    values: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            values.update(_flatten(value, f"{prefix}{name}."))
        else:
            values[prefix + name] = json.dumps(json.loads(canonical_json(value)), ensure_ascii=False)
    return values


def _previous_build(
    root: UPath, recipe: Recipe, outdated: Callable[[Published], str | None]
) -> Published | None:
    """The newest complete build of this recipe that is not outdated, if there is one.

    Settings were changed and changed back, or a run was killed between publishing its directory and updating
    `current.json`.
    """
    directory = _partition_directory(root, recipe.asset, recipe.partition)
    names = [entry.name for entry in entries(root, f"{ASSETS}/{recipe.asset}/{recipe.partition}")]
    builds = [_read(directory / name) for name in names if name.startswith(recipe.fingerprint[:16] + "-")]
    complete = [build for build in builds if build and damage(build.directory, build.manifest) is None]
    usable = [build for build in complete if outdated(build) is None]
    return max(usable, key=lambda build: build.manifest.finished_at, default=None)


def _run(recipe: Recipe, build: Callable[[Path], BuildReport], work: Path) -> Manifest:
    started_seconds, started_cpu_seconds = time.monotonic(), _cpu_seconds()
    with measured_memory() as memory:
        report = build(work)
    return Manifest(
        asset=recipe.asset,
        partition=recipe.partition,
        fingerprint=recipe.fingerprint,
        code_version=recipe.code_version,
        settings=recipe.settings_json,
        inputs=dict(recipe.inputs),
        files=collect_files(work),
        counts=dict(report.counts),
        refusals=dict(report.refusals),
        seconds=round(time.monotonic() - started_seconds, 3),
        cpu_seconds=round(_cpu_seconds() - started_cpu_seconds, 3),
        finished_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        peak_memory_mebibytes=memory.peak_mebibytes,
        inputs_verified=True,
    )


def _publish(root: UPath, manifest: Manifest, work: Path, reason: str) -> Published:
    name = f"{manifest.fingerprint[:16]}-{manifest.content_digest[:8]}"
    directory = _partition_directory(root, manifest.asset, manifest.partition) / name
    existing = _read(directory)
    if existing is not None and existing.manifest.files == manifest.files and not verify(existing):
        # Of the same digests, but perhaps of other builds: gc would keep the old ones for it.
        renewed = replace(existing.manifest, inputs=manifest.inputs, inputs_verified=True)
        if renewed != existing.manifest:
            write_bytes(directory / MANIFEST_NAME, renewed.to_json().encode())
        published = Published(renewed, directory, built=True, reason=reason)
        remove(work)
    elif is_local(root):
        place_locally(work, manifest, local_path(directory))
        remember_verified(local_path(directory), manifest, memory_path(scratch_directory(root), manifest))
        published = Published(manifest, directory, built=True, reason=reason)
    else:
        upload(work, manifest, directory)
        remove(work)
        published = Published(manifest, directory, built=True, reason=reason)
    clear_suspect(directory)
    point_to(directory.parent, directory.name)
    return published


def _require_verified_inputs(root: UPath, inputs: Mapping[str, Input]) -> None:
    """Verify the builds that a build stands on; of a bucket `local_copy` verifies what it downloads.

    Raises:
        ValueError: one is damaged.
    """
    if not is_local(root):
        return
    for value in inputs.values():
        published = _read(root / value.location) if value.location else None
        if published is not None:
            memory = memory_path(scratch_directory(root), published.manifest)
            require_verified(local_path(published.directory), published.manifest, memory)


def _read(directory: UPath) -> Published | None:
    manifest = read_manifest(directory)
    if manifest is None:
        return None
    return Published(manifest, directory, built=False, reason="nothing to do: already published")


def _partition_directory(root: UPath, asset: str, partition: str) -> UPath:
    return root / ASSETS / asset / partition


def _cpu_seconds() -> float:
    """CPU time of this process and of the child processes it waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
