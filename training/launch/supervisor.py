"""Runs a command and ends all its descendants: ``python -m training.launch.supervisor -- COMMAND…``.

`training.launch.process_group.run_command` starts it in its own session and holds the other end of its
standard input. When that input ends, the caller has ended, in whatever way: SIGKILL closes it too. Linux
only. Imports no torch and no Dagster.

Killing the launcher's process group is not enough: a process can have moved to a session of its own, as
torchrun's workers do. Here the kernel makes this process the parent of all orphaned descendants, so it has a
child as long as any of them lives, and none are left once the kernel reports that it has no children.
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

from training.launch.signals import adopt_orphans, die_with_parent

POLL_SECONDS: Final = 0.2  # the end of the input wakes it at once
RETRY_SECONDS: Final = 0.05
LEFT_OVER_GRACE_SECONDS: Final = 10.0  # for what the command leaves running


def supervise(command: Sequence[str], grace_seconds: float) -> int:
    """Run a command until it ends, the standard input ends, or SIGTERM, SIGINT or SIGHUP comes.

    Then end the command and all other descendants of this process: SIGTERM, and SIGKILL after
    `grace_seconds`.

    Returns:
        The command's exit code; 128 + the signal's number if a signal ended it.
    """
    received: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, record)
    adopt_orphans()
    caller = os.getppid()
    # `preexec_fn` is safe here because this process has one thread; the command itself cannot do it.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509
    ended: dict[int, int] = {}
    while process.pid not in ended and not received and os.getppid() == caller and not _input_ended():
        _reap(ended)
    _end_all(process, ended, grace_seconds)
    process.returncode = os.waitstatus_to_exitcode(ended[process.pid])
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _input_ended() -> bool:
    """Wait briefly for the end of the standard input."""
    ready, _, _ = select.select([0], [], [], POLL_SECONDS)
    return bool(ready) and os.read(0, 4096) == b""


def _reap(ended: dict[int, int]) -> bool:
    """Record every child that has ended; False where there are no children left."""
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if child == 0:
            return True
        ended[child] = status


def _end_all(command: "subprocess.Popen[bytes]", ended: dict[int, int], grace_seconds: float) -> None:
    """End all descendants; returns when there are none.

    SIGTERM to the command first, which ends its own helpers when it no longer needs them; to what it leaves
    then; SIGKILL to all after the grace period.
    """
    terminated: set[psutil.Process] = set()
    kill_at = time.monotonic() + grace_seconds
    if command.pid not in ended:
        os.kill(command.pid, signal.SIGTERM)  # not yet reaped, so the number is its own
    has_ended = False
    while _reap(ended):
        if command.pid in ended and not has_ended:
            has_ended, kill_at = True, min(kill_at, time.monotonic() + LEFT_OVER_GRACE_SECONDS)
        for descendant in psutil.Process().children(recursive=True):
            try:
                if time.monotonic() >= kill_at:
                    descendant.kill()
                elif has_ended and descendant not in terminated:
                    terminated.add(descendant)
                    descendant.terminate()
            except psutil.NoSuchProcess:
                continue
        time.sleep(RETRY_SECONDS)


def main() -> int:
    """Read the command line and supervise."""
    parser = argparse.ArgumentParser(prog="python -m training.launch.supervisor", description=__doc__)
    parser.add_argument("--grace-seconds", type=float, default=60.0)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    return supervise(arguments.command, arguments.grace_seconds)


if __name__ == "__main__":
    sys.exit(main())
