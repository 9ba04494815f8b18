"""Reads single members of samples from shards; nothing else is read or decoded.

A sample's members are located by its tar headers (512 bytes per member). Of an array only the requested rows
are read. Files are read with `pread`, so that forked workers share no state. Data are compared with the
checksums of their blocks (`storage.integrity.block_checksums`), where the shard has any.
"""

import io
import json
import logging
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from typing_extensions import override

from preprocessing.schema import MEL_BANDS
from preprocessing.shards import jpeg_size
from storage.integrity.block_checksums import read_checked, read_checksums
from storage.remote.sparse_cache import RemovedCopyError, SparseCopy
from storage.settings import Settings
from storage.tar_header import TAR_BLOCK_BYTES, next_header, parse_tar_header, peek_tar_header
from training.data.batches import CorruptMember
from training.data.index import ClipIndex

logger = logging.getLogger(__name__)

_ARRAY_HEADER_BYTES: Final = 256  # more than np.save writes for our shapes (128)
_FLOAT_BYTES: Final = 4
# Columns and their range, as `preprocessing.schema` checks them when a sample is made.
_RANGES: Final[Mapping[str, tuple[int, float, float]]] = {
    "pose.npy": (3, -np.pi, np.pi),
    "gaze.npy": (2, -np.pi / 2, np.pi / 2),
    "blink.npy": (2, 0.0, 1.0),
    "mel.npy": (MEL_BANDS, -1.0, 1.0),
}


class CorruptMemberError(ValueError):
    """A member is missing or violates the schema."""

    # The default is needed because torch recreates a worker's exception from its message alone.
    def __init__(self, message: str, member: CorruptMember | None = None) -> None:
        super().__init__(message)
        self.member = member


class ReaderSettings(Settings):
    """How shards are read."""

    frame_side_px: int = Field(default=224, ge=1, description="Side of the stored crops")
    directories_kept: int = Field(
        default=4096, ge=1, description="Samples whose tar directory a worker caches, about 10 KB each"
    )
    shards_open: int = Field(default=64, ge=1, description="Open shards per worker")


