"""What a run takes of a Ray cluster, if the instance launches runs there (`deploy/dagster.ray.yaml`).

dagster-ray reads the resources of a run from one tag. Without Ray no job carries it.
"""

import json
import os
from typing import Any, Final

from pydantic import Field

from preprocessing.process_pool import WORKERS_VARIABLE
from storage.settings import Settings

ADDRESS_VARIABLE: Final = "PDFGC_RAY_ADDRESS"
RESOURCES_TAG: Final = "dagster-ray/config"
GIB: Final = 2**30


class RayResources(Settings):
    """Resources that Ray reserves for a run. A run waits until one node has them all free."""

    batch_cpus: int = Field(default=2, ge=1, description="CPU cores of a batch's run, each with a worker")
    batch_memory_gib: float = Field(
        default=0.0, ge=0.0, le=4096.0, description="Memory of a batch's run in GiB; 0: not reserved"
    )
    batch_gpus: float = Field(
        default=0.0,
        ge=0.0,
        le=16.0,
        description="GPUs of a batch's run, also a fraction, for network labellers",
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
    if not os.environ.get(ADDRESS_VARIABLE):
        return {}
    resources: dict[str, Any] = {"num_cpus": cpus, "env_vars": [f"{WORKERS_VARIABLE}={cpus}"]}
    if memory_gib:
        resources["memory"] = int(memory_gib * GIB)
    if gpus:
        resources["num_gpus"] = gpus
    return {RESOURCES_TAG: json.dumps(resources)}
