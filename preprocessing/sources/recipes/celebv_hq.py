"""CelebV-HQ: `celebvhq_info.json`, beside its clips (`<clip>.mp4`) or whole videos (`<YouTube id>.mp4`)."""

import json
from pathlib import Path
from typing import Any, Final

from preprocessing.sources.lists.rows import RefusedRow
from preprocessing.sources.recipes.layout import Recipe, Record, Rows, VideosByName, part_of_youtube_video
from preprocessing.sources.remote import SourcePath


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row a clip; `annotations` is `celebvhq_info.json`.

    Raises:
        ValueError: it is not given, or is not such a file.
    """
    if annotations is None:
        raise ValueError("CelebV-HQ needs celebvhq_info.json: set --annotations")
    data: Any = json.loads(annotations.read_text("utf-8"))
    if not isinstance(data, dict) or not {"clips", "meta_info"} <= data.keys():
        raise ValueError(f"{annotations} must hold `clips` and `meta_info`, as celebvhq_info.json does")
    videos = VideosByName(folder)
    for name, clip in data["clips"].items():
        try:
            yield _record(videos, name, clip, data["meta_info"])
        except (KeyError, TypeError) as error:
            yield RefusedRow("damaged_row", f"clip {name} lacks {error}", name)


def _record(videos: VideosByName, name: str, clip: Any, mappings: Any) -> Record | RefusedRow:
    video, duration, box, attributes = clip["ytb_id"], clip["duration"], clip["bbox"], clip["attributes"]
    start, end = float(duration["start_sec"]), float(duration["end_sec"])
    part = part_of_youtube_video(videos, video, start, end, name)
    if isinstance(part, RefusedRow):
        return part
    if "start" in part:  # a clip's own file is cropped
        part |= {f"face_{side}": box[side] for side in ("left", "top", "right", "bottom")}
    emotion = attributes["emotion"]["labels"]
    return part | {
        "identity": video,
        "emotion": emotion if isinstance(emotion, str) else "mixed",
        "emotions": None if isinstance(emotion, str) else emotion,
        "clip": name,
        "appearance": _names(attributes["appearance"], mappings["appearance_mapping"]),
        "action": _names(attributes["action"], mappings["action_mapping"]),
    }


def _names(flags: list[int], mapping: list[str]) -> list[str]:
    return [name for flag, name in zip(flags, mapping, strict=False) if flag]


RECIPE: Final = Recipe(
    "celebv-hq", "CelebV-HQ", rows, annotations="celebvhq_info.json", licence="non-commercial research only"
)
