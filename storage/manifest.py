"""The manifest: what one published directory holds, what it was made from, and what that cost."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from storage.fingerprint import JsonValue, canonical_json, fingerprint

MANIFEST_NAME: Final = "manifest.json"
MANIFEST_VERSION: Final = 1


@dataclass(frozen=True)
class FileRecord:
    """What one file must be."""

    size_bytes: int
    sha256: str  # 64 hex digits


@dataclass(frozen=True)
class Manifest:
    """One build of one asset's partition. Written last: a directory without it is not there."""

    asset: str
    partition: str
    fingerprint: str  # of the recipe: asset, partition, code version, settings, inputs
    code_version: str
    settings: dict[str, JsonValue]
    inputs: dict[str, str]  # name -> content digest or any other text that names what it was
    files: dict[str, FileRecord]  # by path below the directory, forward slashes
    counts: dict[str, int | float]
    refusals: dict[str, int]  # reason -> how many
    seconds: float  # wall clock of the last run that built; an earlier, killed one is not in it
    cpu_seconds: float  # the same run, with the child processes that it waited for
    finished_at: str  # UTC, ISO 8601
    peak_memory_mebibytes: float = 0.0  # with all child processes; 0: not measured (older manifests)

    @property
    def content_digest(self) -> str:
        """sha256 of the sorted (file name, file sha256) pairs and of nothing else."""
        return fingerprint(sorted((name, record.sha256) for name, record in self.files.items()))

    def to_json(self) -> str:
        """The manifest as the text of `manifest.json`; `from_json` reads it back the same."""
        canonical_json(self.settings)  # refuses what JSON would quietly change
        return json.dumps({"manifest_version": MANIFEST_VERSION, **asdict(self)}, indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "Manifest":
        """Read `to_json`'s text.

        Raises:
            ValueError: no JSON object, a version this code does not know, or fields that do not fit.
        """
        data: Any = json.loads(text)
        version = data.pop("manifest_version", None) if isinstance(data, dict) else None
        if version != MANIFEST_VERSION:
            raise ValueError(
                f"manifest of version {version!r}, this pdfgc reads version {MANIFEST_VERSION}: "
                "use the pdfgc that wrote it, or build the asset again with --force"
            )
        try:
            files = {name: FileRecord(**record) for name, record in data.pop("files").items()}
            return Manifest(files=files, **data)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"manifest of version {version} with fields that do not fit: {error}") from error
