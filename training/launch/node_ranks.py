"""Starts one node's processes of a job on several nodes: ``python -m training.launch.node_ranks …``.

    python -m training.launch.node_ranks --nodes 2 --node 0 --processes 4 --interface eth1 \
        --rendezvous /shared/job/.rendezvous-1f3a MODULE ARGUMENT…

Run it once on every node, with the same rendezvous: a new file on a file system that all nodes share and only
this user can read. No store listens on a port; gloo and NCCL talk over one named interface. Under Slurm's
srun, node and number of nodes come from its variables.

Linux only. Imports no torch.
"""

import argparse
import os
import sys
from pathlib import Path

from training.launch.local_ranks import exit_on_sigterm, rank_environment, run_until_ended


def node_environments(
    node: int, nodes: int, processes: int, rendezvous: Path, interface: str
) -> list[dict[str, str]]:
    """Variables of each process of a node. Ranks count through the nodes in order."""
    return [
        rank_environment(
            node * processes + local_rank,
            nodes * processes,
            rendezvous,
            local_rank=local_rank,
            interface=interface,
        )
        for local_rank in range(processes)
    ]


def main() -> int:
    """Read the command line and run this node's processes."""
    parser = argparse.ArgumentParser(prog="python -m training.launch.node_ranks", description=__doc__)
    parser.add_argument("--nodes", type=int, default=os.environ.get("SLURM_NNODES"))
    parser.add_argument("--node", type=int, default=os.environ.get("SLURM_NODEID"))
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--interface", required=True)
    parser.add_argument("--rendezvous", type=Path, required=True)
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.nodes is None or given.node is None:
        parser.error("give --nodes and --node, or start this with srun")
    if given.nodes < 1 or given.processes < 1 or not 0 <= given.node < given.nodes:
        parser.error(
            f"nodes and processes must be >= 1 and node in [0, nodes), got nodes {given.nodes}, node "
            f"{given.node}, processes {given.processes}"
        )
    if not given.rendezvous.is_absolute() or not given.rendezvous.parent.is_dir():
        parser.error(
            f"--rendezvous {given.rendezvous}: its folder is not on this node; PDFGC_SCRATCH must be on a "
            "file system that all nodes share"
        )
    exit_on_sigterm()
    environments = node_environments(
        given.node, given.nodes, given.processes, given.rendezvous, given.interface
    )
    return run_until_ended([sys.executable, "-m", given.module, *given.arguments], environments)


if __name__ == "__main__":
    sys.exit(main())
