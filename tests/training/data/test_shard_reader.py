import contextlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from preprocessing.archive import read_members
from preprocessing.schema import LANDMARK_COUNT
from preprocessing.shards import decode_array
from storage.integrity.block_checksums import checksums_path
from storage.tar_header import parse_tar_header
from tests.factories.training.data import (
    CLIPS,
    READER,
    SIDE_PX,
    damage_member,
    key_of,
    make_data_set,
    place_of,
)
from training.data import shard_reader
from training.data.index import read_clip_index
from training.data.shard_reader import CorruptMemberError, ReaderSettings, ShardReader


def open_reader(root: Path, settings: ReaderSettings = READER) -> ShardReader:
    return ShardReader(read_clip_index(root / "assets/dataset", root, "train"), settings)


def open_files(folder: Path) -> int:
    """How many files below a folder are open here; others come and go with the garbage collector."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own is gone by now
            count += descriptor.readlink().is_relative_to(folder)
    return count


def overwrite(root: Path, key: str, at_bytes: int, data: bytes) -> None:
    """Put `data` at a byte of a sample."""
    path, place = place_of(root, key)
    with path.open("r+b") as file:
        file.seek(place.offset_bytes + at_bytes)
        file.write(data)


def test_rows_equal_the_whole_array(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    path, place = place_of(tmp_path, key_of(3))
    whole = decode_array(key_of(3), read_members(path, place), "landmarks.npy")
    shape = (CLIPS[3].frames, LANDMARK_COUNT, 3)
    rows = open_reader(tmp_path).rows(2, "landmarks.npy", shape, 4, 9)  # the third clip of the split
    assert np.array_equal(rows, whole[4:9])


def test_caches_do_not_change_the_result(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    narrow = open_reader(tmp_path, ReaderSettings(frame_side_px=SIDE_PX, directories_kept=1, shards_open=1))
    wide = open_reader(tmp_path)
    for clip in (0, 2, 4, 0, 3):
        assert torch.stack(narrow.frames(clip, [1, 0, 1])).equal(torch.stack(wide.frames(clip, [1, 0, 1])))
    wide.close()
    assert open_files(tmp_path) == 1
    narrow.close()
    assert open_files(tmp_path) == 0


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_tar_headers_match_tarfile(format_: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as tar:
        info = tarfile.TarInfo("a-key.anchors.00.eyes.jpg")
        info.size = 12_345
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    assert parse_tar_header(buffer.getvalue()[:512]) == ("a-key.anchors.00.eyes.jpg", 12_345)


def test_tar_header_of_a_folder_is_rejected() -> None:
    info = tarfile.TarInfo("folder")
    info.type = tarfile.DIRTYPE
    with pytest.raises(ValueError, match="entry of type b'5'"):
        parse_tar_header(info.tobuf(tarfile.USTAR_FORMAT))


def test_damaged_header_names_shard_and_key(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    overwrite(tmp_path, key_of(3), 0, b"x")
    with pytest.raises(CorruptMemberError, match=r"shard assets/shard-1\.tar, sample clip-03: .*checksum"):
        open_reader(tmp_path).frames(2, [0])


def test_truncated_shard_is_corrupt(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    path, place = place_of(tmp_path, key_of(6))
    os.truncate(path, place.offset_bytes + 700)
    with pytest.raises(CorruptMemberError, match=r"sample clip-06: member .* is cut off"):
        open_reader(tmp_path).frames(4, [0])


def test_wrong_members_are_named(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    for member in ("mel.npy", "anchors.json", "002.jpg"):
        damage_member(tmp_path, key_of(0), member)
    reader, frames = open_reader(tmp_path), CLIPS[0].frames
    with pytest.raises(CorruptMemberError, match=r"member mel\.npy is not an array file"):
        reader.rows(0, "mel.npy", (4 * frames + 16, 80), 0, 1)
    with pytest.raises(CorruptMemberError, match=r"member anchors\.json is not JSON"):
        reader.json(0, "anchors.json")
    with pytest.raises(CorruptMemberError, match=r"member 002\.jpg cannot be decoded"):
        reader.frames(0, [2])
    with pytest.raises(CorruptMemberError, match=r"member 099\.jpg is missing"):
        reader.frames(0, [99])
    with pytest.raises(CorruptMemberError, match=rf"is float32\[{frames}, 6\], need float32\[{frames}, 5\]"):
        reader.rows(0, "pose.npy", (frames, 5), 0, 1)


def test_not_finite_value_is_corrupt_when_read(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    path, place = place_of(tmp_path, key_of(0))
    data, frames = path.read_bytes(), CLIPS[0].frames
    start = data.index(b"clip-00.pose.npy\0", place.offset_bytes) + 512 + 128 - place.offset_bytes
    overwrite(tmp_path, key_of(0), start + 24 * 3, np.array([np.nan], np.float32).tobytes())
    reader = open_reader(tmp_path)
    assert reader.rows(0, "pose.npy", (frames, 6), 2, 3)[0, 0] == 2 / 64
    with pytest.raises(CorruptMemberError, match="rows 3 to 4 hold a value that is not finite"):
        reader.rows(0, "pose.npy", (frames, 6), 3, 4)


def test_crop_of_other_size_is_corrupt(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    with pytest.raises(CorruptMemberError, match="is 32 x 32 px, need 224 x 224"):
        open_reader(tmp_path, ReaderSettings()).frames(0, [0])


@pytest.mark.parametrize(("member", "read"), [("002.jpg", "frames"), ("landmarks.npy", "rows")])
def test_a_flipped_byte_that_still_decodes_is_found(tmp_path: Path, member: str, read: str) -> None:
    make_data_set(tmp_path, with_checksums=True)
    path, place = place_of(tmp_path, key_of(1))
    data = bytearray(path.read_bytes())
    header = data.index(f"{key_of(1)}.{member}\0".encode(), place.offset_bytes)
    size = int(data[header + 124 : header + 135], 8)
    data[header + 512 + size // 2] ^= 1
    path.write_bytes(data)
    shape = (CLIPS[1].frames, LANDMARK_COUNT, 3)
    for with_checksums in (True, False):
        if not with_checksums:
            checksums_path(path).unlink()  # a shard of an earlier version
        reader = open_reader(tmp_path)
        error = pytest.raises(CorruptMemberError, match=rf"member {member} has a wrong checksum at bytes")
        with error if with_checksums else contextlib.nullcontext():
            if read == "frames":
                reader.frames(1, [2])
            else:
                reader.rows(1, member, shape, CLIPS[1].frames // 2, CLIPS[1].frames // 2 + 1)
        reader.close()


def test_checksums_do_not_change_what_is_read(tmp_path: Path) -> None:
    make_data_set(tmp_path, with_checksums=True)
    reader = open_reader(tmp_path)
    with_checksums = torch.stack(reader.frames(3, range(5)))
    reader.close()
    for shard in (tmp_path / "assets").glob("*.tar"):
        checksums_path(shard).unlink()
    assert torch.stack(open_reader(tmp_path).frames(3, range(5))).equal(with_checksums)


def member_at(root: Path, clip: int, member: str) -> int:
    """Byte of a member's data within its sample."""
    path, place = place_of(root, key_of(clip))
    sample = path.read_bytes()[place.offset_bytes :]
    return sample.index(f"{key_of(clip)}.{member}".encode()) + 512


