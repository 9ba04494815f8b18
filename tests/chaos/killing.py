"""An operator as a forked process, killed at a change of the file system or at a time."""

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from tests.chaos.graph import Node, Workplace, run_nodes
from tests.factories.storage.builds import changes_files

POLL_SECONDS: Final = 0.02
ORPHANS_SECONDS: Final = 120.0  # on a busy machine
Target = Literal["main at a change", "main", "child", "all"]


@dataclass(frozen=True)
class Kill:
    """A SIGKILL to come.

    Attributes:
        target: "main at a change": the operator just before its change of that number below the root; "main":
            the operator; "child": a random process that it started; "all": the operator with all of them.
        change: number of the change, from 0.
        seconds: time from the start, for the others.
    """

    target: Target
    change: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How an operator ended."""

    killed: bool  # a process was killed
    succeeded: bool
    seconds: float
    changes: int  # of files, by the operator's own process, where it was not killed


def start(place: Workplace, nodes: Mapping[str, Node], before: Callable[[], None], log: Path) -> int:
    """Fork an operator that runs nodes; returns its process id.

    Everything it needs is imported here already. `before` is called in it first.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        before()
        run_nodes(place, nodes)
        code = 0
    finally:  # never back into the caller's code
        if code:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(process: int) -> bool:
    """Wait for an operator; whether it succeeded."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def run(
    place: Workplace, nodes: Mapping[str, Node], kill: Kill | None, rng: random.Random, log: Path
) -> Ended:
    """Run nodes as an operator, and kill it if asked to."""
    counted = place.root.with_name(place.root.name + ".changes")
    counted.unlink(missing_ok=True)
    at_change = kill.change if kill is not None and kill.target == "main at a change" else None
    started = time.monotonic()
    process = start(place, nodes, lambda: _count_changes(place.root, counted, at_change), log)
    killed = False
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            break
        due = kill is not None and not killed and time.monotonic() - started >= kill.seconds
        if due and kill is not None and at_change is None:
            killed = _kill(process, kill.target, rng)
        time.sleep(POLL_SECONDS)
    _end_group(process, place.root)
    killed = killed or os.WIFSIGNALED(status)
    changes = counted.stat().st_size if counted.is_file() else 0
    return Ended(
        killed, os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, time.monotonic() - started, changes
    )


def _count_changes(root: Path, counted: Path, kill_at: int | None) -> None:
    """Count this process's changes below a root in a file's size; SIGKILL before one of them."""
    seen, descriptor = count(), os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    inside, own = str(root), os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if changes_files(event, arguments) and os.getpid() == own and str(arguments[0]).startswith(inside):
            if next(seen) == kill_at:
                os.kill(own, signal.SIGKILL)
            os.write(descriptor, b".")

    sys.addaudithook(hook)


def _kill(process: int, target: Target, rng: random.Random) -> bool:
    """SIGKILL; False where there is no such process (yet)."""
    with suppress(psutil.NoSuchProcess):
        main = psutil.Process(process)
        children = main.children(recursive=True)
        if target == "child":
            if not children:
                return False
            rng.choice(sorted(children, key=lambda child: child.pid)).kill()
            return True
        main.kill()
        for child in children if target == "all" else ():
            with suppress(psutil.NoSuchProcess):
                child.kill()
        return True
    return False


def _end_group(process: int, root: Path) -> None:
    """Wait for what an operator left running: it must end by itself.

    Raises:
        TimeoutError: it does not.
    """
    give_up_at = time.monotonic() + ORPHANS_SECONDS
    while left := [one for one in psutil.process_iter() if _is_left(one, process, root)]:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"processes outlive their operator: {[one.cmdline() for one in left]}")
        time.sleep(POLL_SECONDS)


def _is_left(process: psutil.Process, group: int, root: Path) -> bool:
    """Whether a process is of an operator's group, or a training process below the root."""
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        is_training = "training" in " ".join(process.cmdline()[1:3]) and str(root) in process.cmdline()[-1]
        return os.getpgid(process.pid) == group or is_training
    except (ProcessLookupError, IndexError, psutil.NoSuchProcess):
        return False
