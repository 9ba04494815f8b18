"""Processes of a job on several nodes: their ranks, and weights equal to those of one machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from upath import UPath

from storage.fingerprint import file_sha256
from tests.factories.training.toy_run import CONFIG
from training.engine.checkpoint import WEIGHTS_NAME
from training.jobs.job import TrainingJob
from training.launch.launchers import LaunchSettings, launch_command
from training.launch.local_ranks import local_ranks_command
from training.launch.node_ranks import node_environments
from training.launch.process_group import run_command

WORKER = "tests.factories.training.toy_worker"


def test_node_environments_count_ranks_through_nodes(tmp_path: Path) -> None:
    first, second = node_environments(1, 3, 2, tmp_path / "meeting", "eth1")
    assert (first["RANK"], first["LOCAL_RANK"], first["WORLD_SIZE"]) == ("2", "0", "6")
    assert (second["RANK"], second["LOCAL_RANK"], second["WORLD_SIZE"]) == ("3", "1", "6")
    assert first["GLOO_SOCKET_IFNAME"] == first["NCCL_SOCKET_IFNAME"] == "eth1"
    assert first["PDFGC_RENDEZVOUS"] == f"file://{tmp_path}/meeting"


def test_slurm_command_starts_one_task_a_node(tmp_path: Path) -> None:
    settings = LaunchSettings(launcher="slurm", nodes=3, interface="ib0")
    command = launch_command(settings, 4, WORKER, tmp_path / "job.json")
    assert command[0] == "srun"
    assert {"--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--kill-on-bad-exit=1"} <= set(command)
    assert command[command.index("--processes") + 1] == "4"
    assert Path(command[command.index("--rendezvous") + 1]).parent == tmp_path
    assert command[-2:] == [WORKER, str(tmp_path / "job.json")]


def test_launch_settings_refuse_nodes_without_interface() -> None:
    with pytest.raises(ValueError, match="interface must name a network interface for 2 nodes"):
        LaunchSettings(launcher="ray", nodes=2)
    with pytest.raises(ValueError, match="nodes must be 1 with launcher local, got 2"):
        LaunchSettings(nodes=2, interface="eth1")


def test_node_ranks_refuses_a_folder_that_is_not_shared() -> None:
    options = ["--nodes=2", "--node=0", "--processes=1", "--interface=lo", "--rendezvous=/absent/file"]
    command = [sys.executable, "-m", "training.launch.node_ranks", *options, "os"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "PDFGC_SCRATCH must be on a file system that all nodes share" in result.stderr


@pytest.mark.slow
def test_two_slurm_nodes_train_the_weights_of_one_machine(
    tmp_path: Path, toy_root: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_srun(tmp_path / "bin", monkeypatch)
    jobs = {name: make_job(tmp_path / name, toy_root) for name in ("local", "nodes")}
    settings = LaunchSettings(launcher="slurm", nodes=2, interface="lo")
    run_command(local_ranks_command(2, WORKER, str(jobs["local"])))
    run_command(launch_command(settings, 1, WORKER, jobs["nodes"]))
    local_weights, node_weights = (file_sha256(job.parent / WEIGHTS_NAME) for job in jobs.values())
    assert local_weights == node_weights


def install_srun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Slurm's srun, which cannot run here: starts one task for each node, on this machine."""
    folder.mkdir()
    srun = folder / "srun"
    srun.write_text(
        "#!/bin/bash\nset -e\n"
        'while [[ $1 == --* ]]; do [[ $1 == --nodes=* ]] && nodes="${1#--nodes=}"; shift; done\n'
        'for ((node = 0; node < nodes; node++)); do SLURM_NODEID=$node SLURM_NNODES=$nodes "$@" & done\n'
        'for job in $(jobs -p); do wait "$job"; done\n'
    )
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def make_job(folder: Path, root: UPath) -> Path:
    folder.mkdir()
    config = CONFIG.replace(steps=3, processes=2, workers=0)
    job = folder / "job.json"
    TrainingJob(root=str(root), stage="stage2_pose", config=config, work=folder).write(job)
    return job
