"""Tars: the same bytes always, each sample readable alone, damage told."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from webdataset.compat import WebDataset

from preprocessing.archive import ArchiveWriter, Place, read_members

SAMPLES = {
    "b-t00": {"001.jpg": b"second", "000.jpg": b"first", "meta.json": b"{}"},
    "a-t01": {"npy": b"x" * 700},
}


def write(path: Path) -> list[Place]:
    with ArchiveWriter(path) as archive:
        places = [archive.write(key, members) for key, members in SAMPLES.items()]
        assert archive.size_bytes == sum(place.size_bytes for place in places)
    return places


def test_each_sample_is_read_alone_in_any_order(tmp_path: Path) -> None:
    places = write(tmp_path / "a.tar")
    # A header of 512 bytes and the content rounded up to 512, three and one times.
    assert places == [Place(0, 3 * 1024), Place(3 * 1024, 512 + 1024)]
    for place, members in reversed(list(zip(places, SAMPLES.values(), strict=True))):
        assert read_members(tmp_path / "a.tar", place) == members


def test_another_process_at_another_time_makes_the_same_bytes(tmp_path: Path) -> None:
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
def test_stock_webdataset_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    dataset = WebDataset(str(tmp_path / "a.tar"), shardshuffle=False, empty_check=False)
    read = {
        sample["__key__"]: {name: data for name, data in sample.items() if not name.startswith("__")}
        for sample in dataset
    }
    assert read == SAMPLES


@pytest.mark.parametrize("key", ["a.b", "", "a/b", "../a"])
def test_a_key_that_would_not_come_back_is_refused(tmp_path: Path, key: str) -> None:
    with ArchiveWriter(tmp_path / "a.tar") as archive, pytest.raises(ValueError, match="need a key like"):
        archive.write(key, {"jpg": b""})


def test_a_tar_that_ends_inside_a_sample_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    places = write(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ValueError, match=r"a\.tar ends at 4000 bytes, inside a sample"):
        read_members(path, places[1])


def test_a_place_that_is_not_a_samples_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path)
    with pytest.raises(ValueError, match=r"members of \['a-t01', 'b-t00'\], need one sample"):
        read_members(path, Place(0, 3 * 1024 + 512 + 1024))
    with pytest.raises(ValueError, match="not a tar member"):
        read_members(path, Place(600, 1024))
    with pytest.raises(ValueError, match="not a tar member"):
        read_members(path, Place(0, 0))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_plain_file_is_told(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.type, info.linkname = kind, "secret"
    place = hostile_tar(tmp_path / "a.tar", [(info, b"")])
    with pytest.raises(ValueError, match="no plain file"):
        read_members(tmp_path / "a.tar", place)


def test_a_member_that_is_there_twice_is_told(tmp_path: Path) -> None:
    twice = []
    for data in (b"one", b"two"):
        info = tarfile.TarInfo("a.jpg")
        info.size = len(data)
        twice.append((info, data))
    place = hostile_tar(tmp_path / "a.tar", twice)
    with pytest.raises(ValueError, match=r"a\.jpg is no plain file, or there twice"):
        read_members(tmp_path / "a.tar", place)


def hostile_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Place:
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return Place(0, path.stat().st_size)
