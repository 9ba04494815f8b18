import subprocess
import sys
from pathlib import Path

import pytest

from storage.atomic import (
    copy_folder,
    partial_path,
    remove_dead_partials,
    temporary_folder,
    write_atomically,
)


def test_write_atomically_replaces_the_file_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "face.png"
    with write_atomically(target) as partial:
        partial.write_bytes(b"whole")
        assert not target.exists()
        assert (partial.parent, partial.suffix) == (target.parent, ".png")
        assert ".partial-" in partial.name
    assert [path.name for path in target.parent.iterdir()] == ["face.png"]
    assert target.read_bytes() == b"whole"


def test_write_atomically_keeps_the_old_file_on_error(tmp_path: Path) -> None:
    target = tmp_path / "face.png"
    target.write_bytes(b"old")

    def fail() -> None:
        with write_atomically(target) as partial:
            partial.write_bytes(b"half")
            raise RuntimeError("camera")

    with pytest.raises(RuntimeError, match="camera"):
        fail()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_write_atomically_needs_a_written_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "face.png"):
        pass


def test_remove_dead_partials_keeps_live_ones(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait(timeout=60)
    dead = tmp_path / "deep" / f"a.partial-{finished.pid}-0011aabb.tar"
    dead_directory = tmp_path / f"b.partial-{finished.pid}-0011aabb"
    dead_directory.mkdir()
    alive, plain = partial_path(tmp_path / "c.tar"), tmp_path / "d.tar"
    for path in (dead, dead_directory / "file", alive, plain):
        path.write_bytes(b"")

    remove_dead_partials(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, "d.tar", "deep"])
    assert list((tmp_path / "deep").iterdir()) == []


def test_copy_folder_copies_all_and_adds_to_what_is_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "a").write_bytes(b"1")
    (source / "deep" / "b").write_bytes(b"2")
    target.mkdir()
    (target / "kept").write_bytes(b"3")
    copy_folder(source, target)
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == {"a": b"1", "deep/b": b"2", "kept": b"3"}


def test_temporary_folder_removes_those_of_killed_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait(timeout=60)
    (tmp_path / f"pdfgc-panels.partial-{finished.pid}-0011aabb").mkdir()
    (tmp_path / f"pdfgc-other.partial-{finished.pid}-0011aabb").mkdir()
    with temporary_folder("panels") as first, temporary_folder("panels") as second:
        assert first != second
        assert first.is_dir()
        assert first.stat().st_mode & 0o077 == 0
        assert len(list(tmp_path.glob("pdfgc-panels*"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == [f"pdfgc-other.partial-{finished.pid}-0011aabb"]
