"""A run as a folder for a model hub, and the talking head that torch.hub makes of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from upath import UPath

from evaluation.animation.checkpoint_abilities import exported_file, find_checkpoint, is_released
from evaluation.hub.hub_head import HubTalkingHead
from evaluation.hub.model_folder import export_folder
from storage.disk import DiskError
from tests.conftest import REPOSITORY
from tests.factories.evaluation.head_files import publish_toy_run
from tests.factories.storage.small_disk import small_disk


@pytest.fixture
def root(tmp_path: Path, toy_presets: None) -> UPath:  # noqa: ARG001  (the networks of the run)
    return publish_toy_run(tmp_path / "root", "mine")


def test_folder_holds_weights_config_and_card(root: UPath, tmp_path: Path) -> None:
    exported = export_folder(root, "mine", tmp_path / "out")
    assert sorted(path.name for path in exported.folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    config = json.loads((exported.folder / "config.json").read_text())
    assert (config["run"], config["library"]) == ("mine", "pdfgc")
    card = (exported.folder / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n")
    assert "Not evaluated: `pdfgc evaluate --run mine`" in card
    assert not exported.evaluated


def test_folder_is_a_checkpoint_without_its_root(root: UPath, tmp_path: Path) -> None:
    folder = export_folder(root, "mine", tmp_path / "out").folder
    shutil.rmtree(tmp_path / "root")
    assert exported_file(str(folder)) == folder / "model.safetensors"
    assert not is_released(str(folder))
    assert find_checkpoint(UPath(tmp_path / "root"), str(folder))


def test_exported_folder_can_be_exported_again(root: UPath, tmp_path: Path) -> None:
    first = export_folder(root, "mine", tmp_path / "out").folder
    second = export_folder(root, str(first), tmp_path / "again").folder
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_full_disk_leaves_nothing(root: UPath, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        disk.fill(8192)
        with pytest.raises(DiskError, match="no space left on the disk"):
            export_folder(root, "mine", disk.path / "out")
        assert [path.name for path in disk.path.iterdir()] == ["filler"]


def test_folder_with_files_is_refused(root: UPath, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(ValueError, match="is not an empty folder; choose another"):
        export_folder(root, "mine", tmp_path / "out")


def test_torch_hub_loads_the_folder(root: UPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export_folder(root, "mine", tmp_path / "out").folder
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "elsewhere"))
    head = torch.hub.load(str(REPOSITORY), "talking_head", str(folder), source="local")
    assert isinstance(head, HubTalkingHead)
    assert repr(head).startswith(f"HubTalkingHead(exported model {folder}, ")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match=r"black\.png: no face was found in it"):
        head.animate(tmp_path / "black.png", seconds=0.2, output=tmp_path / "out.mp4")
    with pytest.raises(FileNotFoundError, match="no file /none"):
        head.animate("/none.png", seconds=0.2, output=tmp_path / "out.mp4")
