import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.checkpoint_file import OfficialFile, load_checkpoint
from models.generator import Generator
from models.motion import MotionEncoder
from models.official import (
    APPEARANCE_FILE,
    AUDIO_FILE,
    GENERATOR_FILE,
    MOTION_FILE,
    OfficialNetworks,
    load_official,
)
from models.presets import OFFICIAL, TINY
from tests.factories.models.official_files import FILE_NAMES, LAYOUT, marked_state, write_files
from tests.factories.models.weights import parameter_count

OFFICIAL_FILES = {
    "appearance": APPEARANCE_FILE,
    "motion": MOTION_FILE,
    "audio": AUDIO_FILE,
    "generator": GENERATOR_FILE,
}
# Facts on the release: parameters (buffers left out) and keys of each file.
PARAMETERS = {
    "appearance": 38_361_747,
    "motion": 9_035_727,
    "audio": 7_630_144,
    "generator": 91_021_485,
}
KEYS = {"appearance": 324, "motion": 387, "audio": 294, "generator": 117}
DEAD_KEYS = {
    "appearance": {"model.fc.weight", "model.fc.bias", "fc.weight", "fc.bias"},
    "motion": set[str](),
    "audio": set[str](),
    "generator": {f"style.{layer}.{kind}" for layer in range(1, 9) for kind in ("weight", "bias")}
    | {"input.input"},
}
BUFFER = re.compile(r".*(running_mean|running_var|num_batches_tracked|\.kernel)|noises\..*")


def meta_networks() -> dict[str, nn.Module]:
    with torch.device("meta"):
        return {
            "appearance": AppearanceEncoder(OFFICIAL.appearance),
            "motion": MotionEncoder(OFFICIAL.motion),
            "audio": AudioEncoder(OFFICIAL.audio),
            "generator": Generator(OFFICIAL.generator),
        }


@pytest.fixture(scope="module")
def official_networks(tmp_path_factory: pytest.TempPathFactory) -> OfficialNetworks:
    folder = tmp_path_factory.mktemp("official")
    write_files(folder)
    return load_official(folder, OFFICIAL)


def test_key_list_is_the_published_one() -> None:
    reference = Path(__file__).parents[3] / "shared" / "reference" / "official_state_dict.json"
    if not reference.is_file():
        pytest.skip("no ../shared/reference/official_state_dict.json beside the repository")
    for name, layout in LAYOUT.items():
        theirs = json.loads(reference.read_text())["state_dict"][f"net_{name}"]
        assert layout == {key: shape for key, (shape, _) in theirs.items()}


@pytest.mark.parametrize("name", sorted(LAYOUT))
def test_every_released_key_is_known_or_unused(name: str) -> None:
    network = meta_networks()[name]
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    theirs = LAYOUT[name]
    assert len(theirs) == KEYS[name]
    assert {key: shape for key, shape in theirs.items() if key not in DEAD_KEYS[name]} == ours
    for key in DEAD_KEYS[name]:
        assert any(re.fullmatch(pattern, key) for pattern in OFFICIAL_FILES[name].unused), key
    assert not any(re.fullmatch(p, key) for p in OFFICIAL_FILES[name].unused for key in ours)


@pytest.mark.parametrize("name", sorted(LAYOUT))
def test_parameter_counts_add_up(name: str) -> None:
    dead = sum(torch.Size(LAYOUT[name][key]).numel() for key in DEAD_KEYS[name])
    assert parameter_count(meta_networks()[name]) + dead == PARAMETERS[name]
    all_of_file = sum(
        torch.Size(shape).numel() for key, shape in LAYOUT[name].items() if not BUFFER.fullmatch(key)
    )
    assert all_of_file == PARAMETERS[name]


@pytest.mark.parametrize("name", sorted(LAYOUT))
def test_every_released_tensor_is_loaded_under_its_key(
    official_networks: OfficialNetworks, name: str
) -> None:
    network: nn.Module = getattr(official_networks, name)
    assert not network.training
    numbers = {key: number for number, key in enumerate(LAYOUT[name])}
    for key, value in network.state_dict().items():
        assert (value == numbers[key]).all(), key
    report = next(r for r in official_networks.reports if r.file.name == FILE_NAMES[name])
    assert set(report.unused) == DEAD_KEYS[name]
    assert len(report.loaded) + len(report.unused) == KEYS[name]
    assert report.missing == ()


