"""The files of `deploy/`: Dagster, systemd and compose take them, and all that they name is there."""

import re
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from dagster import DagsterInstance
from dagster._core.instance.config import dagster_instance_config
from dagster._core.storage.runs import SqliteRunStorage

from pipelines.logs import PACKAGES
from pipelines.operations.instance import limit_gpu_pool
from tests.conftest import REPOSITORY

DEPLOY: Final = REPOSITORY / "deploy"
UNITS: Final = sorted(DEPLOY.glob("*.service"))
INSTALLED_AT: Final = "/opt/pdfgc"  # in the units and in the image


def read_yaml(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / name).read_text())


def example_environment() -> dict[str, str]:
    lines = (DEPLOY / "pdfgc.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def commands() -> list[list[str]]:
    """Every command of the units and of compose.yaml, as words."""
    units = [
        line
        for unit in UNITS
        for line in re.findall(r"^ExecStart(?:Post)?=(.+)$", unit.read_text(), re.MULTILINE)
    ]
    services = read_yaml("compose.yaml")["services"].values()
    ours = [service for service in services if service["image"] == "pdfgc"]
    lines = [line for service in ours for line in shell_lines(service["command"])]
    return [line.split() for line in (*units, *lines, *(one["healthcheck"]["test"] for one in ours))]


def shell_lines(command: str | list[str]) -> list[str]:
    """The commands of a service, which may be a shell's."""
    if isinstance(command, str):
        return [command]
    assert command[:2] == ["sh", "-c"]
    return [line.strip().removeprefix("exec ") for line in command[2].split("&")]


def test_sqlite_settings_are_valid(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "dagster.sqlite.yaml").read_text())
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_storage, SqliteRunStorage)
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == 0  # none
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 1
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert not instance.telemetry_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit is None
        assert tuple(instance.managed_python_loggers) == PACKAGES
        assert instance.python_log_level == "INFO"


def test_gpu_pool_keeps_a_limit_that_was_set(tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        limit_gpu_pool(instance)
        assert [(pool.name, pool.limit) for pool in instance.event_log_storage.get_pool_limits()] == [
            ("gpu", 1)
        ]
        instance.event_log_storage.set_concurrency_slots("gpu", 2)
        limit_gpu_pool(instance)
        assert [pool.limit for pool in instance.event_log_storage.get_pool_limits()] == [2]


def test_new_home_gets_the_sqlite_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.operations.instance import ensure_dagster_home

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    home = ensure_dagster_home()
    assert (home / "dagster.yaml").read_text() == (DEPLOY / "dagster.sqlite.yaml").read_text()


def test_postgres_settings_differ_in_storage_only() -> None:
    embedded, team = read_yaml("dagster.sqlite.yaml"), read_yaml("dagster.postgres.yaml")
    assert team.pop("storage").keys() == {"postgres"}
    assert team == embedded


def test_ray_settings_add_the_launcher_to_those_of_postgres() -> None:
    team, cluster = read_yaml("dagster.postgres.yaml"), read_yaml("dagster.ray.yaml")
    assert cluster.pop("run_launcher")["class"] == "RayRunLauncher"
    assert cluster["run_monitoring"].pop("start_timeout_seconds") == 86400
    runs = cluster["concurrency"]["runs"], team["concurrency"]["runs"]
    assert runs[0].pop("max_concurrent_runs") > runs[1].pop("max_concurrent_runs")
    assert cluster == team


def test_postgres_settings_match_dagsters_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in example_environment().items():
        monkeypatch.setenv(name, value)
    shutil.copy(DEPLOY / "dagster.postgres.yaml", tmp_path / "dagster.yaml")
    settings, _ = dagster_instance_config(str(tmp_path))
    database = settings["storage"]["postgres"]["postgres_db"]
    assert database["port"] == {"env": "PDFGC_POSTGRES_PORT"}
    assert database["scheme"] == "postgresql+psycopg2"


def test_every_variable_has_an_example() -> None:
    given = example_environment().keys()
    files = [*UNITS, *DEPLOY.glob("*.yaml")]
    read = {
        name for file in files for name in re.findall(r"\$?\{(?:env: )?(PDFGC_[A-Z_]+)\b", file.read_text())
    }
    assert read - given == {"PDFGC_ROOT_FOLDER"}  # only for a root in a bucket
    compose = read_yaml("compose.yaml")["services"]
    assert compose["daemon"]["environment"].keys() <= given


def test_every_command_and_path_exists() -> None:
    entry_points = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert len(commands()) == (len(UNITS) + 1) + (3 + 1) + 3
    for program, *words in commands():
        name = program.removeprefix(f"{INSTALLED_AT}/.venv/bin/")
        assert name in entry_points or (REPOSITORY / ".venv" / "bin" / name).exists(), program
        for flag, value in pairwise(words):
            if flag == "-w":
                assert (REPOSITORY / value).is_file()
            if flag == "-m":
                assert find_spec(value) is not None


def test_ray_units_find_the_programs_of_jobs() -> None:
    for name in ("pdfgc-ray-head", "pdfgc-ray-node"):
        unit = (DEPLOY / f"{name}.service").read_text()
        assert f"\nEnvironment=PATH={INSTALLED_AT}/.venv/bin:" in unit


def test_compose_builds_and_mounts_existing_files() -> None:
    services = read_yaml("compose.yaml")["services"]
    assert set(services) == {"postgres", "code", "daemon", "webserver"}
    build = services["code"]["build"]
    assert (DEPLOY / build["context"]).resolve() == REPOSITORY
    assert (REPOSITORY / build["dockerfile"]).is_file()
    for service in services.values():
        assert "healthcheck" in service
        for mount in service["volumes"]:
            source, target, *_ = mount.split(":")
            if source.startswith("./"):
                assert (DEPLOY / source).is_file()
                assert Path(target).name == "dagster.yaml"
    image = (DEPLOY / "Dockerfile").read_text()
    assert f"WORKDIR {INSTALLED_AT}\n" in image
    assert (REPOSITORY / "scripts" / "make_environment.sh").is_file()
    assert "scripts/make_environment.sh" in image
    home = re.search(r"DAGSTER_HOME=(\S+)", image)
    assert home is not None
    assert f"./dagster.postgres.yaml:{home[1]}/dagster.yaml:ro" in services["daemon"]["volumes"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_units_are_valid(tmp_path: Path) -> None:
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED_AT, str(REPOSITORY)))
    verify = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "pdfgc" in line]
    assert (done.returncode, ours) == (0, [])


def test_stopped_service_sends_sigterm_to_its_runs() -> None:
    unit = (DEPLOY / "pdfgc-code.service").read_text()
    assert "KillMode=control-group\n" in unit
    assert "OOMPolicy=continue\n" in unit  # one run out of memory does not end the others
    assert not re.search(
        r"^(PrivateDevices|ProtectClock|DeviceAllow)=", unit, re.MULTILINE
    )  # each hides the GPU
