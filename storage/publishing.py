"""Build an asset's partition once, publish it whole, and know when it must be built again.

Layout under the root::

    assets/<asset>/<partition>/<fingerprint[:16]>-<content digest[:8]>/<files> and manifest.json
    assets/<asset>/<partition>/current.json      names the directory that counts

A directory without a manifest is not there; `current.json` is replaced in one step.
"""

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
from storage.build_directory import building_lock, collect_files, place_locally, prepare, told_beside
from storage.changes import input_changes, setting_changes
from storage.fingerprint import JsonValue, fingerprint, to_json_value
from storage.manifest import MANIFEST_NAME, Manifest
from storage.peak_memory import watched_memory
from storage.pointer import point_to, read_pointer
from storage.root import scratch_directory
from storage.transfer import damage, is_local, local_path, read_bytes, read_sha256, upload

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")  # safe as a file name and in a URL


@dataclass(frozen=True)
class Recipe:
    """All that decides what a build makes: the same recipe makes the same files."""

    asset: str
    partition: str
    code_version: str
    settings: Any  # a dataclass instance or a mapping with string keys
    inputs: Mapping[str, str]  # name -> content digest of what is read

    def __post_init__(self) -> None:
        for name in (self.asset, self.partition):
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"asset or partition {name!r} must match {NAME_PATTERN.pattern}")
        _ = self.settings_json

    @property
    def settings_json(self) -> dict[str, JsonValue]:
        """The settings as plain JSON values. Raises TypeError where they are not a dict of them."""
        settings = to_json_value(self.settings, "settings")
        if not isinstance(settings, dict):
            raise TypeError(f"settings must be a dataclass instance or a mapping, not {self.settings!r}")
        return settings

    @property
    def fingerprint(self) -> str:
        """sha256, 64 hex digits, over every field."""
        return fingerprint(self)


@dataclass(frozen=True)
class BuildReport:
    """What a builder tells of its work, for the manifest."""

    counts: Mapping[str, int | float]
    refusals: Mapping[str, int]  # reason -> how many


@dataclass(frozen=True)
class Published:
    """A partition that is there, and what the call that gave it did for it."""

    manifest: Manifest
    directory: UPath
    built: bool
    reason: str  # "nothing to do: ..." or why it was built


def materialise(
    root: UPath, recipe: Recipe, build: Callable[[Path], BuildReport], *, force: bool = False
) -> Published:
    """Make sure that a recipe's files are published and current; build them only where needed.

    Args:
        root: from `open_root`.
        recipe: what is wanted.
        build: fills a local work directory. The directory is the same for the same fingerprint,
            so a run after a killed one finds what that one left and may go on from it; files
            written with `write_atomically` are whole. Names that start with a dot or hold
            ``.partial-`` are not published. What it raises passes through; the directory stays.
        force: build even if nothing changed, from an empty directory.

    Two runs of one recipe at once: the second waits, then finds nothing to do. On two machines with
    one bucket both build the same files, and the last to finish names its directory.
    """
    published, reason = _examine(root, recipe)
    if published is not None and reason is None and not force:
        return replace(published, reason="nothing to do: same inputs, code version and settings")
    work = scratch_directory(root) / recipe.asset / recipe.partition / recipe.fingerprint[:16]
    with building_lock(work):
        if is_local(root):
            remove_dead_partials(local_path(_partition_directory(root, recipe.asset, recipe.partition)))
        if not force:
            published, reason = _examine(root, recipe)
            if published is not None and reason is None:
                return replace(published, reason="nothing to do: another run has just built it")
            found = _built_before(root, recipe)
            if found is not None:
                point_to(found.directory.parent, found.directory.name)
                return replace(found, reason=f"nothing to do: built before, made current again ({reason})")
        prepare(work, empty=force)
        with told_beside(
            work, {"asset": recipe.asset, "partition": recipe.partition, "inputs": recipe.inputs}
        ):
            manifest = _run(recipe, build, work)
            return _publish(root, manifest, work, "forced" if force else reason or "")


def current(root: UPath, asset: str, partition: str) -> Published | None:
    """What is published and current of an asset's partition; None where nothing is.

    Raises:
        ValueError: its manifest is of a version that this code does not know.
    """
    directory = _partition_directory(root, asset, partition)
    pointer = read_pointer(directory)
    return None if pointer is None else _read(directory / pointer.directory)


