"""HEIC pictures as phones write them: a grid of HEVC tiles, turned by a property of the file.

No package that is installed writes them, so the boxes of ISO/IEC 23008-12 are put together here.
"""

import struct
import tempfile
from pathlib import Path

import av
import ffmpeg
import numpy as np
from numpy.typing import NDArray

from tests.factories.preprocessing.media import run_ffmpeg

TILE_PX = 64
_GRID_ID = 100


def write_heic(path: Path, picture: NDArray[np.uint8], quarter_turns: int = 0) -> None:
    """Write [H, W, 3] RGB as tiles of 64 px; H and W even, at most a whole row or column of tiles is cut.

    Args:
        path: of the file.
        picture: the stored pixels.
        quarter_turns: by which a reader turns them counterclockwise.
    """
    height, width = picture.shape[:2]
    rows, columns = -(-height // TILE_PX), -(-width // TILE_PX)
    padded = np.pad(
        picture, ((0, rows * TILE_PX - height), (0, columns * TILE_PX - width), (0, 0)), mode="edge"
    )
    tiles = padded.reshape(rows, TILE_PX, columns, TILE_PX, 3).swapaxes(1, 2).reshape(-1, TILE_PX, TILE_PX, 3)
    codec, samples = _encode_tiles(tiles)
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    head = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    meta = _meta(
        codec, [0] * len(samples), [len(each) for each in samples], grid, quarter_turns, (width, height)
    )
    first = len(head) + len(meta) + 8
    starts = (first + np.cumsum([0, *map(len, samples[:-1])])).tolist()
    sizes = [len(each) for each in samples]
    meta = _meta(codec, starts, sizes, grid, quarter_turns, (width, height))
    path.write_bytes(head + meta + _box(b"mdat", b"".join(samples)))


def _encode_tiles(tiles: NDArray[np.uint8]) -> tuple[bytes, list[bytes]]:
    """The decoder's configuration, and each tile's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        encoded = Path(folder) / "tiles.mp4"
        tile = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{TILE_PX}x{TILE_PX}", r=25)
        x265 = "keyint=1:crf=4:repeat-headers=0:info=0:log-level=none"
        codec = {"vcodec": "libx265", "x265-params": x265, "tag:v": "hvc1", "pix_fmt": "yuv420p"}
        run_ffmpeg(ffmpeg.output(tile, str(encoded), **codec), np.ascontiguousarray(tiles).tobytes())
        with av.open(str(encoded)) as container:
            stream = container.streams.video[0]
            configuration = stream.codec_context.extradata
            assert configuration is not None
            return configuration, [bytes(packet) for packet in container.demux(stream) if packet.size]


def _meta(
    codec: bytes,
    starts: list[int],
    sizes: list[int],
    grid: bytes,
    quarter_turns: int,
    size_px: tuple[int, int],
) -> bytes:
    ids = range(1, len(sizes) + 1)
    places = zip(ids, starts, sizes, strict=True)
    items = b"".join(struct.pack(">HHHHII", each, 0, 0, 1, start, size) for each, start, size in places)
    items += struct.pack(">HHHHII", _GRID_ID, 1, 0, 1, 0, len(grid))
    infos = b"".join(_item_info(each, b"hvc1", hidden=True) for each in ids)
    infos += _item_info(_GRID_ID, b"grid", hidden=False)
    parts = struct.pack(">HH", _GRID_ID, len(sizes)) + b"".join(struct.pack(">H", each) for each in ids)
    tile = struct.pack(">II", TILE_PX, TILE_PX)
    properties = [
        _box(b"hvcC", codec),
        _full_box(b"ispe", tile),
        _full_box(b"ispe", struct.pack(">II", *size_px)),
        _box(b"irot", bytes([quarter_turns])),
    ]
    used = struct.pack(">I", len(sizes) + 1)
    used += b"".join(struct.pack(">HBBB", each, 2, 0x81, 0x02) for each in ids)
    used += struct.pack(">HBBB", _GRID_ID, 2, 0x03, 0x84)
    return _full_box(
        b"meta",
        _full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
        + _full_box(b"pitm", struct.pack(">H", _GRID_ID))
        + _full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(sizes) + 1) + items, version=1)
        + _full_box(b"iinf", struct.pack(">H", len(sizes) + 1) + infos)
        + _full_box(b"iref", _box(b"dimg", parts))
        + _box(b"iprp", _box(b"ipco", b"".join(properties)) + _full_box(b"ipma", used))
        + _box(b"idat", grid),
    )


def _item_info(item_id: int, kind: bytes, *, hidden: bool) -> bytes:
    return _full_box(b"infe", struct.pack(">HH", item_id, 0) + kind + b"\0", version=2, flags=int(hidden))


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", 8 + len(payload)) + kind + payload


def _full_box(kind: bytes, payload: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + payload)
