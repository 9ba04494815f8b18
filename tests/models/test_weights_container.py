"""Weights files that lie about their content."""

import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from models.checkpoint_file import read_state_dict
from models.weights_container import check_container


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save({"layer": torch.arange(10_000.0)}, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.mark.parametrize("old_format", [False, True])
def test_saved_files_pass(tmp_path: Path, *, old_format: bool) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"layer": torch.ones(3)}, file, _use_new_zipfile_serialization=not old_format)
    assert read_state_dict(file)["layer"].tolist() == [1, 1, 1]


def test_changed_value_is_refused(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    saved.write_bytes(data)
    assert not torch.load(saved, weights_only=True)["layer"].equal(torch.arange(10_000.0))
    with pytest.raises(ValueError, match=r"weights\.pt cannot be read .* its archive is damaged: Bad CRC"):
        read_state_dict(saved)


def test_compressed_zeros_are_refused_unread(tmp_path: Path) -> None:
    torch.save({"layer": torch.zeros(2_000_000)}, tmp_path / "zeros.pt")
    bomb = tmp_path / "bomb.pt"
    with (
        zipfile.ZipFile(tmp_path / "zeros.pt") as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    with pytest.raises(ValueError, match=r"unpacks to 800\d{4} bytes, \d+ times its size, need at most 4"):
        read_state_dict(bomb)


def test_view_that_repeats_a_value_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "view.pt"
    torch.save({"layer": torch.zeros(1).expand(100_000, 100_000)}, file)
    with pytest.raises(
        ValueError, match=r"layer \[100000, 100000\] needs 40000000000 bytes, of which 4 are stored"
    ):
        read_state_dict(file)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_tensor_is_refused(tmp_path: Path) -> None:
    torch.save({"layer": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    with pytest.raises(ValueError, match=r"layer is a torch\.sparse_coo tensor, need a dense one"):
        read_state_dict(tmp_path / "sparse.pt")


def test_tar_is_refused_unread(tmp_path: Path) -> None:
    """torch looks for its oldest format with `tarfile`, which never comes to the end of this one."""
    info = tarfile.TarInfo("storages")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "endless.pt").write_bytes(header + bytes(1024))
    with pytest.raises(ValueError, match="it is a tar, which is not read"):
        check_container(tmp_path / "endless.pt")
