"""Dagster's instance: its home is in the root by default, and one stage trains at a time."""

import os
from pathlib import Path
from typing import Final

from dagster import DagsterInstance

from storage.atomic import write_atomically
from storage.root import DEFAULT_LOCATION, ROOT_VARIABLE

HOME_VARIABLE: Final = "DAGSTER_HOME"
INSTANCE_FILE: Final = "dagster.yaml"
INSTANCE_SETTINGS: Final = Path(__file__).with_name("dagster.sqlite.yaml").read_text()
GPU_POOL: Final = "gpu"
GPU_POOL_LIMIT: Final = 1


def ensure_dagster_home() -> Path:
    """Create Dagster's home and set DAGSTER_HOME for this process and its children.

    The home is DAGSTER_HOME if it is set, else `<root>/dagster`; for a root in a bucket
    `./pdfgc-root/dagster`, because SQLite needs a file system.
    """
    home = Path(os.environ.get(HOME_VARIABLE) or _default_home()).expanduser().absolute()
    instance_file = home / INSTANCE_FILE
    if not instance_file.exists():
        with write_atomically(instance_file) as partial:
            partial.write_text(INSTANCE_SETTINGS)
    os.environ[HOME_VARIABLE] = str(home)
    return home


def limit_gpu_pool(instance: DagsterInstance) -> None:
    """Set the limit of the pool `gpu`, unless somebody has set one (*Deployment* → *Concurrency*).

    dagster.yaml knows a default for all pools only; the limit of one pool is in the instance's database.
    """
    limits = instance.event_log_storage.get_pool_limits()
    if not any(limit.name == GPU_POOL and not limit.from_default for limit in limits):
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, GPU_POOL_LIMIT)


def _default_home() -> Path:
    location = os.environ.get(ROOT_VARIABLE) or DEFAULT_LOCATION
    return Path(DEFAULT_LOCATION if "://" in location else location) / "dagster"
