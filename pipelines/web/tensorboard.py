"""TensorBoard of a training run, in the web server of Dagster's UI: ``/tensorboard/<run>/``.

It starts when it is first opened, reads the event files of the run's published stages and of those in
progress, and is built anew when a stage has been added. TensorBoard is imported only then.
"""

import warnings
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Final, cast

from a2wsgi import WSGIMiddleware
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from upath import UPath

from pipelines.web.locations import TENSORBOARD, path_prefix
from storage.publishing import NAME_PATTERN, current
from storage.root import local_copy, scratch_directory
from training.stage_catalog import STAGE_NAMES

EVENTS_FOLDER: Final = "tensorboard"
RUNS_KEPT: Final = 4
RELOAD_SECONDS: Final = 15

WsgiApp = Callable[..., Iterable[bytes]]


class TensorBoards:
    """The TensorBoards of the runs below a root."""

    def __init__(self, root: UPath) -> None:
        self._root, self._lock = root, Lock()
        self._apps: dict[tuple[str, str], ASGIApp] = {}

    def route(self) -> Mount:
        """The route of a web server."""
        return Mount(TENSORBOARD, app=self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the TensorBoard of the run that the path names."""
        path = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
        app = await run_in_threadpool(self._app, path.partition("/")[0])
        if app is None:
            text = "no such run, or it has trained no stage yet"
            return await PlainTextResponse(text, 404)(scope, receive, send)
        whole = f"{path_prefix()}{TENSORBOARD}/{path}"
        return await app({**scope, "root_path": "", "path": whole}, receive, send)

    def _app(self, run: str) -> ASGIApp | None:
        folders = event_folders(self._root, run) if NAME_PATTERN.fullmatch(run) else {}
        if not folders:
            return None
        key = (run, ",".join(f"{stage}:{folder}" for stage, folder in folders.items()))
        with self._lock:
            if key not in self._apps:
                self._apps = dict([*self._apps.items()][-RUNS_KEPT + 1 :])
                self._apps[key] = cast("ASGIApp", WSGIMiddleware(build_app(run, key[1])))
            return self._apps[key]


def event_folders(root: UPath, run: str) -> dict[str, str]:
    """Stage -> the local folder of its event files: of the stage in progress, else of the published one."""
    folders: dict[str, str] = {}
    for stage in STAGE_NAMES:
        working = sorted((scratch_directory(root) / stage / run).glob(f"*/{EVENTS_FOLDER}"))
        published = current(root, stage, run)
        if working:
            folders[stage] = str(working[-1])
        elif published is not None and any(
            name.startswith(EVENTS_FOLDER) for name in published.manifest.files
        ):
            folders[stage] = str(local_copy(published.directory) / EVENTS_FOLDER)
    return folders


def build_app(run: str, folders: str) -> WsgiApp:
    """TensorBoard's application for `stage:folder,stage:folder`; it reads on in a thread."""
    with warnings.catch_warnings(action="ignore"):  # it uses pkg_resources and html5lib
        from tensorboard import default, program
        from tensorboard.backend.application import TensorBoardWSGIApp
        from tensorboard.backend.event_processing.data_ingester import LocalDataIngester

        board = program.TensorBoard(plugins=default.get_plugins())
        prefix = f"{path_prefix()}{TENSORBOARD}/{run}"
        options = ("--path_prefix", prefix, "--reload_interval", str(RELOAD_SECONDS), "--load_fast", "false")
        board.configure(argv=["tensorboard", "--logdir_spec", folders, *options])
        ingester: Any = LocalDataIngester(board.flags)
        ingester.start()
        return TensorBoardWSGIApp(
            board.flags,
            board.plugin_loaders,
            ingester.data_provider,
            board.assets_zip_provider,
            ingester.deprecated_multiplexer,
        )
