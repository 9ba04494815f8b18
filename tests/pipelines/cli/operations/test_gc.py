"""Garbage collection by the command and by the job."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance, Definitions, build_schedule_context, validate_run_config
from upath import UPath

from pipelines.cli.main import main
from pipelines.operations.maintenance.gc_job import collect_garbage
from pipelines.operations.maintenance.gc_settings import GcSettings
from pipelines.operations.schedules import weekly_gc
from pipelines.operations.settings import OperationsSettings
from pipelines.resources import WorkspaceResource
from storage.publishing import Published, verify
from tests.factories.storage.old_builds import is_current, supersede


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UPath:
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return UPath(tmp_path)


@pytest.fixture
def builds(root: UPath) -> tuple[Published, Published]:
    """An old build and the current one."""
    return supersede(root)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["gc", *arguments])


@pytest.mark.usefixtures("builds")
def test_gc_escapes_control_characters_of_names(root: UPath) -> None:
    (root / "a\x1b[2J").mkdir()
    (root / "assets" / "b\x1b[2J\n").mkdir()
    shown = run().output
    assert r"a\x1b[2J: unknown, left alone" in shown
    assert "\x1b[2J" not in shown


def test_gc_without_remove_only_lists(builds: tuple[Published, Published]) -> None:
    recent = run()
    assert recent.exit_code == 0
    assert "nothing to remove" in recent.output
    assert f"kept: {builds[0].location}: recent: superseded 0.0 days ago" in recent.output

    listed = run("--keep-days", "0")
    assert builds[0].location in listed.output
    assert "superseded 0.0 days ago" in listed.output
    assert "1 in total" in listed.output
    assert "nothing was removed; remove it with: pdfgc gc --remove" in listed.output
    assert verify(builds[0]) == []


def test_gc_with_remove_removes(root: UPath, builds: tuple[Published, Published]) -> None:
    shown = run("--keep-days", "0", "--remove")
    assert builds[0].location in shown.output
    assert "removed 1, " in shown.output
    assert not Path(builds[0].directory.path).exists()
    assert is_current(builds[1], root)
    assert "not in the catalog: batch batch-0000; their current builds are left alone" in shown.output


def test_gc_json_holds_everything(builds: tuple[Published, Published]) -> None:
    location = builds[0].location
    values = json.loads(run("--keep-days", "0", "--remove", "--json").output)
    assert [(finding["kind"], finding["location"]) for finding in values["found"]] == [("build", location)]
    assert (values["removed"], values["removed_bytes"], values["skipped"]) == (
        [location],
        values["size_bytes"],
        {},
    )
    again = json.loads(run("--keep-days", "0", "--json").output)
    assert again["found"] == []
    assert "removed" not in again


def test_gc_ignores_files_of_other_parts(root: UPath) -> None:
    for name in (
        "catalog",
        "operations",
        "pictures",
        "rendered_videos",
        "dagster",
        "demo_corpus",
        "baseline_runs",
    ):
        (Path(root.path) / name).mkdir()
    scratch = Path(root.path) / ".building"
    (scratch / "sources").mkdir(parents=True)
    (scratch / "catalog.lock").touch()
    values = json.loads(run("--keep-days", "0", "--json").output)
    assert (values["found"], values["left_alone"]) == ([], [])


def test_gc_of_a_damaged_root_is_a_one_line_error(root: UPath, builds: tuple[Published, Published]) -> None:
    (Path(builds[1].directory.path).parent / "current.json").write_text("{")
    failed = run()
    assert failed.exit_code == 1
    assert failed.output.startswith(f"Error: {root / 'assets/clips/batch-0000/current.json'} is damaged: ")
    assert len(failed.output.splitlines()) == 1


@pytest.mark.parametrize(("remove", "removed"), [(False, 0), (True, 1)])
def test_gc_job_removes_only_if_asked(
    builds: tuple[Published, Published], remove: bool, removed: int
) -> None:
    config = {"remove": remove, "keep_days": 0.0}
    with DagsterInstance.ephemeral() as instance:
        result = collect_garbage.execute_in_process(
            run_config={"ops": {"collect_garbage": {"config": config}}},
            resources={"workspace": WorkspaceResource()},
            instance=instance,
        )
        (output,) = [event for event in result.all_events if event.is_successful_output]
    shown = output.step_output_data.metadata
    assert (shown["found"].value, shown["removed"].value) == (1, removed)
    became = "removed" if remove else ""
    table = str(shown["table: found"].value)
    assert table.splitlines()[2].startswith(f"| {builds[0].location} | superseded 0.0 days ago | ")
    assert table.endswith(f"| {became} |")
    assert Path(builds[0].directory.path).exists() is not remove


def test_weekly_gc_config_fits_the_job() -> None:
    schedule = weekly_gc(OperationsSettings())
    definitions = Definitions(
        jobs=[collect_garbage], schedules=[schedule], resources={"workspace": WorkspaceResource()}
    )
    job = definitions.resolve_job_def(schedule.job_name)
    (request,) = schedule.evaluate_tick(build_schedule_context()).run_requests or []
    assert validate_run_config(job, request.run_config)["ops"]["collect_garbage"]["config"]["remove"] is True


@pytest.mark.parametrize(("keep_days", "keep_baselines"), [(-1.0, 2), (7.0, 0), (float("nan"), 1)])
def test_gc_settings_refuse_invalid_values(keep_days: float, keep_baselines: int) -> None:
    with pytest.raises(ValueError, match=r"^keep_(days|baselines) must be "):
        GcSettings(keep_days=keep_days, keep_baselines=keep_baselines)
