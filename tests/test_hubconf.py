import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.external.face_reconstruction import FaceReconstruction
from models.motion import MotionEncoder
from models.presets import TINY
from tests.conftest import REPOSITORY
from tests.factories.models.official_files import FILE_NAMES, LAYOUT, write_files
from tests.factories.models.weights import randomise

NAMES = [
    "appearance", "motion", "audio", "generator", "deep3d_reconstruction", "syncnet", "syncnet_clip", "l2cs",
    "emonet", "attention_mesh", "talking_head",
]  # fmt: skip


def from_hub(name: str, **settings: Any) -> nn.Module:
    network = torch.hub.load(str(REPOSITORY), name, source="local", **settings)
    assert isinstance(network, nn.Module)
    return network


def test_hub_lists_and_documents_the_networks() -> None:
    entries = runpy.run_path(str(REPOSITORY / "hubconf.py"))
    # torch.hub offers whatever can be called and does not begin with an underscore.
    offered = {name for name, entry in entries.items() if callable(entry) and name[0] != "_"}
    assert offered == set(NAMES)
    assert all("->" in entries[name].__doc__ for name in NAMES)
    assert entries["dependencies"] == ["torch", "torchvision"]


def test_hub_loads_a_released_file(tmp_path: Path) -> None:
    write_files(tmp_path)
    audio = from_hub("audio", preset="official", checkpoint=str(tmp_path / FILE_NAMES["audio"]))
    assert not audio.training
    number = list(LAYOUT["audio"]).index("model.fc.weight")
    assert (audio.state_dict()["model.fc.weight"] == number).all()
    with torch.no_grad():
        assert audio(torch.rand(1, 1, 80, 20)).lip_code.shape == (1, 500)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("motion", MotionEncoder(TINY.motion)),
        ("deep3d_reconstruction", FaceReconstruction(TINY.face_reconstruction)),
    ],
    ids=["motion", "deep3d_reconstruction"],
)
def test_hub_loads_what_was_saved(tmp_path: Path, name: str, network: nn.Module) -> None:
    randomise(network, seed=18)
    torch.save({"net_recon": network.state_dict(), "epoch": 20}, tmp_path / "weights.pth")
    if name == "motion":
        torch.save(network.state_dict(), tmp_path / "weights.pth")
    loaded = from_hub(name, preset="tiny", checkpoint=tmp_path / "weights.pth")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())


def test_wrong_file_and_preset_are_named(tmp_path: Path) -> None:
    write_files(tmp_path)
    with pytest.raises(ValueError, match=r"motion_model\.pth .* does not fit AudioEncoder"):
        from_hub("audio", checkpoint=tmp_path / FILE_NAMES["motion"])
    with pytest.raises(
        ValueError,
        match="no preset 'huge'; there are official, official_warp, small, small_mesh, tiny, tiny_mesh",
    ):
        from_hub("audio", preset="huge")


def test_weights_of_a_run_say_what_to_call(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"stage of a training run .*: call talking_head\(RUN_OR_FOLDER\)"):
        from_hub("generator", preset="tiny", checkpoint=tmp_path / "weights.safetensors")


def test_hub_generator_shapes() -> None:
    """In a program of its own, elsewhere, without this project on its path or in its packages' way."""
    program = f"""
import json, sys, torch
torch.set_num_threads(1)
load = lambda name, **settings: torch.hub.load({str(REPOSITORY)!r}, name, source="local", **settings)
appearance, generator = (load(name, preset="tiny") for name in ("appearance", "generator"))
with torch.no_grad():
    look = appearance(torch.zeros(2, 3, 64, 64))
    style = torch.cat([look.code, torch.zeros(2, 106)], dim=1)
    from models.portrait_warp import Portrait
    portrait = Portrait(torch.zeros(2, 3, 64, 64), torch.zeros(2, 128))
    picture = generator(style, look.map, noise=torch.Generator().manual_seed(0), portrait=portrait)
print(json.dumps([list(picture.shape), sorted({{name.split(".")[0] for name in sys.modules}})]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-I", "-c", program],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shape, modules = json.loads(done.stdout)
    assert shape == [2, 3, 64, 64]
    assert not {"preprocessing", "storage", "training", "dagster", "mediapipe", "scipy", "cv2"} & set(modules)
