"""The gallery beside Dagster's UI, ``/gallery/``: clips, anchors, thresholds, runs and their training films.

Plain pages and an API that only reads (GET). Pages ask for slices of what `preprocessing.gallery` has
indexed; pictures and sounds are read by byte range. A clip is found by its key in the index, so that no path
comes from a request. Runs are launched through Dagster's own GraphQL, behind the same guard.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from upath import UPath

from evaluation.comparison.run_list import draw_run_curves, run_curves
from pipelines.deployed_settings import deployed
from pipelines.web.gallery_runs import runs_below
from pipelines.web.locations import GALLERY
from preprocessing.faces.shape.frame_of_reference import CROP_CENTRE_PX, CROP_FOCAL_PX, REFERENCE_DISTANCE_CM
from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_LEFT_IRIS,
    IMAGE_RIGHT_EYE_CORNERS,
    IMAGE_RIGHT_IRIS,
    INNER_LIP_LOWER_MIDDLE,
    INNER_LIP_UPPER_MIDDLE,
)
from preprocessing.gallery.index import LABELS, GalleryIndex
from preprocessing.gallery.parts import anchor_jpeg, clip_facts, frame_jpeg, sound_wav
from preprocessing.gallery.scored_tables import ScoredTable
from preprocessing.gallery.selection import Filter, batch_titles, counts_of, select
from preprocessing.gallery.thresholds import histograms, outcome
from preprocessing.orchestration.chosen_settings import Changes, apply_changes, changes_between, read_chosen
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.pictures.gaze_sheet import ARROW_LENGTH_CM, GAZE_COLOUR
from preprocessing.pictures.mesh_sheet import BROW_COLOUR, BROWS, OUTLINES
from preprocessing.pictures.pose_sheet import AXIS_COLOURS, AXIS_LENGTHS_CM
from preprocessing.schema import CROP_SIDE_PX, FRAMES_PER_SECOND
from storage.fingerprint import JsonValue
from storage.publishing import published_partitions
from training.stage_catalog import STAGE_NAMES

STATIC: Final = Path(__file__).parent / "static"
PAGES: Final = {path.name: path for path in sorted(STATIC.iterdir())}  # the only files that are sent
ROWS: Final = 48
SECTIONS: Final = {"clips": "clips", "speakers": "clips", "lip_sync": "shards", "anchors": "eye_anchors"}
"""Kind of thresholds -> the step whose settings have them."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
PICTURE_HEADERS: Final = HEADERS | {"Cache-Control": "private, max-age=300"}

_Answer = Callable[[Request], Response]


class Gallery:
    """The pages and the API of one root."""

    def __init__(self, root: UPath) -> None:
        self._index = GalleryIndex(root)

    def routes(self) -> list[Route | Mount]:
        """The routes of a web server."""
        answers: Mapping[str, _Answer] = {
            "/api/overview": self._overview,
            "/api/clips": self._clips,
            "/api/anchors": self._anchors,
            "/api/clip/{batch}/{key}": self._clip,
            "/api/frame/{batch}/{key}": self._frame,
            "/api/sound/{batch}/{key}": self._sound,
            "/api/anchor/{batch}/{place:int}": self._anchor,
            "/api/histograms/{kind}": self._histograms,
            "/api/thresholds/{kind}": self._thresholds,
            "/api/runs": self._runs,
            "/api/curves/{stage}": self._curves,
            "/static/{name}": _static,
        }
        routes = [Route(path, _guarded(answer), methods=["GET"]) for path, answer in answers.items()]
        pages = [Route("/", _page, methods=["GET"]), *routes]
        return [Route(GALLERY, _with_slash, methods=["GET"]), Mount(GALLERY, routes=pages)]

    def _overview(self, _: Request) -> Response:
        clips, anchors = self._index.clips(), self._index.anchors()
        accepted = clips.accepted
        return _json(
            {
                "clips": len(clips),
                "accepted": int(accepted.sum()),
                "hours": float(clips.seconds[accepted].sum()) / 3600.0,
                "anchors": int(anchors.accepted.sum()),
                "counts": {"clips": counts_of(clips), "anchors": counts_of(anchors)},
                "batches": batch_titles(clips),
                "labels": [{"name": one.name, "title": one.title, "unit": one.unit} for one in LABELS],
                "bounds": {"clips": _bounds(clips), "anchors": _bounds(anchors)},
                "drawing": drawing_constants(),
                "damaged": self._index.damaged(),
            }
        )

    def _clips(self, request: Request) -> Response:
        return self._slice(request, self._index.clips())

    def _anchors(self, request: Request) -> Response:
        return self._slice(request, self._index.anchors())

    def _slice(self, request: Request, table: ScoredTable) -> Response:
        query = request.query_params
        texts = ("state", "batch", "person", "reason", "file", "label", "order")
        wanted = Filter(
            **{name: query[name] for name in texts if query.get(name)},
            low=_number(query, "low"),
            high=_number(query, "high"),
        )
        offset, limit = (int(query.get(name) or usual) for name, usual in (("offset", 0), ("limit", ROWS)))
        return _json(asdict(select(self._index, table, wanted, offset, limit)))

    def _clip(self, request: Request) -> Response:
        return _json(clip_facts(self._index, *_clip_of(request)))

    def _frame(self, request: Request) -> Response:
        number = request.query_params.get("frame")
        jpeg = frame_jpeg(self._index, *_clip_of(request), None if number is None else int(number))
        return Response(jpeg, 200, PICTURE_HEADERS, "image/jpeg")

    def _sound(self, request: Request) -> Response:
        return Response(sound_wav(self._index, *_clip_of(request)), 200, PICTURE_HEADERS, "audio/wav")

    def _anchor(self, request: Request) -> Response:
        parameters = request.path_params
        jpeg = anchor_jpeg(self._index, parameters["batch"], parameters["place"])
        return Response(jpeg, 200, PICTURE_HEADERS, "image/jpeg")

    def _histograms(self, request: Request) -> Response:
        return _json([asdict(each) for each in histograms(self._table(request))])

    def _thresholds(self, request: Request) -> Response:
        """Counts with moved thresholds, and the settings of a run that makes them so."""
        table, section = self._table(request), SECTIONS[request.path_params["kind"]]
        query = request.query_params
        moved = {name: float(value) for name, value in query.items() if name != "focus"}
        result = outcome(table, moved, query.get("focus", ""))
        units = {bound.setting: bound.unit for bound in table.bounds}
        changes = {f"{section}.{name}": _stored(value, units[name]) for name, value in moved.items()}
        return _json(asdict(result) | {"changes": self._effective(changes)})

    def _effective(self, changes: Changes) -> dict[str, JsonValue]:
        """Those that some batch is not given anyway: it has its own setting, or all have another."""
        chosen, settings = read_chosen(self._index.root), deployed(PreprocessingSettings)
        usual = chosen.of("", settings)
        moved = apply_changes(usual, changes)  # refuses values out of their bounds
        own = {name for choice in chosen.batches.values() for name in choice.changes}
        differing = changes_between(usual, moved)
        return {name: value for name, value in changes.items() if name in differing or name in own}

    def _table(self, request: Request) -> ScoredTable:
        tables = {
            "clips": self._index.clips,
            "speakers": self._index.speakers,
            "lip_sync": self._index.lip_sync,
            "anchors": self._index.anchors,
        }
        return tables[request.path_params["kind"]]()

    def _runs(self, _: Request) -> Response:
        return _json(runs_below(self._index.root))

    def _curves(self, request: Request) -> Response:
        """A PNG with the loss curves of every run that has trained a stage."""
        root, stage = self._index.root, request.path_params["stage"]
        if stage not in STAGE_NAMES:
            raise KeyError(stage)
        curves = run_curves(root, published_partitions(root, stage), stage)
        return Response(draw_run_curves(curves, stage), 200, HEADERS, "image/png")


