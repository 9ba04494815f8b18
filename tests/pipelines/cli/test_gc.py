"""Collecting as people start it: the command and the job."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance, Definitions, build_schedule_context, validate_run_config
from upath import UPath

from pipelines.cli.main import main
from pipelines.operations.collection_job import collect_garbage
from pipelines.operations.collection_settings import CollectionSettings
from pipelines.operations.schedules import weekly_collection
from pipelines.operations.settings import OperationsSettings
from pipelines.resources import WorkspaceResource
from storage.publishing import Published, verify
from tests.factories.collecting import is_there, location_of, supersede


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


def test_without_remove_it_is_only_listed(root: UPath, builds: tuple[Published, Published]) -> None:
    young = run()
    assert young.exit_code == 0
    assert "nothing to collect" in young.output
    assert f"kept: {location_of(root, builds[0])}: young: ceased to be current 0.0 days ago" in young.output

    listed = run("--keep-days", "0")
    assert location_of(root, builds[0]) in listed.output
    assert "superseded 0.0 days ago" in listed.output
    assert "1 in all" in listed.output
    assert "nothing was removed: pdfgc gc --remove removes it" in listed.output
    assert verify(builds[0]) == []


def test_with_remove_it_is_listed_and_gone(root: UPath, builds: tuple[Published, Published]) -> None:
    shown = run("--keep-days", "0", "--remove")
    assert location_of(root, builds[0]) in shown.output
    assert "removed 1, " in shown.output
    assert not Path(builds[0].directory.path).exists()
    assert is_there(builds[1], root)
    assert "not in the catalog: batch batch-0000; their current files are left alone" in shown.output


def test_json_tells_all_of_it(root: UPath, builds: tuple[Published, Published]) -> None:
    location = location_of(root, builds[0])
    told = json.loads(run("--keep-days", "0", "--remove", "--json").output)
    assert [(one["kind"], one["location"]) for one in told["found"]] == [("build", location)]
    assert (told["removed"], told["removed_bytes"], told["spared"]) == ([location], told["size_bytes"], {})
    again = json.loads(run("--keep-days", "0", "--json").output)
    assert again["found"] == []
    assert "removed" not in again


def test_what_is_somebodys_own_is_neither_found_nor_told(root: UPath) -> None:
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
    told = json.loads(run("--keep-days", "0", "--json").output)
    assert (told["found"], told["left_alone"]) == ([], [])


def test_a_root_that_is_damaged_is_one_line(root: UPath, builds: tuple[Published, Published]) -> None:
    (Path(builds[1].directory.path).parent / "current.json").write_text("{")
    failed = run()
    assert failed.exit_code == 1
    assert failed.output.startswith(f"Error: {root / 'assets/clips/batch-0000/current.json'} is damaged: ")
    assert len(failed.output.splitlines()) == 1


@pytest.mark.parametrize(("remove", "removed"), [(False, 0), (True, 1)])
def test_the_job_removes_only_where_it_is_told_to(
    root: UPath, builds: tuple[Published, Published], remove: bool, removed: int
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
    assert table.splitlines()[2].startswith(f"| {location_of(root, builds[0])} | superseded 0.0 days ago | ")
    assert table.endswith(f"| {became} |")
    assert Path(builds[0].directory.path).exists() is not remove


def test_the_schedules_configuration_fits_the_job() -> None:
    schedule = weekly_collection(OperationsSettings())
    definitions = Definitions(
        jobs=[collect_garbage], schedules=[schedule], resources={"workspace": WorkspaceResource()}
    )
    job = definitions.resolve_job_def(schedule.job_name)
    (request,) = schedule.evaluate_tick(build_schedule_context()).run_requests or []
    assert validate_run_config(job, request.run_config)["ops"]["collect_garbage"]["config"]["remove"] is True


@pytest.mark.parametrize(("keep_days", "keep_accepted"), [(-1.0, 2), (7.0, 0), (float("nan"), 1)])
def test_settings_out_of_their_bounds_are_refused(keep_days: float, keep_accepted: int) -> None:
    with pytest.raises(ValueError, match=f"keep_days is {keep_days}, need 0 to 36500; keep_accepted is"):
        CollectionSettings(keep_days=keep_days, keep_accepted=keep_accepted)
