"""Signals that tell a process to end, remembered until it does. Imports no torch and no Dagster."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def remembered_signals() -> Generator[Callable[[], None]]:
    """Within, SIGINT and SIGTERM are handled as before and remembered.

    A handler that ends its process raises an exception wherever the main thread happens to be. Where that
    is a destructor or another place whose exceptions Python prints and forgets, the signal is lost, and
    what was told to end goes on for hours (seen: a cancelled Dagster run on a busy machine).

    Yields:
        A function that handles the signals once more that came so far; to be called now and then. In
        another thread than the main one, where no signal arrives, it does nothing.
    """
    if current_thread() is not main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
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
        signal.signal(number, remember)
    try:
        yield handle_again
    finally:
        for number in replaced:
            signal.signal(number, before[number])
