"""What the Linux kernel does with the processes that an ended one leaves behind."""

import ctypes
import os
import signal
from typing import Final

from storage.atomic import is_alive

SUPERVISOR_VARIABLE: Final = "PDFGC_SUPERVISOR"  # process number of the supervisor, for all below it
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends; only below a supervisor, else do nothing.

    For processes that do not stand directly under the supervisor (the workers of torchrun): they go
    with the agent even if the supervisor itself was killed. Ends at once where that has happened.
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if not is_alive(int(supervisor)):  # it went before the line above could take effect
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends (a "child subreaper")."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.environ[SUPERVISOR_VARIABLE] = str(os.getpid())


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")
