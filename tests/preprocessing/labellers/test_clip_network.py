"""Clips are got ready ahead of the network, a few at a time, in their order."""

import threading
from collections.abc import Iterator

import pytest

from preprocessing.labellers.clip_network import AHEAD_CLIPS, label_clips
from preprocessing.schema import Clip
from tests.factories.clips import random_clip

CLIPS = tuple(random_clip(1, number, f"clip-{number}") for number in range(5))


class Counting:
    """Tells each clip's key; counts how many clips wait when the network looks."""

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.threads: set[int] = set()

    def prepare(self, clip: Clip) -> str:
        self.threads.add(threading.get_ident())
        self.prepared.append(clip.key)
        if clip.key == "clip-bad":
            raise ValueError("clip-bad: its picture cannot be decoded")
        return clip.key

    def label(self, ready: str) -> str:
        return f"labels of {ready}"


def test_every_clip_gets_its_labels_in_order_from_another_thread() -> None:
    network = Counting()
    labelled = list(label_clips(iter(CLIPS), network))
    assert [(clip.key, told) for clip, told in labelled] == [
        (clip.key, f"labels of {clip.key}") for clip in CLIPS
    ]
    assert len(network.threads) == 1
    assert threading.get_ident() not in network.threads


def test_no_more_than_a_few_clips_wait() -> None:
    read: list[str] = []

    def counted() -> Iterator[Clip]:
        for clip in CLIPS:
            read.append(clip.key)
            yield clip

    for number, _ in enumerate(label_clips(counted(), Counting())):
        assert len(read) <= number + 1 + AHEAD_CLIPS


def test_nothing_is_read_once_nobody_asks() -> None:
    network = Counting()
    labelled = label_clips(iter(CLIPS), network)
    next(labelled)
    labelled.close()
    assert len(network.prepared) <= 1 + AHEAD_CLIPS
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare_clips")]


def test_an_error_comes_at_its_clip_and_not_before() -> None:
    clips = [CLIPS[0], random_clip(1, 9, "clip-bad"), CLIPS[1]]
    labelled = label_clips(iter(clips), Counting())
    assert next(labelled)[0].key == "clip-0"
    with pytest.raises(ValueError, match=r"^clip-bad: its picture"):
        next(labelled)


def test_no_clips_are_no_labels() -> None:
    assert list(label_clips(iter(()), Counting())) == []
