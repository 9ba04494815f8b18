"""Dagster's web server for this machine's own pages alone: ``python -m pipelines.webserver``.

Takes the options of `dagster-webserver`. Dagster's server has no login and executes GraphQL mutations, such
as launching a run, for any web page that a browser shows, also by GET. Here every request passes
`SameOriginMiddleware` first, and GraphQL is executed by POST alone. The same server shows the files below the
root (`pipelines.web.root_files`), so that links in the UI open them.
"""

from collections.abc import Mapping
from functools import wraps
from typing import Any, Final
from urllib.parse import urlsplit

from dagster._core.remote_representation.code_location import CodeLocation
from dagster_webserver import cli
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from upath import UPath

from evaluation.app.same_origin import SameOriginMiddleware, refuse
from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings
from pipelines.web.gallery import Gallery
from pipelines.web.locations import GALLERY, LOCATION, TENSORBOARD
from pipelines.web.root_files import RootFiles
from pipelines.web.tensorboard import TensorBoards
from storage.root import open_root

GRAPHQL: Final = "/graphql"
START: Final = {
    "start_here": "Jobs, add_videos, Launchpad: enter a folder of videos, Launch Run",
    "then": "Lineage, Materialize all: shards, a training run, its report",
    "gallery": f"{GALLERY}/: clips, anchors, thresholds, runs",
}
HOW_TO_ALLOW: Final = ": add its name to PDFGC__OPERATIONS__ALLOWED_HOSTS (names separated by commas)"


class GraphQLByPostMiddleware:
    """Answers GraphQL requests by GET with 405, except for the page of the GraphQL editor."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse a request."""
        if scope["type"] == "http" and scope["path"].endswith(GRAPHQL) and scope["method"] != "POST":
            # The condition under which Dagster sends the editor's page and executes nothing.
            is_editor = scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")
            if not is_editor:
                return await refuse((405, "GraphQL requests must be POST requests"), scope, receive, send)
        return await self._app(scope, receive, send)


def guarded(app: Starlette, settings: OperationsSettings, root: UPath | None = None) -> Starlette:
    """Dagster's application behind both middlewares; serves loopback names and the names of the settings.

    With a root, also the files below it (`pipelines.web.root_files`) and the gallery of its clips.
    """
    if root is not None:
        app.router.routes[:0] = [
            RootFiles(root).route(),
            TensorBoards(root).route(),
            *Gallery(root).routes(),
        ]
    app.add_middleware(GraphQLByPostMiddleware)
    app.add_middleware(
        SameOriginMiddleware,
        allowed_names=allowed_names(settings),
        how_to_allow=HOW_TO_ALLOW,
        api=(GRAPHQL,),
        readers=(f"{TENSORBOARD}/",),
    )
    return app


def allowed_names(settings: OperationsSettings) -> list[str]:
    """Host names of the settings: those of `allowed_hosts`, and that of the URL `webserver`."""
    names = [name.strip() for name in settings.allowed_hosts.split(",")]
    return [name for name in (*names, urlsplit(settings.webserver).hostname or "") if name]


def show_start() -> None:
    """Let the page of the code location (*Deployment* → *pdfgc*) say where to start.

    Dagster shows what is known of the server there, and takes no description.
    """
    shown = CodeLocation.get_display_metadata

    def with_start(self: CodeLocation) -> Mapping[str, str]:
        return {**(START if self.name == LOCATION else {}), **shown(self)}

    CodeLocation.get_display_metadata = with_start


def main() -> None:
    """Run `dagster-webserver` with a guarded application."""
    settings = deployed(OperationsSettings)
    build_app = cli.create_app_from_workspace_process_context  # pyright: ignore[reportPrivateImportUsage]

    show_start()

    @wraps(build_app)
    def build_guarded_app(*arguments: Any, **options: Any) -> Starlette:
        return guarded(build_app(*arguments, **options), settings, open_root())

    # The command has no option for middleware; it looks this function up when it starts to serve.
    cli.create_app_from_workspace_process_context = build_guarded_app  # pyright: ignore[reportPrivateImportUsage]
    cli.main()


if __name__ == "__main__":
    main()
