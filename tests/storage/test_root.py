from pathlib import Path

import pytest
from upath import UPath

from storage.root import local_copy, open_root, scratch_directory


def test_a_local_root_is_made_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = open_root("data/people")
    assert str(root) == str(tmp_path / "data" / "people")
    assert root.is_dir()


def test_the_variable_counts_where_no_location_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "variable"))
    assert str(open_root()) == str(tmp_path / "variable")
    assert str(open_root(str(tmp_path / "argument"))) == str(tmp_path / "argument")


def test_with_neither_the_root_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PDFGC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert str(open_root()) == str(tmp_path / "pdfgc-root")


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    assert str(open_root(f"file://{tmp_path}/x")) == str(tmp_path / "x")


def test_a_root_that_is_a_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file' cannot be made: .*exists.*set PDFGC_ROOT"):
        open_root(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("location", "message"),
    [("gs://bucket/x", "of the kind 'gs', not supported"), ("s3:///x", "names no bucket")],
)
def test_an_unusable_location_is_named_with_the_way_out(location: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"'{location}'.*{message}.*set PDFGC_ROOT"):
        open_root(location)


def test_a_local_directory_is_its_own_copy(tmp_path: Path) -> None:
    assert local_copy(UPath(tmp_path)) == tmp_path


def test_a_local_root_is_built_in_so_that_a_rename_publishes(tmp_path: Path) -> None:
    assert scratch_directory(UPath(tmp_path)) == tmp_path / ".building"
