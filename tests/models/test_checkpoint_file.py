import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from models.checkpoint_file import OfficialFile, load_checkpoint, read_state_dict

PLAIN = OfficialFile(names=("network.pth",), unused=(r"old\..*",))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def weights(value: float = 0.5) -> dict[str, Tensor]:
    """A state dict that fits `network`, every number the same."""
    return {key: torch.full_like(tensor, value) for key, tensor in network().state_dict().items()}


def saved(folder: Path, content: Any) -> Path:
    file = folder / "network.pth"
    torch.save(content, file)
    return file


class Hostile:
    """What a pickle can do to whoever loads it."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"epoch": 3, "iteration": torch.tensor(7), "model": state, "opt_00": {"lr": 0.1}},
        lambda state: {"other name": {"net_audio": state}},
        lambda state: OrderedDict((f"module.{key}", value) for key, value in state.items()),
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ],
    ids=["bare", "wrapped", "beside an optimizer", "twice", "DataParallel", "DataParallel, wrapped"],
)
def test_state_dict_is_unwrapped(tmp_path: Path, wrap: Any) -> None:
    loaded = network()
    report = load_checkpoint(loaded, saved(tmp_path, wrap(weights())), PLAIN)
    assert all((value == torch.full_like(value, 0.5)).all() for value in loaded.state_dict().values())
    assert report.loaded == tuple(sorted(weights()))
    assert report.unused == report.missing == ()


def test_own_wrapper_has_priority(tmp_path: Path) -> None:
    file = saved(tmp_path, {"model": weights(1.0), "net_recon": weights(2.0)})
    assert read_state_dict(file, ("net_recon",))["0.bias"].tolist() == [2.0, 2.0, 2.0]


def test_gpu_tensors_load_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    file = saved(tmp_path, weights())
    monkeypatch.undo()
    assert b"cuda:0" in file.read_bytes()
    loaded = network()
    load_checkpoint(loaded, file, PLAIN)
    assert loaded.state_dict()["0.weight"].tolist() == [[0.5, 0.5]] * 3


def test_half_precision_loads_as_float32(tmp_path: Path) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in weights().items()}
    loaded = network()
    load_checkpoint(loaded, saved(tmp_path, half), PLAIN)
    assert loaded.state_dict()["0.weight"].dtype == torch.float32


def test_hostile_pickle_does_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "it ran"
    for content in ({**weights(), "extra": Hostile(proof)}, Hostile(proof)):
        file = saved(tmp_path, content)
        with pytest.raises(
            ValueError, match=r"network\.pth cannot be read as weights.*only tensors are unpickled"
        ):
            load_checkpoint(network(), file, PLAIN)
    file.write_bytes(pickle.dumps(Hostile(proof), protocol=2))
    with pytest.raises(ValueError, match=r"network\.pth cannot be read as weights"):
        load_checkpoint(network(), file, PLAIN)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Hostile(proof)))  # noqa: S301 -- our own: shows that it would have run
    assert proof.exists()


def test_error_names_the_pickled_object(tmp_path: Path) -> None:
    file = saved(tmp_path, {**weights(), "extra": Hostile(tmp_path / "it ran")})
    with pytest.raises(ValueError, match=r"it holds posix\.mkdir, and only tensors") as caught:
        read_state_dict(file)
    file = saved(tmp_path, torch.nn.DataParallel(network()))
    with pytest.raises(ValueError, match=r"holds torch\.nn\.parallel\.data_parallel\.DataParallel, and"):
        read_state_dict(file)
    assert "weights_only" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.__cause__ is None  # nor in the traceback
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("old_format", [False, True])
def test_truncated_file_is_one_error(tmp_path: Path, *, old_format: bool) -> None:
    file = tmp_path / "network.pth"
    torch.save({"0.weight": torch.zeros(50)}, file, _use_new_zipfile_serialization=not old_format)
    content = file.read_bytes()
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"network\.pth cannot be read as weights"):
            read_state_dict(file)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"version https://git-lfs", bytes(64)])
def test_other_file_format_is_one_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "network.pth"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"network\.pth cannot be read as weights"):
        read_state_dict(file)


@pytest.mark.parametrize("content", [{"a": 1, "b": 2}, [torch.zeros(2)], {}, {"state_dict": {}}])
def test_file_without_state_dict_is_rejected(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ValueError, match="holds no state dict"):
        read_state_dict(saved(tmp_path, content))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*network\.pth"):
        read_state_dict(tmp_path / "network.pth")


def test_misfits_are_one_error_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = weights() | {"0.weight": torch.zeros(3, 4), "stranger": torch.zeros(1)}
    del state["2.bias"]
    loaded = network()
    before = {key: value.clone() for key, value in loaded.state_dict().items()}
    with pytest.raises(ValueError, match="does not fit Sequential: 3 keys do not") as caught:
        load_checkpoint(loaded, saved(tmp_path, state), PLAIN)
    message = str(caught.value)
    assert str(tmp_path / "network.pth") in message
    assert "0.weight: [3, 4] in the file, [3, 2] in the network" in message
    assert "2.bias: missing in the file" in message
    assert "stranger: not known to the network" in message
    assert all(torch.equal(value, before[key]) for key, value in loaded.state_dict().items())


def test_error_shows_three_keys_and_the_needed_file(tmp_path: Path) -> None:
    state = weights() | {f"stranger{index}": torch.zeros(1) for index in range(8)}
    with pytest.raises(ValueError, match="8 keys do not") as caught:
        load_checkpoint(network(), saved(tmp_path, state), PLAIN)
    unknown = "stranger{}: not known to the network"
    first = ", ".join(unknown.format(index) for index in range(3))
    assert str(caught.value) == (
        f"{tmp_path / 'network.pth'} ({len(state)} keys) does not fit Sequential: 8 keys do not "
        f"({first}, 5 more); need network.pth: `pdfgc weights fetch NAME` downloads the published file, "
        "or prints its address"
    )


def test_unused_keys_are_ignored_and_reported(tmp_path: Path) -> None:
    report = load_checkpoint(network(), saved(tmp_path, weights() | {"old.fc": torch.zeros(9)}), PLAIN)
    assert report.unused == ("old.fc",)


def test_by_intersection_ignores_unknown_but_not_missing_keys(tmp_path: Path) -> None:
    intersection = OfficialFile(names=("network.pth",), by_intersection=True)
    state = weights() | {"stranger": torch.zeros(1)}
    assert load_checkpoint(network(), saved(tmp_path, state), intersection).unused == ("stranger",)
    del state["2.weight"]
    file = saved(tmp_path, state)
    with pytest.raises(ValueError, match=r"2\.weight: missing in the file"):
        load_checkpoint(network(), file, intersection)
    report = load_checkpoint(network(), file, intersection, allow_missing=True)
    assert report.missing == ("2.weight",)


def test_file_without_common_keys_is_rejected(tmp_path: Path) -> None:
    file = saved(tmp_path, {"stranger": torch.zeros(1)})
    with pytest.raises(ValueError, match="it has none of its keys"):
        load_checkpoint(network(), file, OfficialFile(names=(), by_intersection=True), allow_missing=True)
