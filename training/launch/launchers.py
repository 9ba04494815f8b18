"""How a deployment starts training processes: on this machine, by Slurm or by Ray Train. Imports no torch."""

import secrets
import sys
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, model_validator

from storage.settings import Settings
from training.launch.local_ranks import local_ranks_command

RENDEZVOUS_PREFIX: Final = ".rendezvous-"  # names that start with a dot are not published


class LaunchSettings(Settings):
    """Where training processes run. Weights do not depend on it, only on their number."""

    launcher: Literal["local", "slurm", "ray"] = Field(
        default="local",
        description="local: on the machine of the run. slurm: srun within the run's Slurm allocation. ray: "
        "Ray Train on the run's Ray cluster. The last two need PDFGC_SCRATCH (or a root in a folder) on a "
        "file system that all nodes share",
    )
    nodes: int = Field(
        default=1, ge=1, le=4096, description="Nodes, each with the processes of `training.processes`"
    )
    interface: str = Field(
        default="",
        pattern=r"^[\w.:-]*$",
        description="Network interface of the private network that processes on several nodes talk over, "
        "such as eth1: whoever reaches it can disturb or read the training. Needed if nodes > 1",
    )
    restarts: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="ray: restarts from the last checkpoint after a process or node is lost",
    )
    cpus_per_process: int = Field(default=2, ge=1, le=256, description="ray: cores reserved for each process")
    gpus_per_process: int = Field(
        default=0, ge=0, le=1, description="ray: GPUs reserved for each process; 0: trains on the CPU"
    )

    @model_validator(mode="after")
    def _check_nodes(self) -> "LaunchSettings":
        if self.launcher == "local" and self.nodes != 1:
            raise ValueError(f"nodes must be 1 with launcher local, got {self.nodes}; choose slurm or ray")
        if self.nodes > 1 and not self.interface:
            raise ValueError(f"interface must name a network interface for {self.nodes} nodes, got ''")
        return self


def launch_command(settings: LaunchSettings, processes: int, module: str, job: Path) -> list[str]:
    """The command that runs a module with a job file in `processes` processes on each node.

    Args:
        settings: of this deployment.
        processes: on each node.
        module: run by each process as ``python -m module job``.
        job: its argument, in the job's work folder.
    """
    if settings.launcher == "local":
        return local_ranks_command(processes, module, str(job))
    interface = settings.interface or "lo"
    if settings.launcher == "slurm":
        rendezvous = job.parent / f"{RENDEZVOUS_PREFIX}{secrets.token_hex(8)}"
        return [
            *("srun", f"--nodes={settings.nodes}", f"--ntasks={settings.nodes}", "--ntasks-per-node=1"),
            # A failed node ends the others; SIGTERM is passed on.
            *("--kill-on-bad-exit=1", "--export=ALL"),
            *(sys.executable, "-m", "training.launch.node_ranks"),
            *("--processes", str(processes), "--interface", interface, "--rendezvous", str(rendezvous)),
            *(module, str(job)),
        ]
    return [
        *(sys.executable, "-m", "training.launch.ray_ranks"),
        *("--workers", str(settings.nodes * processes), "--nodes", str(settings.nodes)),
        *("--gpus-per-worker", str(settings.gpus_per_process)),
        *("--cpus-per-worker", str(settings.cpus_per_process), "--restarts", str(settings.restarts)),
        *("--interface", interface, module, str(job)),
    ]
