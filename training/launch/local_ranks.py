"""Starts a job's processes on this machine: ``python -m training.launch.local_ranks N MODULE ARGUMENT…``.

torchrun is not used here. Its rendezvous store, and that of `env://`, listen on every interface of the
machine, and torchrun unpickles what it reads from its own: whoever reaches the port runs code as this user.
Here one process needs no rendezvous, and several meet in a file that only this user can read and talk over
the loopback interface alone.

Linux only. Imports no torch.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from storage.atomic import temporary_folder

RENDEZVOUS_VARIABLE: Final = "PDFGC_RENDEZVOUS"  # `init_method` of the process group
LOOPBACK: Final = "lo"
POLL_SECONDS: Final = 0.1
GRACE_SECONDS: Final = 60.0  # between SIGTERM and SIGKILL: a step and a checkpoint


def local_ranks_command(processes: int, module: str, *arguments: str) -> list[str]:
    """The command that runs a module in a number of processes on this machine."""
    return [sys.executable, "-m", "training.launch.local_ranks", str(processes), module, *arguments]


def rank_environment(
    rank: int, ranks: int, rendezvous: Path, *, local_rank: int | None = None, interface: str = LOOPBACK
) -> dict[str, str]:
    """Variables of one process; the names are torchrun's where it has one.

    Args:
        rank: of all nodes' processes.
        ranks: number of processes on all nodes.
        rendezvous: a file that does not exist yet, or that another rank has just created.
        local_rank: on this node; default `rank`.
        interface: network interface that gloo and NCCL bind to.
    """
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank if local_rank is None else local_rank),
        "WORLD_SIZE": str(ranks),
        RENDEZVOUS_VARIABLE: rendezvous.as_uri(),
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
    }


def run_ranks(command: Sequence[str], ranks: int) -> int:
    """Run a command once a rank on this machine: `run_until_ended`."""
    # A new folder, readable by this user alone; a file left by an earlier job would stall the rendezvous.
    with temporary_folder("ranks") as folder:
        rendezvous = folder / "rendezvous"
        return run_until_ended(command, [rank_environment(rank, ranks, rendezvous) for rank in range(ranks)])


def run_until_ended(command: Sequence[str], environments: Sequence[dict[str, str]]) -> int:
    """Run a command once for each environment until all have ended, or one fails: then the others are ended.

    Returns:
        0, or the exit code of the first that failed; 128 + the signal's number if a signal ended it.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.extend(subprocess.Popen(command, env=os.environ | variables) for variables in environments)
        while True:
            codes = [process.poll() for process in processes]
            failed = next((code for code in codes if code), None)
            if failed is not None:
                return failed if failed > 0 else 128 - failed
            if None not in codes:
                return 0
            time.sleep(POLL_SECONDS)
    finally:
        _end(processes)


def _end(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """SIGTERM, and SIGKILL after the grace period."""
    for process in processes:
        process.terminate()  # does nothing if it has ended
    kill_at = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, kill_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> int:
    """Read the command line; one process replaces this one."""
    parser = argparse.ArgumentParser(prog="python -m training.launch.local_ranks", description=__doc__)
    parser.add_argument("processes", type=int)
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.processes < 1:
        parser.error(f"processes must be >= 1, got {given.processes}")
    command = [sys.executable, "-m", given.module, *given.arguments]
    if given.processes == 1:
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        os.execve(command[0], command, os.environ | alone)  # noqa: S606

    exit_on_sigterm()
    return run_ranks(command, given.processes)


def exit_on_sigterm() -> None:
    """Leave through `finally` on SIGTERM, so that the ranks are ended."""

    def stop(number: int, frame: object) -> NoReturn:
        del frame
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)


if __name__ == "__main__":
    sys.exit(main())
