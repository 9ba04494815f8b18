"""Runs one command and leaves nothing of it: ``python -m training.launch.supervisor -- COMMAND…``.

`training.launch.process_group.run_command` starts this in a session of its own and holds the other end of its
standard input. The end of that input says that whoever started it is gone, in whatever way: a SIGKILL
closes it too. Linux only. Imports no torch and no Dagster.

Killing the process group of a launcher is not enough: torch's elastic agent starts every worker in a
session of its own. Here the kernel makes this process the parent of every orphan below it, so while
anything of the command lives, this process has a child; and once the kernel says that it has none,
nothing is left.
"""

import argparse
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

import psutil

from training.launch.orphans import adopt_orphans, die_with_parent

LOOK_SECONDS: Final = 0.2  # how often it looks; the end of its input wakes it at once
RETRY_SECONDS: Final = 0.05


def supervise(command: Sequence[str], grace_seconds: float) -> int:
    """Run a command until it ends, the standard input ends, or SIGTERM, SIGINT or SIGHUP comes.

    Then end whatever is left below this process: SIGTERM, and SIGKILL after `grace_seconds`.

    Returns:
        The command's exit code, 128 + the signal's number if one ended it.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    adopt_orphans()
    caller = os.getppid()
    # This process has one thread, so a function between fork and exec is safe; and it must be there:
    # the command knows nothing of us.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509
    ended: dict[int, int] = {}
    while process.pid not in ended and not asked and os.getppid() == caller and not _input_ended():
        _reap(ended)
    _end_all(ended, grace_seconds)
    process.returncode = os.waitstatus_to_exitcode(ended[process.pid])
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _input_ended() -> bool:
    """Wait a little for the end of the standard input."""
    ready, _, _ = select.select([0], [], [], LOOK_SECONDS)
    return bool(ready) and os.read(0, 4096) == b""


def _reap(ended: dict[int, int]) -> bool:
    """Take note of every child that has ended; False where there are no children any more."""
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if child == 0:
            return True
        ended[child] = status


def _end_all(ended: dict[int, int], grace_seconds: float) -> None:
    """End all descendants; returns when the kernel says that there are none."""
    asked_nicely: set[psutil.Process] = set()
    kill_at = time.monotonic() + grace_seconds
    while _reap(ended):
        for descendant in psutil.Process().children(recursive=True):
            try:
                if time.monotonic() >= kill_at:
                    descendant.kill()
                elif descendant not in asked_nicely:
                    asked_nicely.add(descendant)
                    descendant.terminate()
            except psutil.NoSuchProcess:
                continue
        time.sleep(RETRY_SECONDS)


def main() -> int:
    """Read the command line and supervise."""
    parser = argparse.ArgumentParser(prog="python -m training.launch.supervisor", description=__doc__)
    parser.add_argument("--grace-seconds", type=float, default=10.0)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    return supervise(arguments.command, arguments.grace_seconds)


if __name__ == "__main__":
    sys.exit(main())
