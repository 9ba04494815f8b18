"""A Ray cluster of several nodes on this machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.factories.pipelines.postgres_server import free_port

RAY: Final = str(Path(sys.executable).with_name("ray"))
STORE_BYTES: Final = 80_000_000


@dataclass(frozen=True)
class RayCluster:
    """A head without cores; `nodes` are the processes of the other nodes' raylets."""

    address: str
    nodes: tuple[psutil.Process, ...]

    @property
    def variables(self) -> dict[str, str]:
        """For programs that connect to it."""
        return {"RAY_ADDRESS": self.address}

    def kill_node(self, number: int) -> None:
        """Kill everything that runs on a node, as a power cut does."""
        node = self.nodes[number]
        for process in [node, *node.children(recursive=True)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


@contextmanager
def ray_cluster(nodes: int, cpus: int = 2, jobs_port: int | None = None) -> Generator[RayCluster]:
    """Start a cluster that listens on the loopback interface; end all its processes afterwards.

    Args:
        nodes: beside the head.
        cpus: of each.
        jobs_port: where jobs are submitted; None: nowhere.
    """
    port = free_port()
    jobs = "--include-dashboard=false" if jobs_port is None else f"--dashboard-port={jobs_port}"
    # Ray's sockets have paths of up to 107 characters, which pytest's folders exceed.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        own = [f"--port={port}", f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}"]
        try:
            _start(["--head", "--num-cpus=0", jobs, *own])
            raylets = _raylets(folder)
            for _ in range(nodes):
                _start([f"--address=127.0.0.1:{port}", f"--num-cpus={cpus}"])
                raylets += [raylet for raylet in _raylets(folder) if raylet not in raylets]
            yield RayCluster(f"127.0.0.1:{port}", tuple(raylets[1:]))
        finally:
            _end(folder)


def _start(options: list[str]) -> None:
    command = [
        *(RAY, "start", *options, "--node-ip-address=127.0.0.1", "--disable-usage-stats"),
        "--dashboard-agent-listen-port=0",  # not the one port of all nodes and clusters
        f"--object-store-memory={STORE_BYTES}",
    ]
    # As in the units: jobs start with `dagster`.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr + result.stdout


def _raylets(folder: str) -> list[psutil.Process]:
    return [process for process in _processes(folder) if process.name() == "raylet"]


def _processes(folder: str) -> list[psutil.Process]:
    """Those with the cluster's folder in their command line; other clusters may run at the same time."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if folder in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _end(folder: str) -> None:
    """Kill the processes of a cluster, and the workers of its raylets."""
    ours: list[psutil.Process] = []
    for process in _processes(folder):
        try:
            ours += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    for process in ours:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(ours, timeout=30)
