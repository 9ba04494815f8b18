"""Check what is published without reading its data: pointers, manifests, names, sizes, references.

Unlike `storage.gc.survey`, it goes on where something is damaged: each damage is a fault.
"""

import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from upath import UPath

from storage.atomic import PARTIAL_MARK
from storage.gc.survey import BUILD_NAME, CONTENT_DIGITS, THREADS
from storage.integrity.faults import NOTHING, Fault
from storage.integrity.quarantine import missing_builds, quarantined_builds
from storage.integrity.sealed_json import is_sealed, sealed
from storage.integrity.suspect import SUSPECT_NAME, why_suspect
from storage.manifest import MANIFEST_NAME, Manifest
from storage.objects import entries, files, is_local, read_bytes
from storage.pointer import CURRENT_NAME, read_pointer
from storage.publishing import ASSETS

NAME_DIGITS: Final = 16  # of the fingerprint, at the start of a build's name
REMOVE: Final = "remove it"


@dataclass(frozen=True)
class PartitionFound:
    """One partition: what is in order, and what is not.

    Attributes:
        current: Name of the current build, by the pointer; None without a readable pointer.
        manifests: Location -> manifest of every build whose manifest is in order.
        builds: Locations of all directories with names of builds, published or not.
    """

    asset: str
    name: str
    current: str | None
    manifests: Mapping[str, Manifest]
    builds: tuple[str, ...]
    faults: tuple[Fault, ...]
    unsealed: int  # pointers and manifests of earlier versions, which have no sha256 of their own


@dataclass(frozen=True)
class BuildsFound:
    """Everything that is published under a root."""

    partitions: Mapping[tuple[str, str], PartitionFound]
    faults: tuple[Fault, ...]
    manifests: Mapping[str, Manifest]
    readers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # location -> builds made from it

    def affected_by(self, location: str) -> list[str]:
        """Locations of the builds that were made from a build, and from those; in the order of discovery."""
        found: dict[str, None] = {}
        queue = [location]
        while queue:
            for reader in self.readers.get(queue.pop(0), ()):
                if reader not in found:
                    found[reader] = None
                    queue.append(reader)
        return list(found)

    def names_affected_by(self, location: str) -> tuple[str, ...]:
        """`affected_by` as `asset/partition`, each once."""
        return tuple(dict.fromkeys(name_of(found) for found in self.affected_by(location)))


def name_of(location: str) -> str:
    """`asset/partition` of a build's location."""
    return "/".join(location.split("/")[1:3])


def examine_builds(root: UPath) -> BuildsFound:
    """Check every partition under a root."""
    names = [
        (asset.name, partition.name)
        for asset in entries(root, ASSETS)
        if asset.is_directory
        for partition in entries(root, f"{ASSETS}/{asset.name}")
        if partition.is_directory
    ]
    with ThreadPoolExecutor(1 if is_local(root) else THREADS) as pool:
        found = list(pool.map(lambda name: _examine_partition(root, *name), names))
    manifests = {key: value for each in found for key, value in each.manifests.items()}
    readers: dict[str, list[str]] = {}
    for location, manifest in manifests.items():
        for value in manifest.inputs.values():
            if value.location:
                readers.setdefault(value.location, []).append(location)
    builds = BuildsFound(
        dict(zip(names, found, strict=True)),
        (),
        manifests,
        {key: tuple(each) for key, each in readers.items()},
    )
    here = {location for each in found for location in each.builds}
    aside = {
        f"{ASSETS}/{asset}/{partition}/{name}"
        for (asset, partition), names in quarantined_builds(root).items()
        for name in names
    }
    faults = [fault for each in found for fault in each.faults]
    faults += _missing_inputs(manifests, here | aside) + missing_builds(root)
    affected = [
        fault.affecting(builds.names_affected_by(fault.build)) if fault.build else fault for fault in faults
    ]
    return BuildsFound(builds.partitions, tuple(affected), manifests, builds.readers)


def _missing_inputs(manifests: Mapping[str, Manifest], known: Collection[str]) -> list[Fault]:
    """Builds that need one which is nowhere; if it is damaged or was set aside, that is its own fault."""
    return [
        Fault(
            "input",
            f"{location}/{MANIFEST_NAME}",
            f"its input {name} at {value.location}",
            NOTHING,
            build=location,
        )
        for location, manifest in manifests.items()
        for name, value in manifest.inputs.items()
        if value.location and not value.build_only and value.location not in known
    ]


