"""`pdfgc dev` as a process."""

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.conftest import REPOSITORY
from tests.factories.pipelines.postgres_server import free_port

PDFGC = Path(sys.executable).with_name("pdfgc")


@contextmanager
def dev_server(folder: Path) -> Generator[str]:
    """`pdfgc dev` in a session of its own, ended with all its children; yields the URL of the UI.

    The server may not respond yet. Its log is `dev.log` in `folder`.
    """
    port = free_port()
    command = [PDFGC, "dev", "--port", str(port)]
    with (folder / "dev.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY, start_new_session=True)
        below = psutil.Process(process.pid)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            children = below.children(recursive=True)
            process.send_signal(signal.SIGINT)
            psutil.wait_procs([below, *children], timeout=30)
            for child in [below, *children]:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            process.wait()
