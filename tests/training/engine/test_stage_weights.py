from pathlib import Path

import pytest
import torch
from torch import nn

from models.shapes import to_channels_last
from training.engine.stage_weights import StageWeights, collect, read_weights, write_weights


def test_load_into_loads_a_part(tmp_path: Path) -> None:
    parts = {"a": nn.Linear(2, 3), "a.b": nn.BatchNorm1d(2), "ab": nn.Linear(1, 1)}
    write_weights(tmp_path / "w.safetensors", collect({name: parts[name] for name in ("a", "ab")}))
    found = read_weights(tmp_path / "w.safetensors")
    fresh = nn.Linear(2, 3)
    found.load_into("a", fresh)
    torch.testing.assert_close(fresh.weight, parts["a"].weight, rtol=0, atol=0)
    assert found.origin == str(tmp_path / "w.safetensors")


def test_collect_copies_tensors() -> None:
    network = nn.Linear(1, 1)
    tensors = collect({"net": network})
    before = tensors["net.weight"].item()
    nn.init.constant_(network.weight, before + 1)
    assert tensors["net.weight"].item() == before


def test_channels_last_weights_are_written_the_same(tmp_path: Path) -> None:
    plain = nn.Conv2d(2, 3, 3)
    other = to_channels_last(nn.Conv2d(2, 3, 3))
    other.load_state_dict(plain.state_dict())
    for name, network in (("plain", plain), ("other", other)):
        write_weights(tmp_path / name, collect({"net": network}))
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "other").read_bytes()


def test_collect_rejects_duplicate_names() -> None:
    parts = {"a": nn.Sequential(nn.Linear(1, 1)), "a.0": nn.Linear(1, 1)}
    with pytest.raises(ValueError, match=r"two parts hold a tensor named a\.0\.weight"):
        collect(parts)


def test_load_into_rejects_other_shapes() -> None:
    weights = StageWeights("perception of run 'x'", collect({"net": nn.Linear(2, 3)}))
    with pytest.raises(
        ValueError,
        match=r"perception of run 'x': net does not fit Linear \(2 keys\): "
        r"weight: \[3, 2\] in the checkpoint, \[5, 2\] in the network; "
        r"bias: \[3\] in the checkpoint, \[5\] in the network",
    ):
        weights.load_into("net", nn.Linear(2, 5))


def test_load_into_rejects_missing_and_unknown_keys() -> None:
    weights = StageWeights("there", collect({"net": nn.Linear(2, 2)}))
    network = nn.Linear(2, 2, bias=False)
    before = network.weight.tolist()
    with pytest.raises(ValueError, match="bias: not known to the network"):
        weights.load_into("net", network)
    assert network.weight.tolist() == before
    with pytest.raises(ValueError, match=r"there: other does not fit Linear \(2 keys\): weight: missing"):
        weights.load_into("other", nn.Linear(2, 2))


def test_read_weights_names_damaged_or_missing_file(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match="no weights at"):
        read_weights(file)
    write_weights(file, collect({"net": nn.Linear(2, 2)}))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"w\.safetensors cannot be read as weights"):
        read_weights(file)
