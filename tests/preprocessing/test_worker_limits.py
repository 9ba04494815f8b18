"""Limits of worker processes: memory, CPU time without progress, CPU time in all."""

import os
import signal
import time

import numpy as np
import pytest

from preprocessing.process_pool import CRASHED, Crashed, LimitedProcess, map_in_processes
from preprocessing.worker_limits import WorkerLimits, note_done, note_progress

MEBIBYTE = 2**20


def take_memory(mebibytes: int) -> int:
    """In pieces, so that the parent sees it grow; a limited worker gets no more than a quarter too much."""
    pieces = [np.ones(32 * MEBIBYTE, np.uint8) for _ in range(mebibytes // 32)]
    time.sleep(1.0)
    return len(pieces)


def take_at_once(mebibytes: int) -> str:
    try:
        return str(len(bytearray(mebibytes * MEBIBYTE)))
    except MemoryError:
        return "MemoryError"


def work(seconds: float) -> int:
    """Notes progress for `seconds` of CPU time, then loops in silence where the number is negative."""
    began = time.process_time()
    while seconds < 0 or time.process_time() - began < seconds:
        if seconds > 0:
            note_progress()
    return os.getpid()


def test_more_memory_than_the_limit_ends_the_item_alone() -> None:
    limits = WorkerLimits(memory_mebibytes=512)
    outcomes = dict(map_in_processes(take_memory, [64, 544, 96], 1, limits))
    refused = outcomes.pop(544)
    assert isinstance(refused, Crashed)
    assert refused.reason == "out_of_memory"
    assert refused.detail.endswith("MiB, need at most 512")
    assert outcomes == {64: 2, 96: 3}


def test_one_large_allocation_is_a_memory_error() -> None:
    limits = WorkerLimits(memory_mebibytes=512)
    assert list(map_in_processes(take_at_once, [2000], 1, limits)) == [(2000, "MemoryError")]


def test_loop_without_progress_is_ended_and_not_tried_again() -> None:
    limits = WorkerLimits(stalled_cpu_seconds=1)
    outcomes = dict(map_in_processes(work, [-1.0, 2.0], 1, limits))
    assert outcomes.pop(-1.0) == Crashed("no progress in 1 CPU seconds", "too_slow")
    assert isinstance(outcomes[2.0], int)


def test_cpu_time_in_all_is_limited() -> None:
    limits = WorkerLimits(cpu_hours=1 / 3600)
    ((_, outcome),) = map_in_processes(work, [30.0], 1, limits)
    assert outcome == Crashed("reading took more than 0.000277778 CPU hours", "too_slow")


def process_id(_: None) -> int:
    return os.getpid()


def die(_: None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(text: str) -> None:
    raise ValueError(text)


def count_to(last: int) -> int:
    for number in range(last + 1):
        note_done(number)
    time.sleep(1.0)
    return last


def stop_at_three(done: int) -> None:
    if done == 3:
        raise KeyError(done)


def test_a_limited_process_is_kept_and_replaced_when_it_ended() -> None:
    process = LimitedProcess(WorkerLimits())
    try:
        first = process.call(process_id, None)
        with pytest.raises(ValueError, match="not this one"):
            process.call(refuse, "not this one")
        assert process.call(process_id, None) == first
        ended = process.call(die, None)
        assert isinstance(ended, Crashed)
        assert ended.reason == CRASHED
        second = process.call(process_id, None)
        assert second not in (first, ended)
        with pytest.raises(KeyError):
            process.call(count_to, 3, stop_at_three)
        seen: list[int] = []
        assert process.call(count_to, 5, seen.append) == 5
        assert seen[-1] == 5
        assert process.call(process_id, None) not in (first, second)
    finally:
        process.close()
