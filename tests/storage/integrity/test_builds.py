"""Pointers, manifests, names, sizes and references: changed bytes of the small files are found."""

import json
from pathlib import Path

import pytest
from upath import UPath

from storage.integrity.builds import examine_builds
from storage.integrity.faults import Fault
from storage.integrity.sealed_json import unsealed
from storage.integrity.suspect import mark_suspect
from storage.manifest import MANIFEST_NAME
from storage.pointer import CURRENT_NAME
from storage.publishing import current, materialise
from storage.root import open_root
from tests.factories.storage.builds import materialise_small, recipe
from tests.factories.storage.old_builds import build_other_content, publish_index, supersede


def faults_of(root: UPath) -> list[Fault]:
    return list(examine_builds(root).faults)


@pytest.mark.parametrize("name", [CURRENT_NAME, MANIFEST_NAME])
def test_flipped_bytes_of_pointer_and_manifest_are_found(tmp_path: Path, name: str) -> None:
    build = supersede(UPath(tmp_path))[1]
    folder = Path(build.directory.path)
    file = folder / name if name == MANIFEST_NAME else folder.parent / name
    text = file.read_bytes()
    assert faults_of(UPath(tmp_path)) == []
    for place in range(0, len(text), 7 if name == MANIFEST_NAME else 1):
        damaged = bytearray(text)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        found = faults_of(UPath(tmp_path))
        assert file.relative_to(tmp_path).as_posix() in [fault.path for fault in found], place
    file.write_bytes(text)
    assert faults_of(UPath(tmp_path)) == []


def test_damaged_manifest_and_pointer_are_one_line_with_the_way_out(tmp_path: Path) -> None:
    build = materialise_small(UPath(tmp_path))
    manifest = build.directory / MANIFEST_NAME
    text = manifest.read_text()
    manifest.write_text(text.replace('"1"', '"2"', 1))
    with pytest.raises(ValueError, match=r"cannot be used: it changed since.*run: pdfgc repair"):
        current(UPath(tmp_path), "clips", "batch-0000")
    manifest.write_text(text)
    (build.directory.parent / CURRENT_NAME).write_text("{}")
    with pytest.raises(ValueError, match=r"current\.json is damaged: .*; run: pdfgc repair"):
        current(UPath(tmp_path), "clips", "batch-0000")


def test_roots_of_earlier_versions_have_no_faults(tmp_path: Path) -> None:
    build = materialise_small(UPath(tmp_path))
    for file, indent in ((build.directory / MANIFEST_NAME, 1), (build.directory.parent / CURRENT_NAME, None)):
        values = unsealed(json.loads(file.read_text()))
        values.pop("inputs_verified", None)
        file.write_text(json.dumps(values, indent=indent))
    found = examine_builds(UPath(tmp_path))
    assert found.faults == ()
    assert found.partitions["clips", "batch-0000"].unsealed == 2


def test_files_missing_cut_and_added(tmp_path: Path) -> None:
    clips = materialise_small(UPath(tmp_path))
    publish_index(UPath(tmp_path), clips)
    (clips.directory / "index.json").unlink()
    (clips.directory / "shards-000.tar").write_bytes(b"first")
    (clips.directory / "parts" / "new.bin").write_bytes(b"?")
    lines = [fault.line().removeprefix(f"{clips.location}/") for fault in faults_of(UPath(tmp_path))]
    damaged = "affects index/whole; mend: pdfgc repair"
    assert lines == [
        f"index.json: expected 2 bytes, found nothing; {damaged}",
        f"shards-000.tar: expected 5000 bytes, found 5 bytes; {damaged}",
        "parts/new.bin: expected nothing, found 1 bytes; affects nothing; mend: remove it",
    ]


def test_dangling_pointer_lost_manifest_and_lost_input(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    clips = materialise_small(root)
    index = publish_index(root, clips)
    (clips.directory / MANIFEST_NAME).unlink()
    assert [(fault.kind, fault.found) for fault in faults_of(root)] == [("manifest", "nothing")]
    Path(clips.directory.path).rename(tmp_path / "elsewhere")
    kinds = {fault.kind: fault.path for fault in faults_of(root)}
    assert kinds == {
        "pointer": "assets/clips/batch-0000/current.json",
        "input": f"{index.location}/manifest.json",
    }
    (index.directory.parent / CURRENT_NAME).unlink()
    pointers = [fault.path for fault in faults_of(root) if fault.kind == "pointer"]
    assert "assets/index/whole/current.json" in pointers


def test_suspect_builds_are_stale_until_built_again(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    clips = materialise_small(root)
    mark_suspect(root, clips.location, "made from x, which was damaged")
    assert [(fault.kind, fault.path) for fault in faults_of(root)] == [("suspect", clips.location)]
    again = materialise_small(root)
    assert (again.built, again.location) == (True, clips.location)
    assert again.reason == "it is suspect: made from x, which was damaged"
    assert faults_of(root) == []


def test_a_suspect_build_is_not_made_current_again(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    mark_suspect(root, old.location, "made from x, which was damaged")
    again = materialise(root, recipe(), build_other_content)
    assert again.built
    assert again.location != old.location


def test_faults_in_a_bucket(bucket: str) -> None:
    root = open_root(f"{bucket}/root")
    clips = materialise_small(root)
    assert faults_of(root) == []
    (clips.directory / "index.json").write_bytes(b"[[]]")
    (clips.directory.parent / CURRENT_NAME).write_bytes(b"{}")
    assert [(fault.kind, fault.found[:7]) for fault in faults_of(root)] == [
        ("pointer", "it is d"),
        ("file", "4 bytes"),
    ]
