"""The manifest of a published directory: its files, its inputs, and the resources its build took.

Its field `sha256` is that of all others, so that a changed byte of the manifest itself is found. Manifests of
earlier versions have none and are read all the same.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from storage.fingerprint import JsonValue, canonical_json
from storage.fingerprint import fingerprint as sha256_of
from storage.integrity.sealed_json import sealed, unsealed

MANIFEST_NAME: Final = "manifest.json"
MANIFEST_VERSION: Final = 1


@dataclass(frozen=True)
class FileRecord:
    """Expected size and content of a file."""

    size_bytes: int
    sha256: str  # 64 hex digits


@dataclass(frozen=True)
class Input:
    """What a build read. Only the digest is part of the recipe's fingerprint."""

    digest: str  # content digest, or any text that identifies the content
    location: str = ""  # published directory below the root; empty: not a published build
    build_only: bool = False  # needed only during the build: the published files do without it


@dataclass(frozen=True)
class Manifest:
    """One build of an asset's partition. Written last: a directory without it is not published."""

    asset: str
    partition: str
    fingerprint: str  # of the recipe: asset, partition, code version, settings, input digests
    code_version: str
    settings: dict[str, JsonValue]
    inputs: dict[str, Input]
    files: dict[str, FileRecord]  # by path relative to the directory, forward slashes
    counts: dict[str, int | float]
    refusals: dict[str, int]  # reason -> count
    seconds: float  # wall clock time of the run that finished the build
    cpu_seconds: float  # of the same run, including child processes it waited for
    finished_at: str  # UTC, ISO 8601
    peak_memory_mebibytes: float = 0.0  # including child processes; 0: not measured
    inputs_verified: bool = False  # before the build, by their sha256; False for earlier versions

    @property
    def content_digest(self) -> str:
        """sha256 of the sorted (file name, file sha256) pairs."""
        return sha256_of(sorted((name, record.sha256) for name, record in self.files.items()))

    @property
    def recipe_fingerprint(self) -> str:
        """What `fingerprint` must be, from the recipe's other fields (`storage.publishing.Recipe`)."""
        return sha256_of(
            {
                "asset": self.asset,
                "partition": self.partition,
                "code_version": self.code_version,
                "settings": self.settings,
                "inputs": {name: value.digest for name, value in self.inputs.items()},
            }
        )

    def to_json(self) -> str:
        """The text of `manifest.json`, read by `from_json`."""
        canonical_json(self.settings)  # refuses values that JSON would change silently
        values = sealed({"manifest_version": MANIFEST_VERSION, **asdict(self)})
        return json.dumps(values, indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "Manifest":
        """Parse the text of `to_json`.

        Raises:
            ValueError: not a JSON object, changed since it was written, an unknown version, or wrong fields.
        """
        data: Any = json.loads(text)
        version = data.get("manifest_version") if isinstance(data, dict) else None
        if version != MANIFEST_VERSION:
            raise ValueError(
                f"manifest of version {version!r}, this pdfgc reads version {MANIFEST_VERSION}: "
                "use the pdfgc that wrote it, or build the asset again with --force"
            )
        data = unsealed(data)
        del data["manifest_version"]
        try:
            files = {name: FileRecord(**record) for name, record in data.pop("files").items()}
            inputs = {name: Input(**value) for name, value in data.pop("inputs").items()}
            return Manifest(files=files, inputs=inputs, **data)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"manifest of version {version} has wrong fields: {error}") from error
