"""Seeded changes of a file's bytes."""

import random
from collections.abc import Callable
from typing import Final

HEADER_BYTES: Final = 512
EXTREMES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Names before or after which containers keep sizes and counts.
NAMES: Final = (
    *(b"moov", b"trak", b"stsz", b"stsc", b"stts", b"stco", b"ctts", b"elst", b"mdhd", b"tkhd", b"avcC"),
    *(b"moof", b"trun", b"tfhd", b"esds", b"stsd", b"RIFF", b"hdrl", b"strh", b"strf", b"idx1", b"movi"),
    *(b"fmt ", b"data", b"COMM", b"SSND", b"fLaC", b"OggS", b"IHDR", b"IDAT", b"VP8 ", b"PK\x03\x04"),
    *(b"PK\x01\x02", b"ustar", b"PAR1", b"\xff\xc0", b"\xff\xda", b"\x1a\x45\xdf\xa3", b"\x16\x54\xae\x6b"),
)


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change `data` one to three times.

    Args:
        data: a valid file.
        other: another file of the same kind, to splice pieces of.
        rng: decides everything.
    """
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if changed:
            rng.choice(MUTATIONS)(changed, other, rng)
    return bytes(changed)


def _flip_bits(data: bytearray, other: bytes, rng: random.Random) -> None:
    del other
    for _ in range(rng.choice((1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_header_bits(data: bytearray, other: bytes, rng: random.Random) -> None:
    del other
    for _ in range(rng.choice((1, 4))):
        data[rng.randrange(min(len(data), HEADER_BYTES))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, _: bytes, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(data: bytearray, _: bytes, rng: random.Random) -> None:
    start, end = _chunk(len(data), rng)
    del data[start:end]


def _zero(data: bytearray, _: bytes, rng: random.Random) -> None:
    start, end = _chunk(len(data), rng)
    data[start:end] = bytes(end - start)


def _double(data: bytearray, _: bytes, rng: random.Random) -> None:
    start, end = _chunk(len(data), rng)
    data[start:start] = data[start:end]


def _splice(data: bytearray, other: bytes, rng: random.Random) -> None:
    start, end = _chunk(len(other), rng)
    at = rng.randrange(len(data))
    data[at : at + rng.choice((0, end - start))] = other[start:end]


def _set_number(data: bytearray, _: bytes, rng: random.Random) -> None:
    _put_extreme(data, rng.randrange(len(data)), rng)


def _set_field(data: bytearray, _: bytes, rng: random.Random) -> None:
    """A number beside one of the names that occur."""
    found = [at for name in NAMES if (at := data.find(name)) >= 0]
    at = rng.choice(found) if found else rng.randrange(len(data))
    _put_extreme(data, max(0, at + rng.choice((-8, -4, 4, 8, 12, 16, 20, 24))), rng)


def _put_extreme(data: bytearray, at: int, rng: random.Random) -> None:
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((*EXTREMES, rng.getrandbits(32))) % (1 << 8 * size)
    encoded = value.to_bytes(size, rng.choice(("big", "little")))
    data[at : at + size] = encoded[: max(0, len(data) - at)]


def _chunk(length: int, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(length)
    return start, min(length, start + rng.choice((1, 4, 16, 188, 512, 4096)))


MUTATIONS: Final[tuple[Callable[[bytearray, bytes, random.Random], None], ...]] = (
    _flip_bits,
    _flip_header_bits,
    _cut,
    _drop,
    _zero,
    _double,
    _splice,
    _set_number,
    _set_field,
    _set_field,
)
