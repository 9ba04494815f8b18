"""Dagster's UI in a browser: materialize a batch, view its pictures, train a stage, cancel and resume it."""

import subprocess
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from demo_corpus.corpus import CorpusSettings, make_corpus
from models.motion import MotionEncoder
from models.presets import TINY_MESH
from preprocessing.sources.stored_catalog import batch_keys
from tests.factories.pipelines.dev_server import PDFGC, dev_server
from tests.factories.training.toy_run import publish_weights
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.factories.pipelines.browser import headless_chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CORPUS = CorpusSettings(people=3, videos=1, seconds_per_video=2.4, side_px=256, workers=0)
TIMEOUT_MS = 240_000  # generous, for a busy machine
ATTEMPTS = 6
OPTION_MILLISECONDS = 20_000
REPORT_STAGE1 = """mutation {
  reportRunlessAssetEvents(eventParams: {
    eventType: ASSET_MATERIALIZATION, assetKey: {path: ["stage1_motion"]}, partitionKeys: ["default"]
  }) { __typename }
}"""
ADD_RUN = """mutation {
  addDynamicPartition(
    repositorySelector: {
      repositoryLocationName: "pdfgc", repositoryName: "__repository__"
    },
    partitionsDefName: "training_runs", partitionKey: "default"
  ) { __typename }
}"""
OBSERVATIONS = """{
  assetOrError(assetKey: {path: ["stage2_pose"]}) {... on Asset {assetObservations(limit: 1) {runId}}}
}"""
STEPS = 100_000  # the test cancels it before


