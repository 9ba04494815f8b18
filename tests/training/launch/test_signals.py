"""A signal whose exception was raised where Python discards exceptions still ends the command."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from training.launch.process_group import Ending, run_command
from training.launch.signals import remembered_signals


class TerminatedError(BaseException):
    """Raised by the signal handler, as by Dagster's."""


class SignalInDestructor:
    """Receives a signal where Python prints exceptions and discards them."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def _raising_handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TerminatedError

    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


def test_lost_signal_is_handled_again() -> None:
    with remembered_signals() as handle_again:
        handle_again()
        objects = [SignalInDestructor()]
        objects.clear()
        with pytest.raises(TerminatedError):
            handle_again()
        handle_again()  # only once


def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with remembered_signals():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_record_no_signals() -> None:
    done: list[bool] = []

    def record() -> None:
        with remembered_signals() as handle_again:
            handle_again()
        done.append(True)

    thread = threading.Thread(target=record)
    thread.start()
    thread.join()
    assert done == [True]


def test_command_ends_after_a_lost_signal() -> None:
    objects = [SignalInDestructor()]
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(TerminatedError):
        run_command(command, ending=Ending(0.2), while_running=objects.clear, interval_seconds=0.05)
