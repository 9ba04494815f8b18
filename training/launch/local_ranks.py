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
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

RENDEZVOUS_VARIABLE: Final = "PDFGC_RENDEZVOUS"  # `init_method` of the process group
LOOPBACK: Final = "lo"
POLL_SECONDS: Final = 0.1
GRACE_SECONDS: Final = 60.0  # between SIGTERM and SIGKILL: a step and a checkpoint


def local_ranks_command(processes: int, module: str, *arguments: str) -> list[str]:
    """The command that runs a module in a number of processes on this machine."""
    return [sys.executable, "-m", "training.launch.local_ranks", str(processes), module, *arguments]


def rank_environment(rank: int, ranks: int, rendezvous: Path) -> dict[str, str]:
    """Variables of one process; the names are torchrun's where it has one."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        RENDEZVOUS_VARIABLE: rendezvous.as_uri(),
        "GLOO_SOCKET_IFNAME": LOOPBACK,
        "NCCL_SOCKET_IFNAME": LOOPBACK,
    }


def run_ranks(command: Sequence[str], ranks: int) -> int:
    """Run a command once a rank until all have ended, or one fails: then the others are ended.

    Returns:
        0, or the exit code of the first that failed; 128 + the signal's number if a signal ended it.
    """
    # A new folder, readable by this user alone; a file left by an earlier job would stall the rendezvous.
    with tempfile.TemporaryDirectory(prefix="pdfgc-ranks-") as folder:
        rendezvous = Path(folder) / "rendezvous"
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(ranks):
                environment = os.environ | rank_environment(rank, ranks, rendezvous)
                processes.append(subprocess.Popen(command, env=environment))
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

    def stop(number: int, frame: object) -> NoReturn:
        del frame
        sys.exit(128 + number)  # through `finally`, which ends the ranks

    signal.signal(signal.SIGTERM, stop)
    return run_ranks(command, given.processes)


if __name__ == "__main__":
    sys.exit(main())
