from pathlib import Path

import pytest
from upath import UPath

from storage.root import local_copy, open_root, scratch_directory


def test_open_root_creates_an_absolute_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = open_root("data/people")
    assert str(root) == str(tmp_path / "data" / "people")
    assert root.is_dir()


def test_open_root_defaults_to_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "variable"))
    assert str(open_root()) == str(tmp_path / "variable")
    assert str(open_root(str(tmp_path / "argument"))) == str(tmp_path / "argument")


def test_open_root_defaults_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PDFGC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert str(open_root()) == str(tmp_path / "pdfgc-root")


def test_open_root_takes_a_file_url(tmp_path: Path) -> None:
    assert str(open_root(f"file://{tmp_path}/x")) == str(tmp_path / "x")


def test_open_root_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file' cannot be created: .*exists.*set PDFGC_ROOT"):
        open_root(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("location", "message"),
    [("gs://bucket/x", "has the unsupported scheme 'gs'"), ("s3:///x", "has no bucket")],
)
def test_open_root_refuses_unsupported_locations(location: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"'{location}'.*{message}.*set PDFGC_ROOT"):
        open_root(location)


def test_local_copy_of_a_local_directory_is_itself(tmp_path: Path) -> None:
    assert local_copy(UPath(tmp_path)) == tmp_path


def test_scratch_directory_is_inside_a_local_root(tmp_path: Path) -> None:
    assert scratch_directory(UPath(tmp_path)) == tmp_path / ".building"


def test_scratch_of_a_bucket_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PDFGC_SCRATCH", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bucket = UPath("s3://bucket/root")
    scratch = scratch_directory(bucket)
    assert (scratch.parent, scratch.stat().st_mode & 0o777) == (tmp_path, 0o700)
    scratch.chmod(0o777)
    with pytest.raises(ValueError, match="this user alone can write to: remove it, or set PDFGC_SCRATCH"):
        scratch_directory(bucket)
    scratch.rmdir()
    (tmp_path / "elsewhere").mkdir()
    scratch.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="this user alone"):
        scratch_directory(bucket)
