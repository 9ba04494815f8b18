"""The demo corpus's truth of the clips that an evaluation used, where it lies beside their sources."""

from collections.abc import Mapping
from pathlib import Path

from upath import UPath

from evaluation.generation.driving_clips import ClipReader
from evaluation.generation.files import GeneratedVideos
from evaluation.readings.demo_truth import true_readings, truth_path
from evaluation.readings.face import FaceReadings
from preprocessing.sources.stored_catalog import load_catalog
from training.data.index import open_current


def sources_with_truth(root: UPath, made: GeneratedVideos) -> dict[str, Path]:
    """Key of a clip -> its source video, for clips of the demo corpus; empty where truth of one is missing.

    Sources elsewhere, or a catalog of another machine, have none: that is no error.
    """
    catalog = load_catalog(root)
    if catalog is None:
        return {}
    columns = catalog.select(["video_id", "path", "status"]).to_pylist()
    paths = {row["video_id"]: Path(row["path"]) for row in columns if row["status"] == "accepted"}
    found = {key: paths.get(facts.video_id) for key, facts in made.facts.clips.items()}
    known = {key: path for key, path in found.items() if path is not None and truth_path(path).is_file()}
    return known if len(known) == len(found) else {}


def read_truth_of_clips(
    root: UPath, made: GeneratedVideos, sources: Mapping[str, Path]
) -> dict[str, FaceReadings]:
    """Truth by clip.

    Args:
        root: With the data set that the clips are of: it tells how each frame was cropped.
        made: The videos.
        sources: Of `sources_with_truth`.

    Raises:
        ValueError: a truth ends before its clip.
    """
    reader = ClipReader(open_current(root, made.plan.split))
    truths = {key: true_readings(reader.read(key).source, path) for key, path in sources.items()}
    return {key: truth for key, truth in truths.items() if truth is not None}
