"""Checksums of blocks: what is written, and that each changed byte is found where it is read."""

import os
import zlib
from pathlib import Path

import pytest

from storage.integrity.block_checksums import (
    BLOCK_BYTES,
    BlockChecksums,
    checksums_path,
    read_checked,
    read_checksums,
)

DATA = bytes(range(256)) * (2 * BLOCK_BYTES // 256) + b"the last block"


def write(file: Path, piece_bytes: int) -> None:
    checksums = BlockChecksums()
    file.write_bytes(DATA)
    for start in range(0, len(DATA), piece_bytes):
        checksums.add(DATA[start : start + piece_bytes])
    checksums.write(file)


@pytest.mark.parametrize("piece_bytes", [700, BLOCK_BYTES, 3 * BLOCK_BYTES])
def test_checksums_do_not_depend_on_the_pieces(tmp_path: Path, piece_bytes: int) -> None:
    write(tmp_path / "a.tar", piece_bytes)
    blocks = [DATA[start : start + BLOCK_BYTES] for start in range(0, len(DATA), BLOCK_BYTES)]
    expected = b"".join(zlib.crc32(block).to_bytes(4, "little") for block in blocks)
    assert checksums_path(tmp_path / "a.tar").read_bytes() == expected


@pytest.mark.parametrize("flipped", [0, BLOCK_BYTES - 1, BLOCK_BYTES, len(DATA) - 1])
def test_a_flipped_byte_is_found_only_in_its_block(tmp_path: Path, flipped: int) -> None:
    file = tmp_path / "a.tar"
    write(file, 700)
    damaged = bytearray(DATA)
    damaged[flipped] ^= 1
    file.write_bytes(damaged)
    checksums = read_checksums(file)
    assert checksums is not None
    with file.open("rb") as opened:
        for block in range(3):
            start = block * BLOCK_BYTES
            if block == flipped // BLOCK_BYTES:
                with pytest.raises(ValueError, match=f"wrong checksum at bytes {start} to"):
                    read_checked(opened.fileno(), checksums, start, 5)
            else:
                assert read_checked(opened.fileno(), checksums, start, 5) == DATA[start : start + 5]


def test_reads_across_blocks_and_at_the_end(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", 700)
    checksums = read_checksums(tmp_path / "a.tar")
    assert checksums is not None
    descriptor = os.open(tmp_path / "a.tar", os.O_RDONLY)
    middle = read_checked(descriptor, checksums, BLOCK_BYTES - 3, BLOCK_BYTES + 6)
    assert middle == DATA[BLOCK_BYTES - 3 : 2 * BLOCK_BYTES + 3]
    assert read_checked(descriptor, checksums, len(DATA) - 4, 99) == DATA[-4:]
    os.close(descriptor)


def test_absent_and_cut_checksums(tmp_path: Path) -> None:
    (tmp_path / "old.tar").write_bytes(DATA)
    assert read_checksums(tmp_path / "old.tar") is None
    write(tmp_path / "a.tar", 700)
    checksums_path(tmp_path / "a.tar").write_bytes(b"1234")
    with pytest.raises(ValueError, match=r"a\.tar\.crc32 has 4 bytes, need 12"):
        read_checksums(tmp_path / "a.tar")