def test_negative_size_in_a_header_ends(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    overwrite(tmp_path, key_of(0), 124, b"-0000001000\0")
    with pytest.raises(CorruptMemberError, match=r"member \(tar header\) at byte 0: size is b'-0000001000"):
        open_reader(tmp_path).frames(0, [0])


def test_member_that_is_there_twice_is_corrupt(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    header = member_at(tmp_path, 0, "001.jpg") - 512
    overwrite(tmp_path, key_of(0), header, f"{key_of(0)}.000.jpg".encode())
    with pytest.raises(CorruptMemberError, match=r"member 000\.jpg is there twice"):
        open_reader(tmp_path).frames(0, [0])


def test_size_of_a_picture_is_read_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data_set(tmp_path)
    path, place = place_of(tmp_path, key_of(0))
    jpeg = read_members(path, place)["000.jpg"]
    size = jpeg.index(b"\xff\xc0") + 5
    overwrite(tmp_path, key_of(0), member_at(tmp_path, 0, "000.jpg") + size, b"\x75\x30" * 2)  # 30000 x 30000

    def fail(_: bytes) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(shard_reader, "decode_image", fail)
    with pytest.raises(CorruptMemberError, match=r"000\.jpg is 30000 x 30000 px, need 32 x 32"):
        open_reader(tmp_path).frames(0, [0])


@pytest.mark.parametrize(
    ("member", "columns", "found"),
    [("pose.npy", 6, r"3\.5, need -3\.14159 to 3\.14159"), ("blink.npy", 2, "-0.5 to 3.5, need 0 to 1")],
)
def test_labels_out_of_range_are_corrupt(tmp_path: Path, member: str, columns: int, found: str) -> None:
    make_data_set(tmp_path)
    values = np.array([3.5, -0.5], np.float32).tobytes()
    overwrite(tmp_path, key_of(0), member_at(tmp_path, 0, member) + 128, values)
    shape = (CLIPS[0].frames, columns)
    with pytest.raises(CorruptMemberError, match=f"{member} rows 0 to 1 hold .*{found}"):
        open_reader(tmp_path).rows(0, member, shape, 0, 1)
    assert open_reader(tmp_path).rows(0, member, shape, 1, 2).shape == (1, columns)
