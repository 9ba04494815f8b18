"""What is published under a root: partitions, their builds, which is current, and what builds refer to.

Knows the layout of `storage.publishing` and nothing about particular assets.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from upath import UPath

from storage.manifest import MANIFEST_NAME, Manifest
from storage.objects import entries, is_local, read_bytes
from storage.pointer import CURRENT_NAME, Pointer, read_pointer
from storage.publishing import ASSETS

BUILD_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
THREADS: Final = 16  # for requests to a bucket, about three for each partition
CONTENT_DIGITS: Final = 8  # of the content digest, at the end of a build's name


@dataclass(frozen=True, order=True)
class Build:
    """A directory of a published build, complete or not."""

    asset: str
    partition: str
    name: str

    @property
    def location(self) -> str:
        """Below the root."""
        return f"{ASSETS}/{self.asset}/{self.partition}/{self.name}"

    @property
    def fingerprint(self) -> str:
        """The first 16 digits of its recipe's fingerprint."""
        return self.name[:16]


@dataclass(frozen=True)
class Partition:
    """A partition of an asset.

    Attributes:
        pointer: None: no build was ever published completely.
        builds: Directories with names of builds.
        unknown: All other names, such as partial files.
    """

    asset: str
    name: str
    pointer: Pointer | None
    builds: tuple[Build, ...]
    unknown: tuple[str, ...]

    @property
    def location(self) -> str:
        """Below the root."""
        return f"{ASSETS}/{self.asset}/{self.name}"

    @property
    def current(self) -> Build | None:
        """The current build."""
        return next(
            (build for build in self.builds if self.pointer and build.name == self.pointer.directory), None
        )


@dataclass(frozen=True)
class Survey:
    """Partitions by (asset, name), and the manifests read so far."""

    root: UPath
    partitions: Mapping[tuple[str, str], Partition]
    unknown: tuple[str, ...]  # files where directories of assets or partitions are expected
    manifests: dict[str, Manifest] = field(default_factory=dict)  # by location; builds never change

    def at(self, location: str) -> Build | None:
        """The build at a location below the root; None if there is none."""
        parts = location.split("/")
        if len(parts) != 4 or parts[0] != ASSETS:
            return None
        partition = self.partitions.get((parts[1], parts[2]))
        build = Build(*parts[1:])
        return build if partition is not None and build in partition.builds else None

    def inputs(self, build: Build) -> list[Build]:
        """The builds that a build keeps: its inputs that it needs after it was built."""
        manifest = self.manifest(build)
        if manifest is None:
            return []
        inputs = [self.at(value.location) for value in manifest.inputs.values() if not value.build_only]
        return [found for found in inputs if found is not None]

    def self_contained(self) -> frozenset[str]:
        """Assets whose builds keep no other builds, by the manifests read so far."""
        manifests = self.manifests.values()
        referring = {
            manifest.asset
            for manifest in manifests
            if any(value.location and not value.build_only for value in manifest.inputs.values())
        }
        return frozenset(manifest.asset for manifest in manifests) - referring

    def manifest(self, build: Build) -> Manifest | None:
        """A build's manifest; None if it has none.

        Raises:
            ValueError: it is damaged or of an unknown version.
        """
        manifest = self.manifests.get(build.location)
        if manifest is None:
            try:
                text = read_bytes(self.root / build.location / MANIFEST_NAME).decode()
            except FileNotFoundError:
                return None
            try:
                manifest = self.manifests[build.location] = Manifest.from_json(text)
            except ValueError as error:
                raise ValueError(
                    f"{build.location}: cannot read its manifest, so its inputs are not known ({error}); "
                    "delete this directory if the build is not needed"
                ) from error
        return manifest

    def superseded_at(self, build: Build) -> datetime:
        """When a build that is not current ceased to be, or was finished if it never was.

        From the pointer; otherwise when the next build was finished, or this one if there is no later one.
        """
        partition = self.partitions[build.asset, build.partition]
        finished = self._finished_at(build)
        assert finished is not None
        if partition.pointer is not None and build.name in partition.pointer.superseded:
            return max(finished, datetime.fromisoformat(partition.pointer.superseded[build.name]))
        times = [time for other in partition.builds if (time := self._finished_at(other)) is not None]
        return min((time for time in times if time > finished), default=finished)

    def _finished_at(self, build: Build) -> datetime | None:
        manifest = self.manifest(build)
        return None if manifest is None else datetime.fromisoformat(manifest.finished_at)


def take_survey(
    root: UPath,
    chosen: Iterable[tuple[str, str]] = (),
    skipped_assets: Collection[str] = (),
    manifests: dict[str, Manifest] | None = None,
) -> Survey:
    """List partitions under a root and read the manifests of their current builds.

    Args:
        root: from `storage.root.open_root`.
        chosen: (asset, partition) to list in any case.
        skipped_assets: whose other partitions are not listed.
        manifests: read by an earlier survey.

    Raises:
        ValueError: a pointer or manifest is damaged.
    """
    listed = entries(root, ASSETS)
    wanted = {entry.name for entry in listed if entry.is_directory and entry.name not in skipped_assets}
    unknown = [f"{ASSETS}/{entry.name}" for entry in listed if not entry.is_directory]
    names = set(chosen)
    for asset in sorted(wanted):
        for entry in entries(root, f"{ASSETS}/{asset}"):
            if entry.is_directory:
                names.add((asset, entry.name))
            else:
                unknown.append(f"{ASSETS}/{asset}/{entry.name}")
    ordered = sorted(names)
    with ThreadPoolExecutor(1 if is_local(root) else THREADS) as pool:
        listed_partitions = list(pool.map(lambda name: _list_partition(root, *name), ordered))
        partitions = dict(zip(ordered, listed_partitions, strict=True))
        survey = Survey(root, partitions, tuple(unknown), {} if manifests is None else manifests)
        current = [partition.current for partition in partitions.values()]
        list(pool.map(survey.manifest, [build for build in current if build is not None]))
    return survey


def _list_partition(root: UPath, asset: str, name: str) -> Partition:
    location = f"{ASSETS}/{asset}/{name}"
    builds: list[Build] = []
    unknown: list[str] = []
    for entry in entries(root, location):
        if entry.is_directory and not entry.is_link and BUILD_NAME.fullmatch(entry.name):
            builds.append(Build(asset, name, entry.name))
        elif entry.name != CURRENT_NAME:
            unknown.append(entry.name)
    return Partition(asset, name, read_pointer(root / location), tuple(builds), tuple(unknown))
