import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.engine import checkpoint as module
from training.engine.checkpoint import (
    EMA_NAME,
    MANIFEST_NAME,
    STATE_NAME,
    WEIGHTS_NAME,
    CheckpointFacts,
    RankState,
    UnfitCheckpointError,
    keep_newest,
    newest_checkpoint,
    read_checkpoint,
    require_fit,
    write_checkpoint,
)

FACTS = CheckpointFacts("stage", 7, 2, {"trainer": {"batch_size": 4, "seed": 0}}, 3)


def write(folder: Path, step: int = 7, value: float = 1.0) -> Path:
    network = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.5)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    ranks = [
        RankState(
            {"position": 8, "corrupt_keys": ["a"]}, torch.arange(3) + rank, None, {"bank": torch.ones(2)}
        )
        for rank in range(2)
    ]
    tensors = {"net.weight": torch.full((2, 2), value)}
    return write_checkpoint(
        folder,
        dataclasses.replace(FACTS, step=step),
        tensors,
        tensors,
        {"model": optimizer.state_dict()},
        ranks,
    )


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    loaded = read_checkpoint(write(tmp_path, value=2.5))
    assert loaded.facts == FACTS
    assert loaded.weights.tensors["net.weight"].tolist() == [[2.5, 2.5], [2.5, 2.5]]
    assert loaded.ema is not None
    assert loaded.optimizers["model"]["param_groups"][0]["lr"] == 0.5
    assert loaded.optimizers["model"]["state"][0]["step"] == 1
    assert [rank.cpu_random.tolist() for rank in loaded.ranks] == [[0, 1, 2], [1, 2, 3]]
    assert loaded.ranks[1].cursor == {"position": 8, "corrupt_keys": ["a"]}
    assert loaded.ranks[1].stage["bank"].tolist() == [1, 1]


def test_checkpoint_state_loads_with_weights_only(tmp_path: Path) -> None:
    state = torch.load(write(tmp_path) / STATE_NAME, weights_only=True)
    assert set(state) == {"optimizers", "ranks"}


def test_failed_write_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write(tmp_path, step=3)

    def full(path: Path) -> str:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(module, "file_sha256", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, step=6)
    assert list(tmp_path.iterdir()) == [before]
    assert newest_checkpoint(tmp_path) == before


def test_incomplete_checkpoints_are_ignored(tmp_path: Path) -> None:
    whole = write(tmp_path, step=3)
    write(tmp_path, step=6).joinpath(MANIFEST_NAME).unlink()
    # Its owner is a process that never ends, so that nobody clears it away.
    write(tmp_path, step=9).rename(tmp_path / "step-00000009.partial-1-ab")
    assert newest_checkpoint(tmp_path) == whole
    keep_newest(tmp_path, 1)
    assert whole.is_dir()
    assert newest_checkpoint(tmp_path / "no such folder") is None


def test_partial_folder_of_dead_process_is_removed(tmp_path: Path) -> None:
    dead = tmp_path / f"step-00000003.partial-{2**22 + 5}-ab"  # above Linux' highest process number
    dead.mkdir(parents=True)
    assert list(tmp_path.iterdir()) == [dead]
    whole = write(tmp_path)
    assert list(tmp_path.iterdir()) == [whole]


def test_newest_checkpoint_is_by_manifest(tmp_path: Path) -> None:
    late = write(tmp_path, step=20).rename(tmp_path / "a")
    early = write(tmp_path, step=3).rename(tmp_path / "z")
    assert newest_checkpoint(tmp_path) == late
    keep_newest(tmp_path, 1)
    assert late.is_dir()
    assert not early.exists()


@pytest.mark.parametrize("name", [WEIGHTS_NAME, EMA_NAME, STATE_NAME])
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_damaged_file_is_rejected(tmp_path: Path, name: str, damage: str) -> None:
    folder = write(tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    if damage == "missing":
        (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"step-00000007/{name} is missing or damaged"):
        read_checkpoint(folder)


def test_damaged_or_other_manifest_is_rejected(tmp_path: Path) -> None:
    file = write(tmp_path) / MANIFEST_NAME
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest)[:-20])
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        newest_checkpoint(tmp_path)
    file.write_text(json.dumps(manifest | {"checkpoint_version": 99}))
    with pytest.raises(ValueError, match=r"manifest\.json: checkpoint of version 99, this code reads 1"):
        read_checkpoint(file.parent)
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "other"}, "stage: 'stage' in the checkpoint, 'other' here"),
        ({"schema_version": 4}, "data schema version: 3 in the checkpoint, 4 here"),
        (
            {"configuration": {"trainer": {"batch_size": 8, "seed": 0}}},
            r"trainer\.batch_size: 4 in the checkpoint, 8 here; choose",
        ),
        (
            {"configuration": {"trainer": {"batch_size": 4}, "new": 1}},
            r"new: None in the checkpoint, 1 here; trainer\.seed: 0 in the checkpoint, None here",
        ),
    ],
)
def test_require_fit_names_what_differs(change: dict[str, object], message: str) -> None:
    with pytest.raises(UnfitCheckpointError, match=message):
        require_fit(FACTS, dataclasses.replace(FACTS, **change), "here")


def test_require_fit_allows_other_steps_and_ranks() -> None:
    require_fit(FACTS, dataclasses.replace(FACTS, step=1, ranks=5), "here")


def test_keep_newest_removes_older_checkpoints(tmp_path: Path) -> None:
    for step in (3, 6, 9, 12):
        write(tmp_path, step)
    keep_newest(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000009", "step-00000012"]


def test_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, value=1)
    tensor: Tensor = read_checkpoint(write(tmp_path, value=2)).weights.tensors["net.weight"]
    assert tensor.tolist() == [[2, 2], [2, 2]]
    assert len(list(tmp_path.iterdir())) == 1
