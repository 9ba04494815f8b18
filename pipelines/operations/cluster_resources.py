"""What a run takes of a Ray cluster (`deploy/dagster.ray.yaml`) or of Kubernetes (`deploy/helm-values.yaml`).

The run launchers of dagster-ray and dagster-k8s read the resources of a run from a tag. Without a cluster no
job carries one.
"""

import json
import os
from typing import Any, Final

from pydantic import Field

from preprocessing.process_pool import WORKERS_VARIABLE
from storage.settings import Settings

RAY_VARIABLE: Final = "PDFGC_RAY_ADDRESS"
RAY_TAG: Final = "dagster-ray/config"
KUBERNETES_VARIABLE: Final = "PDFGC_KUBERNETES"  # set by the Helm values; any value
KUBERNETES_TAG: Final = "dagster-k8s/config"
GPU_RESOURCE: Final = "nvidia.com/gpu"
GIB: Final = 2**30


class ClusterResources(Settings):
    """Resources that the cluster reserves for a run. A run waits until one node has them all free."""

    batch_cpus: int = Field(default=2, ge=1, description="CPU cores of a batch's run, each with a worker")
    batch_memory_gib: float = Field(
        default=0.0, ge=0.0, le=4096.0, description="Memory of a batch's run in GiB; 0: not reserved"
    )
    batch_gpus: float = Field(
        default=0.0,
        ge=0.0,
        le=16.0,
        description="GPUs of a batch's run, for network labellers; Ray also takes a fraction",
    )
    training_cpus: int = Field(default=2, ge=1, description="CPU cores of a training or evaluation run")
    training_gpus: float = Field(
        default=0.0, ge=0.0, le=64.0, description="GPUs of a training or evaluation run; 0: trains on the CPU"
    )

    def batch_tags(self) -> dict[str, str]:
        """Tags of the job that preprocesses a batch; none without a cluster."""
        return _tags(self.batch_cpus, self.batch_memory_gib, self.batch_gpus)

    def training_tags(self) -> dict[str, str]:
        """Tags of the jobs that train and evaluate; none without a cluster."""
        return _tags(self.training_cpus, 0.0, self.training_gpus)


def _tags(cpus: int, memory_gib: float, gpus: float) -> dict[str, str]:
    if os.environ.get(RAY_VARIABLE):
        return {RAY_TAG: json.dumps(_ray(cpus, memory_gib, gpus))}
    if os.environ.get(KUBERNETES_VARIABLE):
        return {KUBERNETES_TAG: json.dumps(_kubernetes(cpus, memory_gib, gpus))}
    return {}


def _ray(cpus: int, memory_gib: float, gpus: float) -> dict[str, Any]:
    resources: dict[str, Any] = {"num_cpus": cpus, "env_vars": [f"{WORKERS_VARIABLE}={cpus}"]}
    if memory_gib:
        resources["memory"] = int(memory_gib * GIB)
    if gpus:
        resources["num_gpus"] = gpus
    return resources


def _kubernetes(cpus: int, memory_gib: float, gpus: float) -> dict[str, Any]:
    """The container of a run's pod. Whole GPUs alone; Kubernetes gives out no fractions."""
    if gpus % 1:
        raise ValueError(f"Kubernetes reserves whole GPUs, got {gpus:g}: change PDFGC__CLUSTER__*_GPUS")
    requests: dict[str, str] = {"cpu": str(cpus)}
    if memory_gib:
        requests["memory"] = f"{memory_gib:g}Gi"
    resources: dict[str, Any] = {"requests": requests}
    limits = {name: value for name, value in requests.items() if name == "memory"}
    if gpus:
        limits[GPU_RESOURCE] = str(int(gpus))
    if limits:
        resources["limits"] = limits
    environment = [{"name": WORKERS_VARIABLE, "value": str(cpus)}]
    return {"container_config": {"resources": resources, "env": environment}}
