"""Start a command so that nothing of it survives its caller. Imports no torch and no Dagster.

How it ends, in each case: the caller is interrupted, fails or is killed: the pipe to the supervisor
closes, the supervisor ends all below it. The supervisor is killed: the kernel kills its child, and the
workers that called `training.launch.orphans.die_with_parent`; the caller ends what is left, known by a mark
in its environment. The command ends by itself: the supervisor ends what it left behind.
"""

import logging
import os
import re
import secrets
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import IO, Final

import psutil

from training.launch.orphans import die_with_parent
from training.launch.signals import remembered_signals

__all__ = ["CommandFailedError", "Ending", "die_with_parent", "failure", "first_error", "run_command"]

MARK_VARIABLE: Final = "PDFGC_COMMAND"  # a random name of this one call, in the environment of all below
LINES_KEPT: Final = 400
LINES_SHOWN: Final = 15
PATIENCE_SECONDS: Final = 20.0  # beyond the grace: a process inside a driver call can be slow to go
RANK: Final = re.compile(r"^\[(rank\d+)\]:\s?")  # torch puts it before every line of a rank's traceback
TRACEBACK: Final = "Traceback (most recent call last):"
CHAINED: Final = ("During handling of the above", "The above exception was")
LAUNCHERS_OWN: Final = ("torch.distributed.elastic",)

logger = logging.getLogger(__name__)


class CommandFailedError(RuntimeError):
    """A command ended with another exit code than 0."""


@dataclass(frozen=True)
class Ending:
    """How a command is ended."""

    grace_seconds: float = 10.0  # between SIGTERM and SIGKILL


def run_command(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    ending: Ending | None = None,
    while_running: Callable[[], None] = lambda: None,
    look_seconds: float = 1.0,
) -> None:
    """Run a command to its end; nothing of it is left when this returns or raises.

    Args:
        command: the program and its arguments. Its output goes where this process's goes.
        environment: variables beside those of this process.
        ending: how it is ended.
        while_running: called every `look_seconds` in this thread. What it raises ends the command.
        look_seconds: time between two calls of it.

    Raises:
        CommandFailedError: its exit code was not 0; the first line says why, as far as the standard
            error tells: the first traceback of a process that is not the launcher's own report.
    """
    ending = ending or Ending()
    mark = secrets.token_hex(8)
    supervisor = subprocess.Popen(
        [
            *(sys.executable, "-m", "training.launch.supervisor"),
            *("--grace-seconds", str(ending.grace_seconds), "--", *command),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {}), MARK_VARIABLE: mark},
        start_new_session=True,  # a terminal's Ctrl-C is for the caller, who then ends the rest in order
    )
    assert supervisor.stdin is not None
    assert supervisor.stderr is not None
    lines: deque[str] = deque(maxlen=LINES_KEPT)
    reading = Thread(target=_pass_on, args=(supervisor.stderr, lines), daemon=True)
    reading.start()
    try:
        with remembered_signals() as handle_again:
            while not _has_ended(supervisor, look_seconds):
                handle_again()
                while_running()
    finally:
        supervisor.stdin.close()  # first: from here on it ends everything, whatever becomes of this process
        _wait_for_the_end(supervisor, mark, ending)
    reading.join(PATIENCE_SECONDS)
    if supervisor.returncode != 0:
        raise CommandFailedError(failure(supervisor.returncode, list(lines)))


def _has_ended(supervisor: "subprocess.Popen[bytes]", within_seconds: float) -> bool:
    try:
        supervisor.wait(within_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def failure(exit_code: int, lines: Sequence[str]) -> str:
    """The error that ended it, in one line; the last lines of the standard error only where it told none.

    All of them were passed on to this process's own.
    """
    if (cause := first_error(lines)) is not None:
        return f"{cause} (exit code {exit_code})"
    last = "\n".join(f"  {line}" for line in list(lines)[-LINES_SHOWN:])
    return f"no error was printed (exit code {exit_code}). Its last lines:\n{last}"


def first_error(lines: Sequence[str]) -> str | None:
    """The exception line of the first traceback that is no launcher's own; None where there is none.

    Of a chain of exceptions it is the last, which is the one that ended the process.
    """
    found: list[tuple[str, bool]] = []  # exception line, whether it ends the chain of the one before
    inside = chained = False
    for line in lines:
        match = RANK.match(line)
        text = line[match.end() :] if match else line
        if text.startswith(CHAINED):
            chained = True
        elif text == TRACEBACK:
            inside = True
        elif inside and text and not text.startswith((" ", "\t")):
            found.append((f"{match.group(1)}: {text}" if match else text, chained))
            inside = chained = False
    first: str | None = None
    for text, continues in found:
        if first is None or continues:
            first = None if text.startswith(LAUNCHERS_OWN) else text
        else:
            break
    return first


def _pass_on(source: IO[bytes], lines: deque[str]) -> None:
    """Copy a command's standard error to this process's and keep its last lines."""
    with source:
        for line in source:
            lines.append(line.decode(errors="replace").rstrip("\n"))
            os.write(2, line)


def _wait_for_the_end(supervisor: "subprocess.Popen[bytes]", mark: str, ending: Ending) -> None:
    try:
        supervisor.wait(ending.grace_seconds + PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        logger.warning("processes of a command are slow to end; the supervisor %s goes on", supervisor.pid)
        return
    if supervisor.returncode < 0:  # it was killed and could not clear up
        _kill_marked(mark)


def _kill_marked(mark: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while marked := [process for process in psutil.process_iter() if _is_marked(process, mark)]:
        for process in marked:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if time.monotonic() > give_up_at:
            logger.warning("these processes do not end: %s", [process.pid for process in marked])
            return
        time.sleep(0.05)


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK_VARIABLE) == mark
    except (psutil.AccessDenied, psutil.NoSuchProcess):  # a zombie counts as no such process
        return False
