"""Run a command so that none of its processes outlives the caller. Imports no torch and no Dagster.

- The caller is interrupted, fails or is killed: the pipe to the supervisor closes, and the supervisor ends
  all its descendants.
- The supervisor is killed: the kernel kills its child and the workers that called `die_with_parent`; the
  caller ends the rest, recognised by a variable in their environment.
- The command ends by itself: the supervisor ends what it left running.
"""

import logging
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Final

import psutil

from storage.atomic import temporary_folder
from training.launch.signals import remembered_signals

MARK_VARIABLE: Final = "PDFGC_COMMAND"  # a random value per call, in the environment of all descendants
INDUCTOR_CACHE: Final = "TORCHINDUCTOR_CACHE_DIR"  # of compiled code, kept from run to run
LONGEST_FOLDER_BYTES: Final = 70  # multiprocessing adds /pymp-12345678/listener-12345678
LINES_KEPT: Final = 400
LINES_SHOWN: Final = 15
EXTRA_SECONDS: Final = 20.0  # beyond the grace period: a process inside a driver call can be slow to end
RANK: Final = re.compile(r"^\[(rank\d+)\]:\s?")  # torch's prefix to every line of a rank's traceback
TRACEBACK: Final = "Traceback (most recent call last):"
CHAINED: Final = ("During handling of the above", "The above exception was")
LAUNCHER_ERRORS: Final = ("torch.distributed.elastic",)

logger = logging.getLogger(__name__)


class CommandFailedError(RuntimeError):
    """A command ended with a non-zero exit code."""


@dataclass(frozen=True)
class Ending:
    """How a command is ended."""

    grace_seconds: float = 60.0  # between SIGTERM and SIGKILL: time for a step and a checkpoint


def run_command(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    ending: Ending | None = None,
    while_running: Callable[[], None] = lambda: None,
    interval_seconds: float = 1.0,
) -> None:
    """Run a command to its end; none of its processes is left when this returns or raises.

    Args:
        command: the program and its arguments. It writes to this process's output.
        environment: variables in addition to those of this process.
        ending: how it is ended.
        while_running: called every `interval_seconds` in this thread; an exception ends the command.
        interval_seconds: time between two calls.

    Raises:
        CommandFailedError: its exit code was not 0; the message starts with the exception of the first
            traceback on standard error that is not the launcher's own report.
    """
    with _own_temporary_folder() as variables:
        _run(
            command, {**variables, **(environment or {})}, ending or Ending(), while_running, interval_seconds
        )


@contextmanager
def _own_temporary_folder() -> Generator[Mapping[str, str]]:
    """Variables by which a command's processes put their temporary files into a folder that goes with them.

    What killed processes leave, such as multiprocessing's folders of sockets, would stay for ever. If this
    process is killed, the next command removes the folder. Compiled code and Ray's sessions stay where they
    were. A socket's path is at most 107 bytes long.
    """
    common = tempfile.gettempdir()
    compiled = str(Path(common) / f"torchinductor_{os.getuid()}")
    kept = {INDUCTOR_CACHE: compiled, "RAY_TMPDIR": common}
    kept = {name: os.environ.get(name) or default for name, default in kept.items()}
    with temporary_folder("run") as folder:
        has_room = len(os.fsencode(folder)) <= LONGEST_FOLDER_BYTES
        yield {"TMPDIR": str(folder), **kept} if has_room else {}


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    ending: Ending,
    while_running: Callable[[], None],
    interval_seconds: float,
) -> None:
    mark = secrets.token_hex(8)
    supervisor = subprocess.Popen(
        [
            *(sys.executable, "-m", "training.launch.supervisor"),
            *("--grace-seconds", str(ending.grace_seconds), "--", *command),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment, MARK_VARIABLE: mark},
        start_new_session=True,  # Ctrl-C in a terminal reaches the caller only, which then ends the rest
    )
    assert supervisor.stdin is not None
    assert supervisor.stderr is not None
    lines: deque[str] = deque(maxlen=LINES_KEPT)
    reading = Thread(target=_forward, args=(supervisor.stderr, lines), daemon=True)
    reading.start()
    try:
        with remembered_signals() as handle_again:
            while not _has_ended(supervisor, interval_seconds):
                handle_again()
                while_running()
    finally:
        supervisor.stdin.close()  # first: from now on it ends everything, whatever happens to this process
        _wait_for_supervisor(supervisor, mark, ending)
    reading.join(EXTRA_SECONDS)
    if supervisor.returncode != 0:
        raise CommandFailedError(failure(supervisor.returncode, list(lines)))


def _has_ended(supervisor: "subprocess.Popen[bytes]", within_seconds: float) -> bool:
    try:
        supervisor.wait(within_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def failure(exit_code: int, lines: Sequence[str]) -> str:
    """The error that ended the command, in one line; without a traceback, the last lines of standard error.

    All lines were forwarded to this process's standard error.
    """
    if (cause := first_error(lines)) is not None:
        return f"{cause} (exit code {exit_code})"
    last = "\n".join(f"  {line}" for line in list(lines)[-LINES_SHOWN:])
    return f"no traceback was printed (exit code {exit_code}). The last lines were:\n{last}"


def first_error(lines: Sequence[str]) -> str | None:
    """The exception line of the first traceback that is not the launcher's; None where there is none.

    Of a chain of exceptions the last, which ended the process.
    """
    exceptions: list[tuple[str, bool]] = []  # exception line, whether it continues the previous chain
    inside = chained = False
    for line in lines:
        match = RANK.match(line)
        text = line[match.end() :] if match else line
        if text.startswith(CHAINED):
            chained = True
        elif text == TRACEBACK:
            inside = True
        elif inside and text and not text.startswith((" ", "\t")):
            exceptions.append((f"{match.group(1)}: {text}" if match else text, chained))
            inside = chained = False
    first: str | None = None
    for text, continues in exceptions:
        if first is None or continues:
            first = None if text.startswith(LAUNCHER_ERRORS) else text
        else:
            break
    return first


def _forward(source: IO[bytes], lines: deque[str]) -> None:
    """Copy a command's standard error to this process's, and keep the last lines."""
    with source:
        for line in source:
            lines.append(line.decode(errors="replace").rstrip("\n"))
            os.write(2, line)


def _wait_for_supervisor(supervisor: "subprocess.Popen[bytes]", mark: str, ending: Ending) -> None:
    try:
        supervisor.wait(ending.grace_seconds + EXTRA_SECONDS)
    except subprocess.TimeoutExpired:
        logger.warning(
            "Processes of a command are slow to end; supervisor %s is still waiting for them", supervisor.pid
        )
        return
    if supervisor.returncode < 0:  # it was killed and could not clean up
        _kill_marked(mark)


def _kill_marked(mark: str) -> None:
    give_up_at = time.monotonic() + EXTRA_SECONDS
    while marked := [process for process in psutil.process_iter() if _is_marked(process, mark)]:
        for process in marked:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if time.monotonic() > give_up_at:
            logger.warning("These processes do not end: %s", [process.pid for process in marked])
            return
        time.sleep(0.05)


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK_VARIABLE) == mark
    except (psutil.AccessDenied, psutil.NoSuchProcess):  # includes zombies
        return False
