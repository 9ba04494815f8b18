"""Tar headers that lie."""

import tarfile

import pytest

from storage.tar_header import next_header, parse_tar_header, peek_tar_header


def header_with(size_field: bytes) -> bytes:
    """A regular file's header with this size field and a right checksum."""
    header = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = size_field.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    "field",
    [
        b"-0000002000",
        b"+0000002000",
        b"0_1",
        b"9",
        b"",
        b"\xff" * 11 + b"\x00",
        b"\x80" + b"\0" * 10 + b"\x01",
    ],
)
def test_sizes_that_are_no_octal_digits_are_refused(field: bytes) -> None:
    for read in (parse_tar_header, peek_tar_header):
        with pytest.raises(ValueError, match=r"octal digits|base 8"):
            read(header_with(field))


def test_cut_header_is_refused() -> None:
    assert parse_tar_header(header_with(b"00000001000")) == ("a.jpg", 512)
    with pytest.raises(ValueError, match="cut off after 100 bytes"):
        parse_tar_header(header_with(b"0")[:100])


@pytest.mark.parametrize(("size", "header"), [(0, 512), (1, 1024), (512, 1024), (513, 1536)])
def test_next_header_is_behind_whole_blocks(size: int, header: int) -> None:
    assert next_header(512, size) == header
