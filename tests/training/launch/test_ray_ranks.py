"""Training by Ray Train on a cluster of two nodes: one of them is killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from upath import UPath

from tests.factories.training.ray_cluster import RayCluster, ray_cluster
from tests.factories.training.toy_run import CONFIG, STEPS
from training.engine.checkpoint import newest_checkpoint, read_checkpoint
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER
from training.engine.progress import METRICS_NAME, read_metrics
from training.jobs.job import TrainingJob
from training.launch.launchers import LaunchSettings, launch_command

pytestmark = pytest.mark.slow
WORKER = "tests.factories.training.toy_worker"
SETTINGS = LaunchSettings(launcher="ray", nodes=2, interface="lo", restarts=2, cpus_per_process=1)
TIMEOUT_SECONDS = 300.0
TORN_DOWN_SECONDS = 60.0


def test_killed_node_resumes_on_the_other(tmp_path: Path, toy_root: UPath) -> None:
    job = tmp_path / "job.json"
    config = CONFIG.replace(steps=30 * STEPS, processes=2, workers=0)
    TrainingJob(root=str(toy_root), stage="stage2_pose", config=config, work=tmp_path).write(job)
    with ray_cluster(2) as cluster:
        command = launch_command(SETTINGS, 1, WORKER, job)
        training = subprocess.Popen(command, env=os.environ | cluster.variables | {"OMP_NUM_THREADS": "1"})
        wait_for(lambda: newest_checkpoint(tmp_path / CHECKPOINTS_FOLDER) is not None, training)
        ranks = rank_processes(cluster)
        assert [len(found) for found in ranks.values()] == [1, 1]  # one on each node
        cluster.nodes[1].kill()
        assert training.wait(TIMEOUT_SECONDS) == 0
    newest = newest_checkpoint(tmp_path / CHECKPOINTS_FOLDER)
    assert newest is not None
    facts = read_checkpoint(newest).facts
    assert (facts.step, facts.ranks) == (30 * STEPS, 2)
    steps = [record["step"] for record in read_metrics(tmp_path / METRICS_NAME)]
    assert steps == sorted(set(steps))
    assert not any(psutil.pid_exists(rank) for found in ranks.values() for rank in found)
    assert not list(tmp_path.glob(".stop-*"))


def wait_for(condition: "object", training: "subprocess.Popen[bytes]") -> None:
    assert callable(condition)
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
