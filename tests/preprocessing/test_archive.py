"""Tars of samples: reproducible bytes, access to single samples and members, errors of damaged files."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from webdataset.compat import WebDataset

from preprocessing.archive import ArchiveWriter, Place, member_header, read_members, read_some_members

SAMPLES = {
    "b-t00": {"001.jpg": b"second", "000.jpg": b"first", "meta.json": b"{}"},
    "a-t01": {"npy": b"x" * 700},
}


def write(path: Path) -> list[Place]:
    with ArchiveWriter(path) as archive:
        places = [archive.write(key, members) for key, members in SAMPLES.items()]
        assert archive.size_bytes == sum(place.size_bytes for place in places)
    return places


def test_read_members_reads_single_samples_in_any_order(tmp_path: Path) -> None:
    places = write(tmp_path / "a.tar")
    # A header of 512 bytes and the content rounded up to 512, three and one times.
    assert places == [Place(0, 3 * 1024), Place(3 * 1024, 512 + 1024)]
    for place, members in reversed(list(zip(places, SAMPLES.values(), strict=True))):
        assert read_members(tmp_path / "a.tar", place) == members


@pytest.mark.parametrize("name", ["k.000.jpg", "k" * 95 + ".jpg", "k" * 96 + ".jpg"])
@pytest.mark.parametrize("size", [0, 511, 8**11 - 1])
def test_member_header_is_that_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.uname, info.gname = size, 0o444, "pdfgc", "pdfgc"
    assert member_header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


def test_archive_bytes_do_not_depend_on_process_and_time(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    script = (
        "import os, sys, time; from pathlib import Path; time.time = lambda: 1e9\n"
        "os.umask(0o077); os.environ['USER'] = 'someone'\n"
        "from preprocessing.archive import ArchiveWriter\n"
        "with ArchiveWriter(Path(sys.argv[1])) as archive:\n"
        f"    for key, members in {SAMPLES!r}.items():\n"
        "        archive.write(key, members)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "b.tar")], check=True)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


# Its reader leaves the file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_archive_is_readable_by_webdataset(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    dataset = WebDataset(str(tmp_path / "a.tar"), shardshuffle=False, empty_check=False)
    read = {
        sample["__key__"]: {name: data for name, data in sample.items() if not name.startswith("__")}
        for sample in dataset
    }
    assert read == SAMPLES


@pytest.mark.parametrize("key", ["a.b", "", "a/b", "../a"])
def test_write_refuses_keys_that_webdataset_splits(tmp_path: Path, key: str) -> None:
    with ArchiveWriter(tmp_path / "a.tar") as archive, pytest.raises(ValueError, match="need a key"):
        archive.write(key, {"jpg": b""})


def test_read_members_refuses_a_truncated_tar(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    places = write(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ValueError, match=r"a\.tar ends at 4000 bytes, inside a sample"):
        read_members(path, places[1])


def test_read_members_refuses_a_wrong_place(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path)
    with pytest.raises(ValueError, match=r"members of \['a-t01', 'b-t00'\], need those of one sample"):
        read_members(path, Place(0, 3 * 1024 + 512 + 1024))
    with pytest.raises(ValueError, match="not a tar member"):
        read_members(path, Place(600, 1024))
    with pytest.raises(ValueError, match="not a tar member"):
        read_members(path, Place(0, 0))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_read_members_refuses_irregular_members(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.type, info.linkname = kind, "secret"
    place = hostile_tar(tmp_path / "a.tar", [(info, b"")])
    with pytest.raises(ValueError, match="not a regular file"):
        read_members(tmp_path / "a.tar", place)


def test_read_members_refuses_duplicate_members(tmp_path: Path) -> None:
    twice = []
    for data in (b"one", b"two"):
        info = tarfile.TarInfo("a.jpg")
        info.size = len(data)
        twice.append((info, data))
    place = hostile_tar(tmp_path / "a.tar", twice)
    with pytest.raises(ValueError, match=r"a\.jpg of 3 bytes is cut off, or occurs twice"):
        read_members(tmp_path / "a.tar", place)


def test_negative_size_is_refused_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with ArchiveWriter(path) as archive:
        place = archive.write("key", MEMBERS)
    data = bytearray(path.read_bytes())
    data[124:136] = b"-0000001000\0"  # from here one block back: the same header again
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a tar member"):
        read_members(path, place)
    with pytest.raises(ValueError, match="not a tar member"):
        read_some_members(path, place, ("001.jpg",))


def hostile_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Place:
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return Place(0, path.stat().st_size)


MEMBERS = {"000.jpg": b"a" * 700, "001.jpg": b"b" * 512, "landmarks.npy": b"", "meta.json": b"{}"}


def test_read_some_members_returns_only_those(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a.tar") as archive:
        archive.write("before", {"001.jpg": b"other"})
        place = archive.write("key", MEMBERS)
        archive.write("behind", {"001.jpg": b"other"})
    members = read_some_members(tmp_path / "a.tar", place, ("landmarks.npy", "001.jpg"))
    assert members == {"001.jpg": b"b" * 512, "landmarks.npy": b""}


def test_read_some_members_refuses_missing_and_damaged(tmp_path: Path) -> None:
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
