"""The processes of a training job: one, or those that a launcher of `training.launch` or torchrun started."""

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
from training.launch.local_ranks import RENDEZVOUS_VARIABLE


@dataclass(frozen=True)
class DistributedContext:
    """This process's rank and device."""

    world: World
    device: torch.device
    local_rank: int = 0  # on this node

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes and reports."""
        return self.world.rank == 0

    @property
    def is_first_on_node(self) -> bool:
        """Whether this is the process that prepares local files for the others of its node."""
        return self.local_rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module in DDP, where there is more than one process."""
        if self.world.ranks == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks in order, on rank 0; an empty list elsewhere."""
        if self.world.ranks == 1:
            return [value]
        gathered: list[Any] | None = [None] * self.world.ranks if self.is_first else None
        dist.gather_object(value, gathered)
        return gathered or []

    def largest(self, value: int) -> int:
        """The largest value of all ranks, on every rank."""
        if self.world.ranks == 1:
            return value
        values = torch.tensor([value], device=self.device)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return int(values.item())

    def barrier(self) -> None:
        """Wait until every rank has reached this call."""
        if self.world.ranks > 1:
            dist.barrier()


@contextmanager
def join(device: str) -> Generator[DistributedContext]:
    """Join the process group that the environment describes; leave it on exit.

    The launchers of `training.launch` name a file for the rendezvous; torchrun a port.

    Args:
        device: "cpu", "cuda" (the GPU of this process's LOCAL_RANK) or "auto".

    Raises:
        ValueError: a GPU is asked for and this machine has none, or fewer than processes.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = choose_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if ranks == 1:
        yield DistributedContext(World(), chosen)
        return
    dist.init_process_group(
        "nccl" if chosen.type == "cuda" else "gloo",
        init_method=os.environ.get(RENDEZVOUS_VARIABLE, "env://"),
        rank=int(os.environ["RANK"]),
        world_size=ranks,
    )
    try:
        yield DistributedContext(World(dist.get_rank(), ranks), chosen, local_rank)
    finally:
        dist.destroy_process_group()


def choose_device(device: str, local_rank: int = 0) -> torch.device:
    """The device of a process.

    Raises:
        ValueError: there is no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not gpus):
        return torch.device("cpu")
    if local_rank >= gpus:
        raise ValueError(
            f"device {device!r}: local rank {local_rank} needs its own GPU, but this machine has {gpus}; "
            "start fewer processes, or set device cpu"
        )
    return torch.device("cuda", local_rank)