class ShardReader:
    """Reads members of the clips of an index. Raises CorruptMemberError with shard, key and member."""

    def __init__(self, index: ClipIndex, settings: ReaderSettings) -> None:
        self.index = index
        self.settings = settings
        self._files: OrderedDict[int, int] = OrderedDict()
        self._copies: dict[int, SparseCopy] = {}  # the open files of shards in a bucket
        self._checksums: dict[int, Sequence[int] | None] = {}  # of the open files
        self._directories: OrderedDict[int, dict[str, tuple[int, int, bool]]] = OrderedDict()

    @override
    def __getstate__(self) -> dict[str, Any]:
        # File descriptors are not valid in a spawned process.
        return {"index": self.index, "settings": self.settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["index"], state["settings"])

    def close(self) -> None:
        """Close the shards; the next read reopens them."""
        while self._files:
            self._close_oldest()

    def frames(self, clip: int, numbers: Sequence[int]) -> list[Tensor]:
        """Frames of a clip, each uint8 [3, H, W] RGB and decoded once; not stacked: a batch copies them."""
        decoded = {number: self.image(clip, f"{number:03d}.jpg") for number in set(numbers)}
        return [decoded[number] for number in numbers]

    def image(self, clip: int, member: str) -> Tensor:
        """A JPEG member, uint8 [3, H, W] RGB."""
        data = self._member(clip, member)
        side_px = self.settings.frame_side_px
        try:
            width, height = jpeg_size(data)  # in the header: nothing of another size is decoded
            if width != side_px or height != side_px:
                raise self.corrupt(clip, member, f"is {width} x {height} px, need {side_px} x {side_px}")
            return decode_image(data)
        except CorruptMemberError:
            raise
        except (RuntimeError, ValueError) as error:
            raise self.corrupt(clip, member, f"cannot be decoded: {error}") from error

    def rows(
        self, clip: int, member: str, shape: tuple[int, ...], first: int, end: int
    ) -> NDArray[np.float32]:
        """Rows `first` to `end` of an array member, which must be float32 of `shape`; [end - first, ...]."""
        offset, size = self._place(clip, member)
        header = self._read_checked(clip, member, offset, min(size, _ARRAY_HEADER_BYTES))
        usual = _usual_header(shape)
        # Parsing it takes as long as decoding a tenth of a frame.
        length = len(usual) if header.startswith(usual) else self._header_bytes(clip, member, header, shape)
        row_bytes = _FLOAT_BYTES * math.prod(shape[1:])
        if length + shape[0] * row_bytes != size:
            raise self.corrupt(clip, member, f"has {size} bytes, which is not float32{list(shape)}")
        start = offset + length + first * row_bytes
        data = self._read_checked(clip, member, start, (end - first) * row_bytes)
        values = np.frombuffer(data, np.float32).reshape(end - first, *shape[1:])
        # Minimum and maximum also show what is not finite; a reduction of a few labels is what costs time.
        lowest, highest = float(values.min()), float(values.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise self.corrupt(clip, member, f"rows {first} to {end} hold a value that is not finite")
        if (bounds := _RANGES.get(member)) is not None:
            columns, low, high = bounds
            if columns < shape[-1]:
                lowest, highest = float(values[:, :columns].min()), float(values[:, :columns].max())
            if lowest < low or highest > high:
                found = f"{lowest:g} to {highest:g}, need {low:g} to {high:g}"
                raise self.corrupt(clip, member, f"rows {first} to {end} hold {found}")
        return values

    def _header_bytes(self, clip: int, member: str, data: bytes, shape: tuple[int, ...]) -> int:
        """Length of an array member's header, which must say float32 of `shape`."""
        header = io.BytesIO(data)
        try:
            if np.lib.format.read_magic(header) != (1, 0):
                raise self.corrupt(clip, member, "is not of .npy version 1.0")
            actual, fortran_order, dtype = np.lib.format.read_array_header_1_0(header)
        except CorruptMemberError:
            raise
        except ValueError as error:
            raise self.corrupt(clip, member, f"is not an array file: {error}") from error
        if actual != shape or dtype != np.float32 or fortran_order:
            raise self.corrupt(clip, member, f"is {dtype}{list(actual)}, need float32{list(shape)}")
        return header.tell()

    def json(self, clip: int, member: str) -> Any:
        """A JSON member."""
        try:
            return json.loads(self._member(clip, member))
        except (ValueError, RecursionError) as error:
            raise self.corrupt(clip, member, f"is not JSON: {error}") from error

    def _member(self, clip: int, member: str) -> bytes:
        return self._read_checked(clip, member, *self._place(clip, member))

    def _place(self, clip: int, member: str) -> tuple[int, int]:
        if clip not in self._directories:
            try:
                self._directories[clip] = self._directory(clip)
            except CorruptMemberError:
                if not self._fetch_again(clip):
                    raise
                self._directories[clip] = self._directory(clip)
            if len(self._directories) > self.settings.directories_kept:
                self._directories.popitem(last=False)
        self._directories.move_to_end(clip)
        place = self._directories[clip].get(member)
        if place is None:
            raise self.corrupt(clip, member, "is missing")
        offset, size, checked = place
        if not checked:
            try:
                self._header(clip, offset - TAR_BLOCK_BYTES, parse_tar_header)
            except CorruptMemberError:
                if not self._fetch_again(clip):
                    raise
                self._header(clip, offset - TAR_BLOCK_BYTES, parse_tar_header)
            self._directories[clip][member] = (offset, size, True)
        return offset, size

    def _directory(self, clip: int) -> dict[str, tuple[int, int, bool]]:
        """Location of each member in the shard: member -> (offset, size in bytes, header verified).

        Header checksums are verified only for members that are read: most samples of a large data set need
        their headers read, and verifying all would take as long as decoding.
        """
        prefix = f"{self.index.key(clip)}."
        places: dict[str, tuple[int, int, bool]] = {}
        offset = int(self.index.offsets_bytes[clip])
        end = offset + int(self.index.sizes_bytes[clip])
        while offset < end:
            name, size = self._header(clip, offset, peek_tar_header)
            data = offset + TAR_BLOCK_BYTES
            if not name.startswith(prefix) or data + size > end:
                self._header(clip, offset, parse_tar_header)
                raise self.corrupt(clip, name, f"of {size} bytes at byte {data} is not within the sample")
            member = name.removeprefix(prefix)
            if member in places:
                raise self.corrupt(clip, member, "is there twice")
            places[member] = (data, size, False)
            offset = next_header(data, size)
        return places

    def _header(self, clip: int, offset: int, parse: Callable[[bytes], tuple[str, int]]) -> tuple[str, int]:
        header = self._read(clip, "(tar header)", offset, TAR_BLOCK_BYTES)
        try:
            return parse(header)
        except ValueError as error:
            raise self.corrupt(clip, "(tar header)", f"at byte {offset}: {error}") from error

    def _read_checked(self, clip: int, member: str, offset: int, size: int) -> bytes:
        shard = int(self.index.shards[clip])
        file = self._file_with(clip)
        checksums = self._checksums[shard]
        if checksums is None:
            return self._read(clip, member, offset, size)
        try:
            try:
                data = read_checked(file, checksums, offset, size)
            except ValueError:
                if not self._fetch_again(clip):
                    raise
                data = read_checked(file, checksums, offset, size)
        except ValueError as error:
            raise self.corrupt(clip, member, f"{error}; run: pdfgc repair") from error
        return self._whole(clip, member, offset, size, data)

    def _fetch_again(self, clip: int) -> bool:
        """Fetch a sample again whose local copy is damaged; False if the shard is not in a bucket."""
        shard = int(self.index.shards[clip])
        if shard not in self._copies:
            return False
        logger.warning("The local copy of %s is damaged: fetched again", self.index.shard_names[shard])
        place = int(self.index.offsets_bytes[clip]), int(self.index.sizes_bytes[clip])
        self._copies[shard].fetch_again(*place)
        return True

    def _read(self, clip: int, member: str, offset: int, size: int) -> bytes:
        data = os.pread(self._file_with(clip), size, offset)
        return self._whole(clip, member, offset, size, data)

    def _whole(self, clip: int, member: str, offset: int, size: int, data: bytes) -> bytes:
        if len(data) != size:
            raise self.corrupt(clip, member, f"is cut off: {len(data)} of {size} bytes at byte {offset}")
        return data

    def _file_with(self, clip: int) -> int:
        """The open file that holds a clip's bytes, which are fetched if the shard is in a bucket."""
        shard = int(self.index.shards[clip])
        file = self._file(shard)
        if self.index.remote is None:
            return file
        place = int(self.index.offsets_bytes[clip]), int(self.index.sizes_bytes[clip])
        try:
            self._copies[shard].require(*place)
        except RemovedCopyError:
            self._close(shard)
            file = self._file(shard)
            self._copies[shard].require(*place)
        return file

    def _file(self, shard: int) -> int:
        if shard not in self._files:
            if self.index.remote is None:
                self._checksums[shard] = read_checksums(self.index.shard_paths[shard])
                self._files[shard] = os.open(self.index.shard_paths[shard], os.O_RDONLY | os.O_CLOEXEC)
            else:
                self._checksums[shard] = self.index.remote.read_checksums(shard)
                self._copies[shard] = self.index.remote.open(shard)
                self._files[shard] = self._copies[shard].descriptor
            if len(self._files) > self.settings.shards_open:
                self._close_oldest()
        self._files.move_to_end(shard)
        return self._files[shard]

    def _close_oldest(self) -> None:
        self._close(next(iter(self._files)))

    def _close(self, shard: int) -> None:
        file = self._files.pop(shard)
        del self._checksums[shard]
        copy = self._copies.pop(shard, None)
        if copy is None:
            os.close(file)
        else:
            copy.close()

    def corrupt(self, clip: int, member: str, reason: str) -> CorruptMemberError:
        """The error for a member that violates the schema."""
        shard, key = self.index.shard_names[int(self.index.shards[clip])], self.index.key(clip)
        return CorruptMemberError(
            f"shard {shard}, sample {key}: member {member} {reason}",
            CorruptMember(shard, key, member, reason),
        )


@lru_cache(maxsize=1024)
def _usual_header(shape: tuple[int, ...]) -> bytes:
    """What numpy writes before a float32 array of a shape."""
    header = io.BytesIO()
    facts = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue()


def decode_image(data: bytes) -> Tensor:
    """Decode a JPEG to uint8 [3, H, W] RGB; raises RuntimeError if it is damaged."""
    image = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    assert isinstance(image, Tensor)  # a list only for a list of inputs
    return image
