"""SyncNet: the published layout, and whole clips embedded as window by window."""

import json
from pathlib import Path
from typing import Final

import pytest
import torch
from torch import Tensor

from models.checkpoint_file import load_checkpoint
from models.external.syncnet import SYNCNET_FILE, SyncNet, load_syncnet
from models.external.syncnet_clip import ClipSyncNet
from tests.conftest import REPOSITORY
from tests.factories.models.weights import randomise

LAYOUT: Final[dict[str, list[int]]] = json.loads(
    (REPOSITORY / "tests" / "factories" / "models" / "syncnet_layout.json").read_text()
)
"""Key -> shape of the published `syncnet_v2.model`."""

CPU: Final = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> SyncNet:
    network = SyncNet()
    randomise(network, seed=41)
    return network.eval()


def random_frames(count: int, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8, generator=source)


def test_state_dict_has_published_layout(network: SyncNet) -> None:
    ours = [(key, list(tensor.shape)) for key, tensor in network.state_dict().items()]
    assert ours == list(LAYOUT.items())


def test_published_file_loads_and_others_are_rejected(network: SyncNet, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "syncnet_v2.model")
    report = load_checkpoint(SyncNet(), tmp_path / "syncnet_v2.model", SYNCNET_FILE)
    assert (len(report.loaded), report.unused, report.missing) == (len(LAYOUT), (), ())
    loaded = load_syncnet(tmp_path / "syncnet_v2.model")
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth .* does not fit SyncNet"):
        load_syncnet(tmp_path / "other.pth")
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_syncnet(tmp_path / "absent.model")


def test_embed_frames_equals_single_windows(network: SyncNet) -> None:
    frames = random_frames(11, seed=5)  # seven windows: two pieces of three, one of one
    found = ClipSyncNet(network, CPU, windows_at_once=3).embed_frames(frames)
    windows = torch.stack([frames[start : start + 5].transpose(0, 1) for start in range(7)]).float()
    with torch.inference_mode():
        expected = network.embed_video(windows)
    assert found.shape == (7, 1024)
    assert expected.std(dim=0).median() > 1e-2  # the windows differ, by more than the tolerance
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_embed_mfcc_equals_single_windows(network: SyncNet) -> None:
    mfcc = 10 * torch.randn(171, 13, generator=torch.Generator().manual_seed(6))
    found = ClipSyncNet(network, CPU).embed_mfcc(mfcc)
    windows = torch.stack([mfcc[4 * row : 4 * row + 20].T[None] for row in range(38)])  # in two pieces
    with torch.inference_mode():
        expected = network.embed_sound(windows)
    assert found.shape == (38, 1024)
    assert expected.std(dim=0).median() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_less_than_a_window_gives_no_rows(network: SyncNet) -> None:
    clip = ClipSyncNet(network, CPU)
    assert clip.embed_frames(random_frames(4, seed=7)).shape == (0, 1024)
    assert clip.embed_mfcc(torch.zeros(19, 13)).shape == (0, 1024)
    assert clip.embed_mfcc(torch.zeros(20, 13)).shape == (1, 1024)


def test_wrong_shapes_and_settings_are_rejected(network: SyncNet) -> None:
    with pytest.raises(ValueError, match=r"frames must be \[B, 3, 5, 224, 224\], got \[1, 3, 4, 224, 224\]"):
        network.embed_video(torch.zeros(1, 3, 4, 224, 224))
    with pytest.raises(ValueError, match=r"mfcc must be \[B, 1, 13, 20\], got \[1, 1, 20, 13\]"):
        network.embed_sound(torch.zeros(1, 1, 20, 13))
    with pytest.raises(ValueError, match="windows_at_once must be >= 1, got 0"):
        ClipSyncNet(network, CPU, windows_at_once=0)
    with pytest.raises(ValueError, match="SyncNet must be in evaluation mode"):
        ClipSyncNet(SyncNet(), CPU)
