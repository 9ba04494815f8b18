"""Training by Ray Train on a cluster of two nodes: one of them is killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from upath import UPath

from storage.fingerprint import file_sha256
from tests.factories.training.ray_cluster import RayCluster, ray_cluster
from tests.factories.training.toy_run import CONFIG, STEPS
from training.engine.checkpoint import WEIGHTS_NAME, newest_checkpoint
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER
from training.engine.progress import read_losses
from training.jobs.job import TrainingJob
from training.launch.launchers import LaunchSettings, launch_command
from training.launch.local_ranks import local_ranks_command
from training.launch.process_group import run_command

pytestmark = pytest.mark.slow
WORKER = "tests.factories.training.toy_worker"
SETTINGS = LaunchSettings(launcher="ray", nodes=2, interface="lo", restarts=2, cpus_per_process=1)
TIMEOUT_SECONDS = 300.0
LAST_STEP = 30 * STEPS


def test_killed_node_resumes_on_the_other(tmp_path: Path, toy_root: UPath) -> None:
    job, uninterrupted = (make_job(tmp_path / name, toy_root) for name in ("ray", "local"))
    checkpoints = job.parent / CHECKPOINTS_FOLDER
    with ray_cluster(2) as cluster:
        command = launch_command(SETTINGS, 1, WORKER, job)
        training = subprocess.Popen(command, env=os.environ | cluster.variables | {"OMP_NUM_THREADS": "1"})
        wait_for(lambda: newest_checkpoint(checkpoints) is not None, training)
        ranks = rank_processes(cluster)
        assert [len(found) for found in ranks.values()] == [1, 1]  # one on each node
        cluster.kill_node(1)
        assert training.wait(TIMEOUT_SECONDS) == 0
    assert not any(psutil.pid_exists(rank) for found in ranks.values() for rank in found)
    assert not list(job.parent.glob(".stop-*"))
    steps = [record.step for record in read_losses(job.parent)]
    assert steps == list(range(1, LAST_STEP + 1))
    run_command(local_ranks_command(2, WORKER, str(uninterrupted)), environment={"OMP_NUM_THREADS": "1"})
    resumed, expected = (file_sha256(each.parent / WEIGHTS_NAME) for each in (job, uninterrupted))
    assert resumed == expected


def make_job(folder: Path, root: UPath) -> Path:
    folder.mkdir()
    config = CONFIG.replace(steps=LAST_STEP, processes=2, workers=0)
    job = folder / "job.json"
    TrainingJob(root=str(root), stage="stage2_pose", config=config, work=folder).write(job)
    return job


def wait_for(condition: Callable[[], bool], training: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert training.poll() is None, "training ended early"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def rank_processes(cluster: RayCluster) -> dict[int, list[int]]:
    """Process ids of the training processes below each raylet."""
    return {
        raylet.pid: [
            child.pid
            for child in raylet.children(recursive=True)
            if WORKER in child.cmdline() and sys.executable in child.cmdline()
        ]
        for raylet in cluster.nodes
    }
