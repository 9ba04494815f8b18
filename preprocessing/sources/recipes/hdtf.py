"""HDTF: `HDTF_dataset/{RD,WDA,WRA}_annotion_time.txt`, beside whole videos or clips cut as its readme says.

Clip k of a video is `<name>_<k>.mp4`, or `<subset>_<name>_<k of three digits>.mp4` of the corpus's script.
Whole videos are `<name>.mp4` or `<subset>_<name>.mp4`; the times select their parts, and `_crop_wh.txt` with
`_resolution.txt` the face.
"""

import re
from pathlib import Path
from typing import Final

from preprocessing.sources.lists.rows import BOX_COLUMNS, RefusedRow
from preprocessing.sources.recipes.layout import Recipe, Record, Rows, VideosByName
from preprocessing.sources.remote import SourcePath

SUBSETS: Final = ("RD", "WDA", "WRA")
WIDTH_OVER_HEIGHT: Final = 16 / 9  # of the source videos, in whose pixels the crops are


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row a clip; `annotations` is the folder `HDTF_dataset`.

    Raises:
        ValueError: it is not given, or holds no times.
    """
    times = [] if annotations is None else sorted(annotations.glob("*_annotion_time.txt"))
    if annotations is None or not times:
        raise ValueError(f"HDTF needs its folder with RD_annotion_time.txt and others, got {annotations}")
    videos = VideosByName(folder)
    for path in times:
        subset = path.name.partition("_")[0]
        crops = _read(annotations / f"{subset}_crop_wh.txt")
        heights = _read(annotations / f"{subset}_resolution.txt")
        for file_name, spans in _read(path).items():
            name = file_name.removesuffix(".mp4")
            for number, span in enumerate(spans):
                crop, height = crops.get(f"{name}_{number}.mp4", []), heights.get(file_name, [])
                yield _record(videos, subset, name, number, span, _face(crop, height))


def _record(
    videos: VideosByName, subset: str, name: str, number: int, span: str, face: Record
) -> Record | RefusedRow:
    start, _, end = span.partition("-")
    # Radio programmes are numbered; politicians' names may end in a number of the video.
    identity = name if subset == "RD" else re.sub(r"\d+$", "", name)
    labels = {"identity": identity, "subset": subset, "clip": f"{name}_{number}", "language": "en"}
    if (clip := videos.find(f"{name}_{number}", f"{subset}_{name}_{number:03d}")) is not None:
        return {"path": clip, **labels}
    if (whole := videos.find(name, f"{subset}_{name}")) is not None:
        return {"path": whole, "start": start, "end": end, **face, **labels}
    names = f"{name}_{number}, {subset}_{name}_{number:03d} or {name}"
    return RefusedRow("not_found", f"no video is called {names}", name)


def _face(crop: list[str], height: list[str]) -> Record:
    """The box in shares of the picture; `_crop_wh.txt` has x, width, y, height in px of the resolution."""
    if len(crop) != 4 or len(height) != 1 or not all(text.isdigit() for text in (*crop, *height)):
        return {}
    x, wide, y, high = (int(text) for text in crop)
    down = int(height[0])
    across = down * WIDTH_OVER_HEIGHT
    box = (x / across, y / down, min(1.0, (x + wide) / across), min(1.0, (y + high) / down))
    return dict(zip(BOX_COLUMNS, box, strict=True))


def _read(path: Path) -> dict[str, list[str]]:
    """First word of each line -> the others; {} without the file."""
    if not path.is_file():
        return {}
    words = [line.split() for line in path.read_text("utf-8").splitlines()]
    return {line[0]: line[1:] for line in words if line}


RECIPE: Final = Recipe(
    "hdtf",
    "HDTF",
    rows,
    annotations="its folder HDTF_dataset",
    licence="videos: terms of YouTube and their owners",
)
