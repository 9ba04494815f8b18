"""The files of `deploy/` for Kubernetes and Slurm: what reads them takes them, and all they name is there."""

import os
import re
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from dagster._config import process_config
from dagster_k8s.job import UserDefinedDagsterK8sConfig
from dagster_k8s.launcher import K8sRunLauncher

from pipelines.logs import PACKAGES
from pipelines.operations.cluster_resources import KUBERNETES_VARIABLE
from tests.conftest import REPOSITORY

DEPLOY: Final = REPOSITORY / "deploy"
SBATCH: Final = DEPLOY / "slurm-train.sbatch"
CHART_NAMES: Final = {  # keys of the chart's `runK8sConfig` and of the package's configuration
    "containerConfig": "container_config",
    "podSpecConfig": "pod_spec_config",
    "podTemplateSpecMetadata": "pod_template_spec_metadata",
    "jobSpecConfig": "job_spec_config",
    "jobMetadata": "job_metadata",
}


def helm_values() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "helm-values.yaml").read_text())


def test_helm_run_settings_are_read_by_dagster_k8s() -> None:
    values = helm_values()["runLauncher"]
    assert values["type"] == K8sRunLauncher.__name__
    given = values["config"]["k8sRunLauncher"]
    run_config = {CHART_NAMES[name]: part for name, part in given["runK8sConfig"].items()}
    config = {
        "run_k8s_config": run_config,
        "image_pull_policy": given["imagePullPolicy"],
        "load_incluster_config": given["loadInclusterConfig"],
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "dagster_home": "/opt/dagster/dagster_home",
    }
    checked = process_config(K8sRunLauncher.config_type(), config)
    assert checked.success, checked.errors
    pod = UserDefinedDagsterK8sConfig.from_dict(run_config).pod_spec_config
    assert pod == {"termination_grace_period_seconds": 120, "restart_policy": "Never"}


def test_helm_runs_get_the_code_servers_environment() -> None:
    (deployment,) = helm_values()["dagster-user-deployments"]["deployments"]
    assert {"name": KUBERNETES_VARIABLE, "value": "1"} in deployment["env"]
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}
    (mount,), (volume,) = deployment["volumeMounts"], deployment["volumes"]
    assert mount["name"] == volume["name"]
    assert {"name": "PDFGC_SCRATCH", "value": mount["mountPath"]} in deployment["env"]
    assert find_spec(deployment["codeServerArgs"][1]) is not None
    assert tuple(helm_values()["pythonLogs"]["managedPythonLoggers"]) == PACKAGES


def test_helm_webserver_runs_ours() -> None:
    image = (DEPLOY / "Dockerfile").read_text()
    assert "ENV PATH=/opt/pdfgc/deploy/bin:" in image
    wrapper = DEPLOY / "bin" / "dagster-webserver"
    assert os.access(wrapper, os.X_OK)
    module = re.search(r"-m (\S+)", wrapper.read_text())
    assert module is not None
    assert find_spec(module[1]) is not None
    probe = helm_values()["dagsterWebserver"]["readinessProbe"]["httpGet"]
    assert {"name": "Host", "value": "localhost"} in probe["httpHeaders"]


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The variables of an allocation, and a program in place of `pdfgc` that shows what it was given."""
    program = tmp_path / "pdfgc"
    program.write_text(
        "#!/bin/bash\n"
        f"trap 'echo stopped > {tmp_path}/stopped; exit 143' TERM\n"
        f'{{ echo "$@"; env | grep ^PDFGC__ | sort; }} > {tmp_path}/part\n'
        f"mv {tmp_path}/part {tmp_path}/seen\n"
        "[[ $4 == long ]] && for ((i = 0; i < 600; i++)); do sleep 0.1; done\n"
        "exit 0\n"
    )
    program.chmod(0o755)
    allocation = {"SLURM_NNODES": "4", "SLURM_GPUS_ON_NODE": "8", "PDFGC__LAUNCH__INTERFACE": "ib0"}
    return {**os.environ, **allocation, "PDFGC": str(program)}


def test_sbatch_trains_on_every_node(tmp_path: Path, slurm: dict[str, str]) -> None:
    subprocess.run([SBATCH, "night", "--preset", "paper"], env=slurm, check=True)
    command, *variables = (tmp_path / "seen").read_text().splitlines()
    assert command == "train all --run night --preset paper"
    assert variables == [
        "PDFGC__LAUNCH__INTERFACE=ib0",
        "PDFGC__LAUNCH__LAUNCHER=slurm",
        "PDFGC__LAUNCH__NODES=4",
        "PDFGC__TRAINING__PROCESSES=8",
    ]


def test_sbatch_needs_a_network_interface(slurm: dict[str, str]) -> None:
    del slurm["PDFGC__LAUNCH__INTERFACE"]
    result = subprocess.run([SBATCH, "night"], env=slurm, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "set it to the network interface that the nodes share" in result.stderr


def test_sbatch_passes_sigterm_on_and_waits(tmp_path: Path, slurm: dict[str, str]) -> None:
    with subprocess.Popen([SBATCH, "long"], env=slurm) as process:
        while not (tmp_path / "seen").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    assert (tmp_path / "stopped").exists()
