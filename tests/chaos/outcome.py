"""What is published in the end, and what is left over."""

from dataclasses import dataclass
from pathlib import Path

from preprocessing.sources.stored_catalog import load_catalog
from storage.atomic import PARTIAL_MARK
from storage.fingerprint import fingerprint
from storage.integrity.quarantine import QUARANTINE
from storage.publishing import ASSETS, current, published_partitions, verify
from storage.root import open_root
from training.data.index import FEATURES_FOLDER

TIMED = ("metrics.jsonl", "metrics.parquet", "tensorboard/", "job.json", "report.html")
"""Files that hold times or paths; the report says when its inputs were built."""


@dataclass(frozen=True)
class Outcome:
    """The end state of a root."""

    files: dict[str, str]  # "asset/partition/file" -> sha256
    catalog: str
    damaged: list[str]  # files that differ from their manifest
    doubled: list[str]  # builds besides the current one of a partition
    leftovers: list[str]  # partial files, work directories


def outcome_of(folder: Path) -> Outcome:
    """Read every current build's manifest and check each file against it."""
    root = open_root(str(folder))
    files: dict[str, str] = {}
    damaged: list[str] = []
    doubled: list[str] = []
    for asset in sorted(path.name for path in (folder / ASSETS).iterdir()):
        for partition in published_partitions(root, asset):
            published = current(root, asset, partition)
            assert published is not None
            damaged += [f"{published.location}/{name}" for name in verify(published)]
            for name, record in published.manifest.files.items():
                if not name.startswith(TIMED):
                    files[f"{asset}/{partition}/{name}"] = record.sha256
            folders = [path for path in (folder / ASSETS / asset / partition).iterdir() if path.is_dir()]
            doubled += [str(path) for path in folders if path.name != published.directory.name]
    catalog = load_catalog(root)
    digest = "" if catalog is None else fingerprint(catalog.to_pylist())
    return Outcome(files, digest, damaged, doubled, leftovers_of(folder))


def leftovers_of(folder: Path) -> list[str]:
    """Partial files and work directories of a root; what was set aside lies there as it was."""
    partials = folder.rglob(f"*{PARTIAL_MARK}*")
    leftovers = [str(path) for path in partials if not path.is_relative_to(folder / QUARANTINE)]
    # A cache with a limit of files, and the records of what was verified.
    kept = [folder / ".building" / name for name in (FEATURES_FOLDER, "verified")]
    building = [path for path in (folder / ".building").rglob("*") if path.is_file()]
    building = [path for path in building if not any(path.is_relative_to(place) for place in kept)]
    # Locks of builds are removed by gc; the catalog's is one file.
    locks = ("catalog.lock",)
    return leftovers + [str(path) for path in building if path.name not in locks]
