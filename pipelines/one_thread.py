"""One thread a process: the pools' processes are the parallel work."""

import os

from preprocessing.process_pool import ONE_THREAD


def use_one_thread() -> None:
    """Tell the numeric libraries, before they are loaded and unless the environment says otherwise.

    Beside other processes their threads wait in loops and cost more than they give.
    """
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
