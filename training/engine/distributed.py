"""The processes of a job: one is a world of one, more were started by torchrun."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from training.data.sampling import World


@dataclass(frozen=True)
class Process:
    """This process among the job's."""

    world: World
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and reports."""
        return self.world.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """DDP around a module where there is more than one process."""
        if self.world.ranks == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes in the order of ranks, on rank 0; an empty list elsewhere."""
        if self.world.ranks == 1:
            return [value]
        gathered: list[Any] | None = [None] * self.world.ranks if self.is_first else None
        dist.gather_object(value, gathered)
        return gathered or []

    def wait_for_all(self) -> None:
        """Go on when all processes have come here."""
        if self.world.ranks > 1:
            dist.barrier()


@contextmanager
def join(device: str) -> Generator[Process]:
    """Join the job that torchrun's variables tell of, and leave it at the end.

    Args:
        device: "cpu", "cuda" (this process' card by LOCAL_RANK) or "auto".

    Raises:
        ValueError: a GPU is asked for and there is none, or fewer than processes on this machine.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if ranks == 1:
        yield Process(World(), chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Process(World(dist.get_rank(), ranks), chosen)
    finally:
        dist.destroy_process_group()


def choose_device(device: str, local_rank: int = 0) -> torch.device:
    """The device of a process.

    Raises:
        ValueError: there is no such device.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not cards):
        return torch.device("cpu")
    if local_rank >= cards:
        raise ValueError(
            f"device {device!r}: process {local_rank} of this machine needs a GPU of its own, {cards} are "
            "there; choose fewer processes, or device cpu"
        )
    return torch.device("cuda", local_rank)