def _examine_partition(root: UPath, asset: str, name: str) -> PartitionFound:
    location = f"{ASSETS}/{asset}/{name}"
    listed = entries(root, location)
    builds = [entry.name for entry in listed if entry.is_directory and BUILD_NAME.fullmatch(entry.name)]
    faults: list[Fault] = []
    manifests: dict[str, Manifest] = {}
    unsealed = 0
    current, fault, is_old = _examine_pointer(root, location)
    unsealed += is_old
    faults += [fault] if fault else []
    for build in builds:
        where = f"{location}/{build}"
        manifest, found, is_old = _examine_build(root, where, asset, name, is_current=build == current)
        unsealed += is_old
        faults += found
        if manifest is not None:
            manifests[where] = manifest
    if current is not None and current not in builds:
        path = f"{location}/{CURRENT_NAME}"
        faults.append(Fault("pointer", path, f"the build {current}", NOTHING, build=f"{location}/{current}"))
    if current is None and fault is None and manifests:
        path = f"{location}/{CURRENT_NAME}"
        faults.append(Fault("pointer", path, f"the name of one of {len(manifests)} builds", NOTHING))
    return PartitionFound(
        asset,
        name,
        current,
        manifests,
        tuple(f"{location}/{build}" for build in builds),
        tuple(faults),
        unsealed,
    )


def _examine_pointer(root: UPath, location: str) -> tuple[str | None, Fault | None, bool]:
    """Name of the current build, what is wrong with the pointer, and whether it has no sha256."""
    path = root / location / CURRENT_NAME
    try:
        pointer = read_pointer(root / location)
        text = "" if pointer is None else read_bytes(path).decode()
    except (ValueError, OSError) as error:
        return None, Fault("pointer", f"{location}/{CURRENT_NAME}", "a pointer", _reason(error)), False
    if pointer is None:
        return None, None, False
    values = {"directory": pointer.directory, "superseded": dict(pointer.superseded)}
    if is_sealed(text) and text != json.dumps(sealed(values)):
        fault = Fault("pointer", f"{location}/{CURRENT_NAME}", "the text that was written", "other spaces")
        return pointer.directory, fault, False
    return pointer.directory, None, not is_sealed(text)


def _examine_build(
    root: UPath, location: str, asset: str, partition: str, *, is_current: bool
) -> tuple[Manifest | None, list[Fault], bool]:
    """A build's manifest if it can be trusted, what is wrong with the build, and whether it is unsealed."""
    path = f"{location}/{MANIFEST_NAME}"
    try:
        text = read_bytes(root / path).decode()
        manifest = Manifest.from_json(text)
    except FileNotFoundError:
        fault = Fault("manifest", path, "a manifest", NOTHING, build=location)
        return None, [fault] if is_current else [], False  # else an interrupted upload or removal
    except (ValueError, OSError) as error:
        return None, [Fault("manifest", path, "a manifest", _reason(error), build=location)], False
    if wrong := _manifest_contradiction(manifest, text, location, asset, partition):
        return None, [Fault("manifest", path, *wrong, build=location)], False
    return manifest, _examine_files(root, location, manifest, is_current), not is_sealed(text)


def _manifest_contradiction(
    manifest: Manifest, text: str, location: str, asset: str, partition: str
) -> tuple[str, str] | None:
    """What a manifest should say by its place and by itself, and what it says."""
    if (manifest.asset, manifest.partition) != (asset, partition):
        return f"{asset}/{partition}", f"{manifest.asset}/{manifest.partition}"
    if manifest.recipe_fingerprint != manifest.fingerprint:
        return (
            f"fingerprint {manifest.recipe_fingerprint[:NAME_DIGITS]}",
            f"fingerprint {manifest.fingerprint[:NAME_DIGITS]}",
        )
    name = location.rpartition("/")[2]
    expected = f"{manifest.fingerprint[:NAME_DIGITS]}-{manifest.content_digest[:CONTENT_DIGITS]}"
    if name != expected:
        return f"files and recipe of {name}", f"those of {expected}"
    if is_sealed(text) and text != manifest.to_json():
        return "the text that was written", "other spaces or numbers written otherwise"
    return None


def _examine_files(root: UPath, location: str, manifest: Manifest, is_current: bool) -> list[Fault]:
    """Files that are missing, of another size, or not in the manifest."""
    sizes = {file.location: file.size_bytes for file in files(root / location, "")}
    faults: list[Fault] = []
    for name, record in manifest.files.items():
        found = sizes.pop(name, None)
        if found != record.size_bytes:
            shown = NOTHING if found is None else f"{found} bytes"
            expected = f"{record.size_bytes} bytes"
            faults.append(Fault("file", f"{location}/{name}", expected, shown, build=location))
    sizes.pop(MANIFEST_NAME, None)
    if sizes.pop(SUSPECT_NAME, None) is not None and is_current:  # no other is ever made current again
        found = why_suspect(root / location) or NOTHING
        faults.append(Fault("suspect", location, "inputs that were in order", found, build=location))
    return faults + [
        Fault("file", f"{location}/{name}", NOTHING, f"{size} bytes", mend=REMOVE)
        for name, size in sorted(sizes.items())
        if PARTIAL_MARK not in name
    ]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}"
    return f"it is damaged: {error}"