def drawing_constants() -> dict[str, Any]:
    """What a page needs to draw labels as the contact sheets do."""
    return {
        "side_px": CROP_SIDE_PX,
        "frames_per_second": FRAMES_PER_SECOND,
        "focal_px": CROP_FOCAL_PX,
        "centre_px": CROP_CENTRE_PX,
        "distance_cm": REFERENCE_DISTANCE_CM,
        "outlines": [{"points": points, "colour": colour, "closed": True} for points, colour in OUTLINES]
        + [{"points": points, "colour": BROW_COLOUR, "closed": False} for points in BROWS],
        "axes": [
            {"length_cm": length, "colour": colour}
            for length, colour in zip(AXIS_LENGTHS_CM, AXIS_COLOURS, strict=True)
        ],
        "irises": [IMAGE_LEFT_IRIS[0], IMAGE_RIGHT_IRIS[0]],
        "gaze": {"length_cm": ARROW_LENGTH_CM, "colour": GAZE_COLOUR},
        "lips": [INNER_LIP_UPPER_MIDDLE, INNER_LIP_LOWER_MIDDLE],
        "eyes": [IMAGE_LEFT_EYE_CORNERS, IMAGE_RIGHT_EYE_CORNERS],
    }


def _bounds(table: ScoredTable) -> list[dict[str, Any]]:
    return [asdict(bound) for bound in table.bounds]


def _guarded(answer: _Answer) -> Callable[[Request], Any]:
    """An answer in a thread; wrong requests are 400 and what there is not is 404, in a sentence."""

    async def respond(request: Request) -> Response:
        try:
            return await run_in_threadpool(answer, request)
        except (KeyError, FileNotFoundError) as error:
            return JSONResponse({"error": f"there is no {error}"}, 404, HEADERS)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400, HEADERS)

    return respond


async def _with_slash(request: Request) -> Response:
    return RedirectResponse(request.url.path + "/", 307, HEADERS)


async def _page(_: Request) -> Response:
    return FileResponse(PAGES["gallery.html"], headers=HEADERS)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in PAGES:
        return PlainTextResponse("no such file", 404, HEADERS)
    return FileResponse(PAGES[name], headers=HEADERS)


def _clip_of(request: Request) -> tuple[str, str]:
    return request.path_params["batch"], request.path_params["key"]


def _number(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name) or ""
    value = float(text) if text else None
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{name} must be a number, got {text}")
    return value


def _stored(value: float, unit: str) -> int | float:
    """A threshold as settings hold it: radians, and whole numbers without a point, as those of frames are."""
    if unit == "degrees":
        return math.radians(value)
    return int(value) if value.is_integer() else value


def _json(content: Any) -> Response:
    return JSONResponse(content, 200, HEADERS)