@dataclass(frozen=True)
class Deployment:
    """A running UI over a root with one batch and its data set."""

    url: str
    root: UPath
    batch: str


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with headless_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def deployment(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[Deployment]:
    assert browser.is_connected()  # first, so that nothing is built without a browser
    folder = tmp_path_factory.mktemp("deployment")
    make_corpus(folder / "corpus", CORPUS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDFGC_ROOT", str(folder / "root"))
        patch.setenv("DAGSTER_HOME", "")
        patch.setenv("PDFGC__OPERATIONS__PROGRESS_SECONDS", "1")
        patch.setenv("PDFGC__OPERATIONS__PICTURE_SECONDS", "3")
        # In a process of its own: the event loops of Dagster and of the browser do not mix.
        command = [PDFGC, "preprocess", folder / "corpus"]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        root = UPath(folder / "root")
        publish_weights(
            root, "stage1_motion", "default", {"motion.model": MotionEncoder(TINY_MESH.motion).model}
        )
        with dev_server(folder) as url:
            yield Deployment(url, root, batch_keys(root)[0])


@pytest.fixture
def page(browser: Browser, deployment: Deployment) -> Generator[Page]:
    page = browser.new_page(base_url=deployment.url, viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(TIMEOUT_MS)
    expect.set_options(timeout=TIMEOUT_MS)
    _wait_until_served(page)
    yield page
    page.close()


def _wait_until_served(page: Page) -> None:
    for _ in range(240):
        try:
            if page.request.get("/server_info").ok:
                return
        except PlaywrightError:
            time.sleep(1)
    raise TimeoutError("the UI was not served within four minutes")


def graphql(page: Page, query: str) -> Any:
    """The data of a GraphQL query."""
    return page.request.post("/graphql", data={"query": query}).json()["data"]


def run_of(page: Page, job: str) -> dict[str, Any]:
    """The latest run of a job that was launched by hand."""
    runs = graphql(page, "{runsOrError(limit: 20) {... on Runs {results {runId jobName status tags {key}}}}}")
    by_hand = [
        run
        for run in runs["runsOrError"]["results"]
        if run["jobName"] == job and not any(tag["key"] == "dagster/sensor_name" for tag in run["tags"])
    ]
    return by_hand[0] if by_hand else {"runId": "", "status": "none"}


def wait_for(page: Page, condition: Callable[[], bool]) -> None:
    """Poll a condition, slowly, because requests slow down the UI."""
    end = time.monotonic() + TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < end, page.inner_text("body")[-2000:]
        page.wait_for_timeout(500)


def test_batch_is_materialized_and_shows_its_contact_sheet(page: Page, deployment: Deployment) -> None:
    page.goto("/assets/clips")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="All", exact=True).click()
    expect(dialog.get_by_text(deployment.batch).or_(dialog.get_by_text("1 partition")).first).to_be_visible()
    before = run_of(page, "__ASSET_JOB")["runId"]
    dialog.get_by_role("button", name="Launch").last.click()
    wait_for(page, lambda: run_of(page, "__ASSET_JOB")["runId"] not in ("", before))
    wait_for(page, lambda: run_of(page, "__ASSET_JOB")["status"] == "SUCCESS")
    page.goto(f"/assets/clips?view=partitions&partition={deployment.batch}")
    expect(page.get_by_text("nothing to do").first).to_be_visible()
    row = page.get_by_role("row").filter(has_text="picture: contact sheet")
    picture = row.get_by_role("img", name="picture")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 200


def test_stage_is_launched_canceled_and_resumed(page: Page, deployment: Deployment) -> None:
    graphql(page, ADD_RUN)
    # The fixture published the weights of the stage before; without this event Dagster asks for confirmation.
    graphql(page, REPORT_STAGE1)
    first = launch_pose(page)
    expect(page.get_by_text("img/s").first).to_be_visible()
    # The page of events does not update itself.
    wait_for(page, lambda: bool(graphql(page, OBSERVATIONS)["assetOrError"]["assetObservations"]))
    page.goto("/assets/stage2_pose?view=events")
    expect(page.get_by_text("Observed in run").first).to_be_visible()
    page.goto("/assets/stage2_pose")
    row = page.get_by_role("row").filter(has_text="picture: losses")
    curve = row.get_by_role("img", name="picture")
    expect(curve).to_be_visible()
    assert curve.evaluate("image => image.naturalWidth") > 200
    wait_for(page, lambda: bool(kept_states(deployment)))  # otherwise there is nothing to resume from
    cancel(page, first)
    assert kept_states(deployment)
    second = launch_pose(page)
    expect(page.get_by_text("Starting stage2_pose at step").first).to_be_visible()
    cancel(page, second)


def kept_states(deployment: Deployment) -> list[Path]:
    """The manifests of the checkpoints under the root."""
    return list(Path(str(deployment.root)).rglob(f"{CHECKPOINTS_FOLDER}/step-*/manifest.json"))


def choose_partition(page: Page) -> None:
    """Type the run's name, again if the page drops the list because it has just loaded the partitions."""
    field, option = page.get_by_placeholder("Partition"), page.get_by_role("menuitem", name="default")
    for _ in range(ATTEMPTS - 1):
        field.click()
        field.fill("")
        field.press_sequentially("default")
        try:
            option.click(timeout=OPTION_MILLISECONDS)
        except PlaywrightTimeoutError:
            page.keyboard.press("Escape")
        else:
            return
    option.click()


def launch_pose(page: Page) -> str:
    """Fill in the launchpad of `stage2_pose` and launch; returns the id of the run and opens its page."""
    page.goto("/assets/stage2_pose")
    # The arrow beside the button has no name.
    page.get_by_role("button", name="Materialize").first.locator("xpath=following::button[1]").click()
    page.get_by_text("Open launchpad").click()
    choose_partition(page)
    page.locator(".CodeMirror-lines").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    settings = f"      steps: {STEPS}\n      preset: tiny_cpu\n"
    page.keyboard.insert_text(f"resources:\n  training_config:\n    config:\n{settings}")
    launch = (
        page.get_by_role("dialog")
        .get_by_role("button", name="Materialize")
        .or_(page.get_by_role("button", name="Materialize"))
    )
    expect(launch.last).to_be_enabled()
    launch.last.click()
    page.wait_for_url("**/runs/**")
    return page.url.rsplit("/", 1)[1]


def cancel(page: Page, run: str) -> None:
    """Terminate a run on its page; returns when it is canceled."""
    page.goto(f"/runs/{run}")
    page.get_by_role("button", name="Terminate").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Terminate").last.click()
    wait_for(page, lambda: run_of(page, "__ASSET_JOB")["status"] == "CANCELED")
