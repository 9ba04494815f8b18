"""Signals to end a process, and what the Linux kernel does with children whose parent ended.

Imports no torch and no Dagster.
"""

import ctypes
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Final

from storage.atomic import is_alive

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
STOPPED_EXIT: Final = 128 + signal.SIGTERM
"""Exit code of a training process that was asked to stop and wrote a checkpoint."""
SUPERVISOR_VARIABLE: Final = "PDFGC_SUPERVISOR"  # process id of the supervisor, for all its descendants
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


@contextmanager
def remembered_signals() -> Generator[Callable[[], None]]:
    """Within, SIGINT and SIGTERM are handled as before, and recorded.

    A handler that ends its process raises an exception wherever the main thread happens to be. In a
    destructor, or wherever else Python prints and discards exceptions, the signal is lost and the process
    continues for hours (seen with a cancelled Dagster run on a busy machine).

    Yields:
        A function that calls the handlers again for the signals received so far; call it regularly. Outside
        the main thread, where no signal arrives, it does nothing.
    """
    if current_thread() is not main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    received: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        received.append(number)
        handler = before[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)

    def handle_again() -> None:
        if received:
            number = received[-1]
            received.clear()
            handler = before[signal.Signals(number)]
            assert callable(handler)
            handler(number, None)

    replaced = [number for number, handler in before.items() if callable(handler)]
    for number in replaced:
        signal.signal(number, record)
    try:
        yield handle_again
    finally:
        for number in replaced:
            signal.signal(number, before[number])


@contextmanager
def stop_requests() -> Generator[Callable[[], bool]]:
    """Within, SIGINT and SIGTERM ask to stop and do nothing else.

    Yields:
        Whether one of them came. Outside the main thread, where no signal arrives, it never did.
    """
    if current_thread() is not main_thread():
        yield lambda: False
        return
    received: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    before = {number: signal.signal(number, record) for number in SIGNALS}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; does nothing unless below a supervisor.

    For the training processes, which are not direct children of the supervisor: they end with the process
    that started them even if the supervisor was killed. Exits at once where that has already happened.
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if not is_alive(int(supervisor)):  # it ended before the line above took effect
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (a "child subreaper")."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.environ[SUPERVISOR_VARIABLE] = str(os.getpid())


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")
