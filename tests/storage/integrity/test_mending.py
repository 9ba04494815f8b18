"""Setting damaged builds aside: what is moved, marked and pointed to, killed at any change as well."""

import shutil
from pathlib import Path

from upath import UPath

from storage.integrity.builds import examine_builds
from storage.integrity.mending import plan_builds
from storage.integrity.quarantine import QUARANTINE, set_aside
from storage.integrity.suspect import why_suspect
from storage.pointer import CURRENT_NAME, read_pointer
from storage.root import open_root
from tests.factories.storage.builds import files_below, killed_at_every_change, materialise_small
from tests.factories.storage.old_builds import publish_index, supersede


def mend(root: UPath) -> None:
    found = examine_builds(root)
    for action in plan_builds(root, found, found.faults).actions:
        action.do()


def state(root: Path) -> dict[str, bytes]:
    """Every file but the times in pointers and marks."""
    files = files_below(root / "assets") | files_below(root / QUARANTINE)
    return {name: b"" if name.endswith(".json") else data for name, data in files.items()}


def damage_clips(root: Path) -> str:
    """Two builds of clips, an index over the current one, which then loses a file; location of that one."""
    _, clips = supersede(UPath(root))
    publish_index(UPath(root), clips)
    (clips.directory / "index.json").unlink()
    return clips.location


def test_damaged_build_is_set_aside_and_the_one_before_is_current(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    location = damage_clips(tmp_path)
    mend(root)
    assert not (tmp_path / location).exists()
    assert (tmp_path / QUARANTINE / location / "manifest.json").is_file()
    pointer = read_pointer(root / "assets/clips/batch-0000")
    assert pointer is not None
    assert (tmp_path / "assets/clips/batch-0000" / pointer.directory).is_dir()
    (index,) = (tmp_path / "assets/index/whole").glob("*-*")
    assert why_suspect(UPath(index)) == f"made from {location}, which was damaged"
    assert [fault.kind for fault in examine_builds(root).faults] == ["suspect"]


def test_only_build_set_aside_is_still_to_be_built(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    build = materialise_small(root)
    (build.directory / "manifest.json").write_bytes(b"{")
    mend(root)
    assert not (build.directory.parent / CURRENT_NAME).exists()
    (fault,) = examine_builds(root).faults
    assert fault.line() == (
        "assets/clips/batch-0000: expected a build, found only builds that were set aside; affects nothing; "
        "mend: pdfgc repair"
    )
    assert materialise_small(root).location == build.location
    assert examine_builds(root).faults == ()


def test_damaged_pointer_names_the_newest_build(tmp_path: Path) -> None:
    _, newest = supersede(UPath(tmp_path))
    (newest.directory.parent / CURRENT_NAME).write_bytes(b"{}")
    mend(UPath(tmp_path))
    pointer = read_pointer(newest.directory.parent)
    assert pointer is not None
    assert pointer.directory == newest.directory.name
    assert examine_builds(UPath(tmp_path)).faults == ()


def test_mending_can_be_killed_at_any_change(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    damage_clips(whole)
    before = tmp_path / "before"
    shutil.copytree(whole, before)
    mend(UPath(whole))
    kills = 0
    for number in killed_at_every_change(lambda number: fresh(before, tmp_path / f"k{number}"), mend):
        root = tmp_path / f"k{number}"
        mend(UPath(root))
        for partial in root.rglob("*.partial-*"):
            partial.unlink()
        assert state(root) == state(whole), number
        kills += 1
    assert kills > 5


def fresh(before: Path, root: Path) -> Path:
    shutil.copytree(before, root)
    return root


def test_nothing_is_overwritten_in_the_quarantine(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    for content in (b"1", b"2"):
        (tmp_path / "x").write_bytes(content)
        set_aside(root, "x")
    assert files_below(tmp_path / QUARANTINE) == {"x": b"1", "x~2": b"2"}


def test_build_in_a_bucket_is_set_aside(bucket: str) -> None:
    root = open_root(f"{bucket}/root")
    location = materialise_small(root).location
    (root / location / "index.json").write_bytes(b"[[]]")
    mend(root)
    assert not (root / location / "manifest.json").exists()
    assert (root / QUARANTINE / location / "manifest.json").exists()
    assert (root / QUARANTINE / location / "index.json").read_bytes() == b"[[]]"
    assert [fault.kind for fault in examine_builds(root).faults] == ["pointer"]
