import hashlib
import json
from dataclasses import replace

import pytest

from storage.integrity.sealed_json import SEAL, sealed, unsealed
from storage.manifest import FileRecord, Input, Manifest

MANIFEST = Manifest(
    asset="clips",
    partition="batch-0000",
    fingerprint="f" * 64,
    code_version="1",
    settings={"minimum_face_px": 48, "scales": [1.0, 0.5]},
    inputs={"tracks": Input("abc"), "clips": Input("d", "assets/clips/b0/0-0", build_only=True)},
    files={"b.tar": FileRecord(2, "22"), "a.tar": FileRecord(1, "11")},
    counts={"clips": 3, "mean_score": 0.25},
    refusals={"blurred": 1},
    seconds=1.5,
    cpu_seconds=2.5,
    finished_at="2026-01-02T03:04:05.000006+00:00",
)


def test_manifest_round_trips_through_json() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_content_digest_is_over_sorted_names_and_hashes() -> None:
    expected = hashlib.sha256(b'[["a.tar","11"],["b.tar","22"]]').hexdigest()
    assert MANIFEST.content_digest == expected


def test_content_digest_ignores_time_cost_and_recipe() -> None:
    other = replace(
        MANIFEST, finished_at="2027", seconds=9.0, cpu_seconds=9.0, counts={}, settings={}, fingerprint="0"
    )
    assert other.content_digest == MANIFEST.content_digest


def test_content_digest_depends_on_every_file() -> None:
    renamed = replace(MANIFEST, files={"c.tar": FileRecord(2, "22"), "a.tar": FileRecord(1, "11")})
    changed = replace(MANIFEST, files=MANIFEST.files | {"b.tar": FileRecord(2, "23")})
    assert len({MANIFEST.content_digest, renamed.content_digest, changed.content_digest}) == 3


@pytest.mark.parametrize("version", [0, 2, None])
def test_manifest_of_unknown_version_is_refused(version: int | None) -> None:
    text = json.dumps(json.loads(MANIFEST.to_json()) | {"manifest_version": version})
    with pytest.raises(ValueError, match=f"manifest of version {version}, this pdfgc reads version 1"):
        Manifest.from_json(text)


@pytest.mark.parametrize("text", ["[]", '"x"', '{"manifest_version": 1}', "{"])
def test_invalid_manifest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"manifest|Expecting"):
        Manifest.from_json(text)


def test_manifest_with_unknown_field_is_refused() -> None:
    text = json.dumps(sealed(unsealed(json.loads(MANIFEST.to_json())) | {"colour": "red"}))
    with pytest.raises(ValueError, match=r"has wrong fields: .*colour"):
        Manifest.from_json(text)


def test_manifest_that_changed_is_refused() -> None:
    text = MANIFEST.to_json().replace("2026-01-02", "2026-01-03")
    with pytest.raises(ValueError, match="it changed since it was written"):
        Manifest.from_json(text)


def test_manifest_of_an_earlier_version_without_sha256_is_read() -> None:
    values = json.loads(MANIFEST.to_json())
    del values[SEAL]
    assert Manifest.from_json(json.dumps(values)) == MANIFEST
