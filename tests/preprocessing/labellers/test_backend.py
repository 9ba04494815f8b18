"""Backends: opening, the record of who labelled, which settings decide, and labelling clips in order."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from preprocessing.labellers.backend import (
    LABELLERS_NAME,
    PREPARED_CLIPS,
    Backend,
    BackendSettings,
    ClipLabeller,
    WeightsRequest,
    label_clips,
    read_labellers,
    write_labellers,
)
from preprocessing.schema import Clip
from tests.factories.preprocessing.backends import weights_at
from tests.factories.preprocessing.clips import random_clip
from weights.resolve import PRETRAINED_WEIGHTS_NAME

CLIPS = tuple(random_clip(1, number, f"clip-{number}") for number in range(5))


def reject(clip: Clip, error: Exception) -> None:
    raise AssertionError(f"{clip.key} failed") from error


class KeyLabeller(ClipLabeller[Clip, str, str]):
    """Labels a clip with its key; records what was prepared, and in which threads."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.prepared: list[str] = []
        self.threads: set[int] = set()

    @override
    def prepare(self, item: Clip) -> str:
        self.threads.add(threading.get_ident())
        self.prepared.append(item.key)
        if item.key == "clip-bad":
            raise ValueError("clip-bad: its picture cannot be decoded")
        return item.key

    @override
    def label(self, prepared: str) -> str:
        if prepared == "clip-unlabelled":
            raise RuntimeError("no label fits")
        return f"labels of {prepared}"


PLAIN = Backend(name="plain", version="2", factory=KeyLabeller, settings=("scale",))
NETWORK = Backend(
    name="network",
    version="1",
    factory=KeyLabeller,
    settings=("bias",),
    weights=WeightsRequest("a_set", "a_setting"),
)


class ToySettings(BackendSettings):
    backends: ClassVar[Mapping[str, Backend[Any]]] = {"plain": PLAIN, "network": NETWORK}

    backend: str = "plain"
    scale: float = 2.0
    bias: float = 0.0
    both: int = 1


def test_backend_open_passes_its_settings() -> None:
    assert PLAIN.open(ToySettings()).arguments == (2.0,)
    assert NETWORK.open(ToySettings(), Path("x.pth")).arguments == (Path("x.pth"), 0.0)


def test_backend_open_refuses_missing_weights() -> None:
    with pytest.raises(ValueError, match=r"^backend network needs a_setting \(a_set\), got no file$"):
        NETWORK.open(ToySettings())


def test_labeller_name_holds_version_and_digest(tmp_path: Path) -> None:
    assert PLAIN.labeller_name() == "plain 2"
    assert NETWORK.labeller_name(weights_at(tmp_path / "x.pth", "c")) == "network 1 weights cccccccc"


def test_settings_refuse_an_unknown_backend() -> None:
    with pytest.raises(ValueError, match=r"backend must be one of plain, network, got 'other'"):
        ToySettings(backend="other")


def test_settings_refuse_weights_that_are_not_used() -> None:
    with pytest.raises(ValueError, match=r"backend plain uses no weights, got weights 'x'"):
        ToySettings(weights="x")


def test_settings_request_the_backends_weights() -> None:
    assert ToySettings().requested_weights is None
    assert ToySettings(backend="network").requested_weights == WeightsRequest("a_set", "a_setting")
    own = ToySettings(backend="network", weights="own.pth")
    assert own.requested_weights == WeightsRequest("own.pth", "a_setting")


def test_deciding_settings_exclude_other_backends_and_weights() -> None:
    assert ToySettings().deciding_settings() == {"backend": "plain", "scale": 2.0, "both": 1}
    network = ToySettings(backend="network", weights="own.pth", scale=5.0)
    assert network.deciding_settings() == {"backend": "network", "bias": 0.0, "both": 1}


def test_labellers_record_round_trips(tmp_path: Path) -> None:
    assert read_labellers(tmp_path) == {}
    write_labellers(tmp_path, {"pose": "plain 2"})
    assert read_labellers(tmp_path) == {"pose": "plain 2"}
    assert [path.name for path in tmp_path.iterdir()] == [LABELLERS_NAME]


def test_labellers_record_names_the_weights(tmp_path: Path) -> None:
    weights = weights_at(tmp_path / "x.pth", "c")
    write_labellers(tmp_path, {"pose": NETWORK.labeller_name(weights)}, weights)
    (record,) = json.loads((tmp_path / PRETRAINED_WEIGHTS_NAME).read_text())
    assert record["sha256"] == "c" * 64


def test_label_clips_keeps_the_order_and_prepares_in_a_thread() -> None:
    labeller = KeyLabeller()
    labelled = list(label_clips(iter(CLIPS), labeller, reject))
    assert [(clip.key, labels) for clip, labels in labelled] == [
        (clip.key, f"labels of {clip.key}") for clip in CLIPS
    ]
    assert len(labeller.threads) == 1
    assert threading.get_ident() not in labeller.threads


def test_label_clips_reads_only_a_few_clips_ahead() -> None:
    read: list[str] = []

    def counted() -> Iterator[Clip]:
        for clip in CLIPS:
            read.append(clip.key)
            yield clip

    for number, _ in enumerate(label_clips(counted(), KeyLabeller(), reject)):
        assert len(read) <= number + 1 + PREPARED_CLIPS


def test_label_clips_stops_reading_when_closed() -> None:
    labeller = KeyLabeller()
    labelled = label_clips(iter(CLIPS), labeller, reject)
    next(labelled)
    labelled.close()
    assert len(labeller.prepared) <= 1 + PREPARED_CLIPS
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare_clips")]


def test_label_clips_leaves_out_clips_that_fail() -> None:
    clips = [
        CLIPS[0],
        random_clip(1, 9, "clip-bad"),
        CLIPS[1],
        random_clip(1, 8, "clip-unlabelled"),
        CLIPS[2],
    ]
    failed: dict[str, str] = {}
    labelled = label_clips(
        iter(clips), KeyLabeller(), lambda clip, error: failed.update({clip.key: str(error)})
    )
    assert [clip.key for clip, _ in labelled] == ["clip-0", "clip-1", "clip-2"]
    assert failed == {
        "clip-bad": "clip-bad: its picture cannot be decoded",
        "clip-unlabelled": "no label fits",
    }


def test_label_clips_raises_what_its_clips_raise() -> None:
    def damaged() -> Iterator[Clip]:
        yield CLIPS[0]
        raise ValueError("clips.tar is damaged")

    labelled = label_clips(damaged(), KeyLabeller(), reject)
    assert next(labelled)[0].key == "clip-0"
    with pytest.raises(ValueError, match=r"^clips\.tar is damaged$"):
        next(labelled)


def test_label_clips_of_no_clips_is_empty() -> None:
    assert list(label_clips(iter(()), KeyLabeller(), reject)) == []
