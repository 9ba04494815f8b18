"""What is published under a root and how it hangs together: partitions, their builds, which one counts.

Knows the layout of `storage.publishing` and nothing of what the assets are.
"""

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from upath import UPath

from storage.listing import entries
from storage.manifest import MANIFEST_NAME, Manifest
from storage.pointer import CURRENT_NAME, Pointer, read_pointer
from storage.transfer import is_local, read_bytes

ASSETS: Final = "assets"
BUILD_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
THREADS: Final = 16  # that ask a bucket at once; each partition costs two answers
CONTENT_DIGITS: Final = 8  # of the content digest that a build's name ends with


@dataclass(frozen=True, order=True)
class Build:
    """One published directory, or what is left of one."""

    asset: str
    partition: str
    name: str

    @property
    def location(self) -> str:
        """Below the root."""
        return f"{ASSETS}/{self.asset}/{self.partition}/{self.name}"

    @property
    def fingerprint(self) -> str:
        """The first 16 digits of its recipe's."""
        return self.name[:16]


@dataclass(frozen=True)
class Partition:
    """A partition of an asset.

    Attributes:
        pointer: None: nothing was ever published whole.
        builds: Directories that are named as builds are.
        others: Names that are none of those, such as half-written files.
    """

    asset: str
    name: str
    pointer: Pointer | None
    builds: tuple[Build, ...]
    others: tuple[str, ...]

    @property
    def location(self) -> str:
        """Below the root."""
        return f"{ASSETS}/{self.asset}/{self.name}"

    @property
    def current(self) -> Build | None:
        """The build that counts."""
        counting = [one for one in self.builds if self.pointer and one.name == self.pointer.directory]
        return counting[0] if counting else None


@dataclass(frozen=True)
class Survey:
    """Partitions by (asset, name), and the manifests that were read."""

    root: UPath
    partitions: Mapping[tuple[str, str], Partition]
    unknown: tuple[str, ...]  # locations right below `assets/` or an asset that are no directories
    manifests: dict[str, Manifest] = field(default_factory=dict)  # by location; builds never change

    def of_asset(self, asset: str) -> list[Build]:
        """Every build of an asset."""
        found = [one.builds for (name, _), one in self.partitions.items() if name == asset]
        return [build for builds in found for build in builds]

    def of_partition(self, asset: str, partition: str) -> tuple[Build, ...]:
        """Every build of a partition."""
        found = self.partitions.get((asset, partition))
        return () if found is None else found.builds

    def with_content(self, asset: str, digest: str, partition: str | None = None) -> list[Build]:
        """The builds of an asset whose content digest begins as `digest` does, by their names."""
        builds = self.of_asset(asset) if partition is None else self.of_partition(asset, partition)
        return [build for build in builds if build.name.endswith(f"-{digest[:CONTENT_DIGITS]}")]

    def manifest(self, build: Build) -> Manifest | None:
        """A build's manifest; None where there is none.

        Raises:
            ValueError: it is of a version that this code does not know, or damaged.
        """
        known = self.manifests.get(build.location)
        if known is None:
            try:
                text = read_bytes(self.root / build.location / MANIFEST_NAME).decode()
            except FileNotFoundError:
                return None
            try:
                known = self.manifests[build.location] = Manifest.from_json(text)
            except ValueError as error:
                raise ValueError(f"{build.location}: its manifest cannot be read: {error}") from error
        return known

    def ceased_at(self, build: Build) -> datetime:
        """When a build that is not current ceased to be, or was finished and never was.

        Told by the pointer. Where it does not: when the next one was finished, or it itself if none was.
        """
        partition = self.partitions[build.asset, build.partition]
        finished = self._finished_at(build)
        if partition.pointer is not None and build.name in partition.pointer.earlier:
            return max(finished, datetime.fromisoformat(partition.pointer.earlier[build.name]))
        others = [self._finished_at(one) for one in partition.builds if self._is_readable(one)]
        return min((when for when in others if when > finished), default=finished)

    def _finished_at(self, build: Build) -> datetime:
        manifest = self.manifest(build)
        assert manifest is not None
        return datetime.fromisoformat(manifest.finished_at)

    def _is_readable(self, build: Build) -> bool:
        try:
            return self.manifest(build) is not None
        except ValueError:
            return False


def take_survey(
    root: UPath,
    chosen: Iterable[tuple[str, str]] = (),
    assets: Iterable[str] | None = None,
    manifests: dict[str, Manifest] | None = None,
) -> Survey:
    """Look at all partitions under a root.

    Args:
        root: from `storage.root.open_root`.
        chosen: (asset, partition) that are looked at whatever `assets` says.
        assets: of which to look at every partition; None: of all.
        manifests: that were read by an earlier survey.
    """
    listed = entries(root, ASSETS)
    wanted = {
        entry.name for entry in listed if entry.is_directory and (assets is None or entry.name in assets)
    }
    unknown = [f"{ASSETS}/{entry.name}" for entry in listed if not entry.is_directory]
    names = set(chosen)
    for asset in sorted(wanted):
        for entry in entries(root, f"{ASSETS}/{asset}"):
            if entry.is_directory:
                names.add((asset, entry.name))
            else:
                unknown.append(f"{ASSETS}/{asset}/{entry.name}")
    ordered = sorted(names)
    if is_local(root):
        looked = [_look(root, *name) for name in ordered]
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            looked = list(pool.map(lambda name: _look(root, *name), ordered))
    partitions = dict(zip(ordered, looked, strict=True))
    return Survey(root, partitions, tuple(unknown), {} if manifests is None else manifests)


def _look(root: UPath, asset: str, name: str) -> Partition:
    location = f"{ASSETS}/{asset}/{name}"
    builds: list[Build] = []
    others: list[str] = []
    for entry in entries(root, location):
        if entry.is_directory and not entry.is_link and BUILD_NAME.fullmatch(entry.name):
            builds.append(Build(asset, name, entry.name))
        elif entry.name != CURRENT_NAME:
            others.append(entry.name)
    return Partition(asset, name, read_pointer(root / location), tuple(builds), tuple(others))