def load_state(folder: Path, name: str, state: dict[str, torch.Tensor]) -> tuple[str, ...]:
    """Load a changed file into the network of that name on no device; what was left aside."""
    file = folder / FILE_NAMES[name]
    torch.save(state, file)
    return load_checkpoint(meta_networks()[name], file, OFFICIAL_FILES[name]).unused


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")
def test_classifiers_are_optional(tmp_path: Path) -> None:
    state = {key: value for key, value in marked_state("appearance").items() if not key.startswith("fc.")}
    assert load_state(tmp_path, "appearance", state) == ("model.fc.bias", "model.fc.weight")
    extra = {
        "fc.weight": torch.zeros(2),
        "model.layer4_exp.0.conv1.weight": torch.zeros(2),
        "model.attention_exp.0.weight": torch.zeros(2),
        "model.fc_exp.bias": torch.zeros(2),
        "exp_embed.1.weight": torch.zeros(2),
    }
    assert load_state(tmp_path, "audio", marked_state("audio") | extra) == tuple(sorted(extra))


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")
def test_motion_file_may_have_unknown_keys(tmp_path: Path) -> None:
    extra = {
        f"{name}.0.weight": torch.zeros(2) for name in ("mouth_fc", "classifier", "to_feature", "anything")
    }
    assert load_state(tmp_path, "motion", marked_state("motion") | extra) == tuple(sorted(extra))


def test_missing_key_of_motion_file_is_named(tmp_path: Path) -> None:
    state = {key: value for key, value in marked_state("motion").items() if not key.startswith("emo_embed")}
    with pytest.raises(ValueError, match=r"(?s)motion_model\.pth.*emo_embed\.1\.bias: missing in the file"):
        load_state(tmp_path, "motion", state)


def test_generator_file_needs_all_used_keys(tmp_path: Path) -> None:
    state = marked_state("generator")
    alive = {key: value for key, value in state.items() if key not in DEAD_KEYS["generator"]}
    del alive["noises.noise_10"]
    with pytest.raises(ValueError, match=r"generator_model\.pth.*1 keys do not \(.*noise_10: missing"):
        load_state(tmp_path, "generator", alive)


@pytest.mark.parametrize(
    ("given", "wanted"), [("motion", "audio"), ("audio", "motion"), ("appearance", "motion")]
)
def test_file_of_another_network_is_rejected(tmp_path: Path, given: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=rf"{wanted}_model\.pth .* does not fit"):
        load_state(tmp_path, wanted, marked_state(given))


def test_official_files_do_not_fit_the_tiny_preset(tmp_path: Path) -> None:
    write_files(tmp_path)
    with pytest.raises(ValueError, match=r"appearance_model\.pth .* does not fit AppearanceEncoder"):
        load_official(tmp_path, TINY)


def test_motion_file_has_two_spellings(tmp_path: Path) -> None:
    tiny = {
        "appearance_model.pth": AppearanceEncoder(TINY.appearance),
        "motion_mode.pth": MotionEncoder(TINY.motion),
        "audio_model.pth": AudioEncoder(TINY.audio),
        "generator_model.pth": Generator(TINY.generator),
    }
    for name, network in tiny.items():
        torch.save(network.state_dict(), tmp_path / name)
    networks = load_official(tmp_path, TINY)
    assert networks.reports[1].file.name == "motion_mode.pth"
    (tmp_path / "motion_mode.pth").unlink()
    with pytest.raises(FileNotFoundError, match=r"no motion_model\.pth or motion_mode\.pth in"):
        load_official(tmp_path, TINY)


def test_deep3d_file_with_optimizer_loads(tmp_path: Path) -> None:
    network, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = {
        "net_recon": network.state_dict(),
        "opt_00": optimizer.state_dict(),
        "sched_00": torch.optim.lr_scheduler.StepLR(optimizer, 10).state_dict(),
    }
    torch.save(content, tmp_path / "epoch_20.pth")
    load_checkpoint(other, tmp_path / "epoch_20.pth", OfficialFile(names=(), wrappers=("net_recon",)))
    assert torch.equal(other.weight, network.weight)
