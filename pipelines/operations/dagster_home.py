"""Dagster's home: under the root by default, so that one variable decides where everything lies."""

import os
from pathlib import Path
from typing import Final

from storage.root import DEFAULT_LOCATION, ROOT_VARIABLE

HOME_VARIABLE: Final = "DAGSTER_HOME"
INSTANCE_FILE: Final = "dagster.yaml"
# The embedded default: SQLite under the home, nothing sent anywhere, dead runs noticed.
INSTANCE_SETTINGS: Final = Path(__file__).with_name("dagster.sqlite.yaml").read_text()


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
