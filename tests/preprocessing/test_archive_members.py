from pathlib import Path

import pytest

from preprocessing.archive import ArchiveWriter, Place
from preprocessing.archive_members import read_some_members

MEMBERS = {"000.jpg": b"a" * 700, "001.jpg": b"b" * 512, "landmarks.npy": b"", "meta.json": b"{}"}


def test_only_the_members_asked_for_come_back(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a.tar") as archive:
        archive.write("before", {"001.jpg": b"other"})
        place = archive.write("key", MEMBERS)
        archive.write("behind", {"001.jpg": b"other"})
    found = read_some_members(tmp_path / "a.tar", place, ("landmarks.npy", "001.jpg"))
    assert found == {"001.jpg": b"b" * 512, "landmarks.npy": b""}


def test_a_missing_member_a_cut_tar_and_a_wrong_place_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with ArchiveWriter(path) as archive:
        place = archive.write("key", MEMBERS)
    with pytest.raises(ValueError, match=r"no member 002\.jpg"):
        read_some_members(path, place, ("000.jpg", "002.jpg"))
    with pytest.raises(ValueError, match="not a tar member"):
        read_some_members(path, Place(place.offset_bytes + 100, place.size_bytes - 100), ("000.jpg",))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="inside a sample"):
        read_some_members(path, place, ("000.jpg",))
