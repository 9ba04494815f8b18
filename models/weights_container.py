"""Checks of a file that `torch.load` is to read, before and after: torch believes what the file says.

`torch.load` inflates compressed entries without a limit, does not compare checksums, follows a tar with a
negative size for ever (Python's `tarfile`), and gives out views of more values than the file holds.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

MOST_EXPANSION: Final = 4  # torch.save does not compress; weights that another program zipped shrink little
MOST_EXPANDED_BYTES: Final = 2**30  # of views that repeat values, all tensors together
CHUNK_BYTES: Final = 2**20


def check_container(file: Path) -> None:
    """Check a file's archive without unpickling anything; reads it once, at about 1 GB/s.

    Raises:
        ValueError: damaged, too large when unpacked, or a tar; without the file's name.
    """
    if zipfile.is_zipfile(file):
        _check_zip(file)
        return
    with file.open("rb") as opened:
        head = opened.read(tarfile.BLOCKSIZE)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return  # torch's format from before 2020, or no weights at all, which torch says
    raise ValueError("it is a tar, which is not read")


def check_tensors(state: Mapping[str, Tensor]) -> None:
    """Refuse views that a copy would expand from less to more than `MOST_EXPANDED_BYTES` in all.

    Raises:
        ValueError: names the tensor.
    """
    expanded = 0
    for key, tensor in state.items():
        if tensor.layout is not torch.strided:
            raise ValueError(f"{key} is a {tensor.layout} tensor, need a dense one")
        needed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
        expanded += needed if needed > stored else 0
        if expanded > MOST_EXPANDED_BYTES:
            raise ValueError(f"{key} {list(tensor.shape)} needs {needed} bytes, of which {stored} are stored")


def _check_zip(file: Path) -> None:
    size = file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MOST_EXPANSION * size:
                raise ValueError(
                    f"it unpacks to {unpacked} bytes, {unpacked / size:.0f} times its size, need at most "
                    f"{MOST_EXPANSION} times"
                )
            for entry in archive.infolist():
                with archive.open(entry) as content:
                    while content.read(CHUNK_BYTES):  # compares the checksum at the end
                        pass
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"its archive is damaged: {error}") from error
