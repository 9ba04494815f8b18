"""Dagster's home: under the root by default, so that one variable decides where everything lies."""

import os
from pathlib import Path
from typing import Final

from storage.root import DEFAULT_LOCATION, ROOT_VARIABLE

HOME_VARIABLE: Final = "DAGSTER_HOME"
INSTANCE_FILE: Final = "dagster.yaml"
# The embedded default: SQLite under the home, nothing sent anywhere, dead runs noticed.
INSTANCE_SETTINGS: Final = """\
# Written by pdfgc when this folder was first used; yours to change.
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
  poll_interval_seconds: 30
  free_slots_after_run_end_seconds: 30  # a killed run gives back its place in a pool
concurrency:
  pools:
    default_limit: 1  # the pool "gpu": one training stage at a time, in the UI and by `pdfgc train`
  runs:
    max_concurrent_runs: 4
"""


def ensure_dagster_home() -> Path:
    """Choose and make Dagster's home, and set DAGSTER_HOME for this process and its children.

    DAGSTER_HOME where it is set, else `<root>/dagster`; for a root in a bucket `./pdfgc-root/dagster`,
    because SQLite needs a file system.
    """
    home = Path(os.environ.get(HOME_VARIABLE) or _default_home()).expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    instance_file = home / INSTANCE_FILE
    if not instance_file.exists():
        instance_file.write_text(INSTANCE_SETTINGS)
    os.environ[HOME_VARIABLE] = str(home)
    return home


def _default_home() -> Path:
    location = os.environ.get(ROOT_VARIABLE) or DEFAULT_LOCATION
    return Path(DEFAULT_LOCATION if "://" in location else location) / "dagster"
