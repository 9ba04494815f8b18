"""TalkVid: its JSON of clips, beside files cut by its own script, by another, or whole videos.

The script writes `<YouTube id>/<YouTube id>_<number>_<start>_<end>.mp4`.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from preprocessing.sources.lists.rows import RefusedRow
from preprocessing.sources.recipes.layout import (
    YOUTUBE_ID,
    Recipe,
    Record,
    Rows,
    VideosByName,
    part_of_youtube_video,
)
from preprocessing.sources.remote import SourcePath

LINK: Final = re.compile(rf"(?:v=|youtu\.be/|shorts/)({YOUTUBE_ID})")
LABELS: Final = {
    "Language": "language", "Gender": "gender", "Ethnicity": "ethnicity", "Age Group": "age",
    "Video Category": "category",
}  # fmt: skip
SCORES: Final = ("dover_scores", "cotracker_ratio", "description")


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row a clip; `annotations` is the JSON file, a list of clips.

    Raises:
        ValueError: it is not given, or is no list.
    """
    if annotations is None:
        raise ValueError("TalkVid needs the JSON file of its clips: set --annotations")
    clips: Any = json.loads(annotations.read_text("utf-8"))
    if not isinstance(clips, list):
        raise ValueError(f"{annotations} must hold a list of clips")
    videos = VideosByName(folder)
    for clip in clips:
        try:
            yield _record(videos, clip)
        except (KeyError, TypeError, ValueError) as error:
            yield RefusedRow("damaged_row", f"a clip lacks {error}")


def _record(videos: VideosByName, clip: Any) -> Record | RefusedRow:
    info = clip["info"]
    link = LINK.search(info["Video Link"])
    if link is None:
        return RefusedRow("damaged_row", f"no YouTube id in {info['Video Link']!r}", clip["id"])
    start, end = float(clip["start-time"]), float(clip["end-time"])
    part = part_of_youtube_video(videos, link[1], start, end, clip["id"])
    if isinstance(part, RefusedRow):
        return part
    labels = {label: info[name] for name, label in LABELS.items() if name in info}
    scores = {name: clip[name] for name in SCORES if name in clip}
    return part | {"identity": f"person {info['Person ID']}", "clip": clip["id"], **labels, **scores}


RECIPE: Final = Recipe(
    "talkvid", "TalkVid", rows, annotations="its JSON file of clips", licence="CC BY-NC 4.0"
)