def find_content(root: UPath, asset: str, partition: str, content_digest: str) -> Published | None:
    """The published directory with this content, current or not; None where it is not there (any more)."""
    try:
        paths = sorted(_partition_directory(root, asset, partition).iterdir(), key=lambda path: path.name)
    except (FileNotFoundError, NotADirectoryError):  # the second is what UPath says of an empty prefix
        return None
    for path in paths:
        if path.name.endswith(f"-{content_digest[:8]}"):
            found = _read(path)
            if found is not None and found.manifest.content_digest == content_digest:
                return found
    return None


def staleness(root: UPath, recipe: Recipe) -> str | None:
    """Why a recipe would be built now; None where it is up to date.

    Files are checked by name and size; `verify` reads them.
    """
    return _examine(root, recipe)[1]


def published_partitions(root: UPath, asset: str) -> list[str]:
    """The partitions of an asset that have a current build, sorted."""
    try:
        names = sorted(path.name for path in (root / "assets" / asset).iterdir())
    except (FileNotFoundError, NotADirectoryError):  # UPath raises the second for an empty prefix
        return []
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
    """Names of the files that are missing or whose sha256 is not the manifest's. Reads them all."""
    wrong: list[str] = []
    for name, record in published.manifest.files.items():
        try:
            sha256 = read_sha256(published.directory / name)
        except FileNotFoundError:
            sha256 = "missing"
        if sha256 != record.sha256:
            wrong.append(name)
    return wrong


def _examine(root: UPath, recipe: Recipe) -> tuple[Published | None, str | None]:
    """What is current, and why it is not what the recipe wants (None: it is)."""
    published = current(root, recipe.asset, recipe.partition)
    if published is None:
        return None, "not there yet"
    manifest = published.manifest
    if manifest.fingerprint == recipe.fingerprint:
        return published, damage(published.directory, manifest)
    changes: list[str] = []
    if manifest.code_version != recipe.code_version:
        changes.append(f"code version {manifest.code_version} -> {recipe.code_version}")
    changes += setting_changes(manifest.settings, recipe.settings_json)
    changes += input_changes(manifest.inputs, recipe.inputs)
    return published, "; ".join(changes)


def _built_before(root: UPath, recipe: Recipe) -> Published | None:
    """The newest whole build of this recipe, if one lies there without being current.

    Settings were changed and changed back, or a run was killed between placing its directory and
    naming it in `current.json`.
    """
    directory = _partition_directory(root, recipe.asset, recipe.partition)
    try:
        names = sorted(path.name for path in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # the second is what UPath says of an empty prefix
        return None
    builds = [_read(directory / name) for name in names if name.startswith(recipe.fingerprint[:16] + "-")]
    whole = [build for build in builds if build and damage(build.directory, build.manifest) is None]
    return max(whole, key=lambda build: build.manifest.finished_at, default=None)


def _run(recipe: Recipe, build: Callable[[Path], BuildReport], work: Path) -> Manifest:
    started_seconds, started_cpu_seconds = time.monotonic(), _cpu_seconds()
    with watched_memory() as memory:
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
    )


def _publish(root: UPath, manifest: Manifest, work: Path, reason: str) -> Published:
    name = f"{manifest.fingerprint[:16]}-{manifest.content_digest[:8]}"
    directory = _partition_directory(root, manifest.asset, manifest.partition) / name
    existing = _read(directory)
    if existing is not None and existing.manifest.files == manifest.files and not verify(existing):
        published = replace(existing, built=True, reason=reason)
        remove(work)
    elif is_local(root):
        place_locally(work, manifest, local_path(directory))
        published = Published(manifest, directory, built=True, reason=reason)
    else:
        upload(work, manifest, directory)
        remove(work)
        published = Published(manifest, directory, built=True, reason=reason)
    point_to(directory.parent, directory.name)
    return published


def _read(directory: UPath) -> Published | None:
    try:
        manifest = Manifest.from_json(read_bytes(directory / MANIFEST_NAME).decode())
    except FileNotFoundError:
        return None
    return Published(manifest, directory, built=False, reason="nothing to do: already published")


def _partition_directory(root: UPath, asset: str, partition: str) -> UPath:
    return root / "assets" / asset / partition


def _cpu_seconds() -> float:
    """CPU seconds of this process and of the children that it waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
