"""The tags by which a cluster reserves the resources of a run."""

import json

import pytest
from dagster_k8s.job import get_user_defined_k8s_config

from pipelines.operations.cluster_resources import KUBERNETES_VARIABLE, RAY_VARIABLE, ClusterResources

RESOURCES = ClusterResources(batch_cpus=8, batch_memory_gib=24, training_cpus=16, training_gpus=4)


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RAY_VARIABLE, raising=False)
    monkeypatch.delenv(KUBERNETES_VARIABLE, raising=False)


def test_tags_are_empty_without_a_cluster() -> None:
    assert RESOURCES.batch_tags() == RESOURCES.training_tags() == {}


def test_ray_tag_reserves_cores_memory_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RAY_VARIABLE, "http://127.0.0.1:8265")
    batch = json.loads(RESOURCES.batch_tags()["dagster-ray/config"])
    assert batch == {"num_cpus": 8, "env_vars": ["PDFGC_WORKERS=8"], "memory": 24 * 2**30}
    training = json.loads(RESOURCES.training_tags()["dagster-ray/config"])
    assert (training["num_cpus"], training["num_gpus"]) == (16, 4)


def test_kubernetes_tag_is_read_by_dagster_k8s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KUBERNETES_VARIABLE, "1")
    container = get_user_defined_k8s_config(RESOURCES.training_tags()).container_config
    assert container["resources"] == {"requests": {"cpu": "16"}, "limits": {"nvidia.com/gpu": "4"}}
    batch = get_user_defined_k8s_config(RESOURCES.batch_tags()).container_config
    assert batch["resources"] == {
        "requests": {"cpu": "8", "memory": "24Gi"},
        "limits": {"memory": "24Gi"},
    }
    assert batch["env"] == [{"name": "PDFGC_WORKERS", "value": "8"}]


def test_kubernetes_refuses_a_fraction_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KUBERNETES_VARIABLE, "1")
    with pytest.raises(ValueError, match=r"whole GPUs, got 0\.25"):
        ClusterResources(batch_gpus=0.25).batch_tags()
