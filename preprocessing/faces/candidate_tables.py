"""What `face_tracks` writes of its videos: rows of candidates, facts of videos, and the counts of a batch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.archive import Place
from preprocessing.faces.candidates import Candidate
from preprocessing.table_schema import column, table_schema
from storage.atomic import PARTIAL_MARK
from storage.publishing import BuildReport

CANDIDATES_SCHEMA: Final = table_schema(
    column("key", pa.string(), "candidate's key: video, track, first frame"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("track", pa.int32(), "face track within the video"),
    column("shot", pa.int32(), "shot within the video"),
    column("first_frame", pa.int64(), "first frame on the 25 fps grid"),
    column("frames", pa.int32(), "number of frames"),
    column("minimum_frames", pa.int32(), "pieces shorter than this are too short"),
    column("offset_bytes", pa.int64(), "where the sample begins in candidates.tar; -1 where too short"),
    column("size_bytes", pa.int64(), "bytes of the sample in candidates.tar"),
    column("main_face", pa.bool_(), "no larger face is in the picture at the same time"),
    column("face_size_px", pa.float64(), "longer side of the face's box in the source, median, px"),
    column("largest_step", pa.float64(), "largest movement between neighbouring frames, face sizes"),
    column("outside_share", pa.float64(), "largest share of a crop beyond the picture that was kept"),
    column("refused", pa.string(), "why the pictures are not kept; empty if they are, or are too few"),
    column("repeated_share", pa.float64(), "share of frames whose face is that of the frame before"),
    column("standing_frames", pa.float64(), "longest run of such frames"),
    column("unread_frames", pa.float64(), "frames with a face beside it that is seen and cannot be tracked"),
    column("sharpness", pa.float64(), "variance of the crop's Laplacian, median"),
    column("brightness", pa.float64(), "mean grey level of the crop, 0 to 255, median"),
)

NUMBERS: Final = (
    "frames",
    "shots",
    "tracks",
    "candidates",
    "damaged_packets",
    "damaged_frames",
    "restamped_pictures",
    "parts",
)  # of video.json


def candidate_key(video_id: str, track: int, first_frame: int) -> str:
    """The key of a candidate, and of its clip."""
    return f"{video_id}-t{track:02d}-f{first_frame:07d}"


def candidate_row(
    key: str, video_id: str, candidate: Candidate, minimum_frames: int, place: Place
) -> dict[str, Any]:
    """The row of a candidate, of which `mark_main_faces` sets `main_face` once all of a video are known."""
    return {
        "key": key,
        "video_id": video_id,
        "track": candidate.track,
        "shot": candidate.shot,
        "first_frame": candidate.first_frame,
        "frames": candidate.frame_count,
        "minimum_frames": minimum_frames,
        **asdict(place),
        "main_face": True,
        "refused": candidate.refused,
        **candidate.scores,
    }


def mark_main_faces(rows: list[dict[str, Any]]) -> None:
    """Set `main_face` in the candidate rows of one video.

    Of the tracks in the picture at the same time, the larger face is the main one. Whole tracks are
    compared, not pieces: otherwise two people of similar size would swap from clip to clip, and each
    would be taken for the other.
    """
    spans: dict[int, _TrackSpan] = {}
    for row in rows:
        span = spans.setdefault(row["track"], _TrackSpan(row["first_frame"]))
        span.end_frame = max(span.end_frame, row["first_frame"] + row["frames"])
        span.first_frame = min(span.first_frame, row["first_frame"])
        span.size_px_frames += row["face_size_px"] * row["frames"]
        span.frames += row["frames"]
    for row in rows:
        end_frame, own = row["first_frame"] + row["frames"], spans[row["track"]]
        row["main_face"] = not any(
            other.first_frame < end_frame and row["first_frame"] < other.end_frame and other.outsizes(own)
            for other in spans.values()
        )


@dataclass
class _TrackSpan:
    first_frame: int
    end_frame: int = 0
    size_px_frames: float = 0.0
    frames: int = 0

    def outsizes(self, other: "_TrackSpan") -> bool:
        return self.size_px_frames / self.frames > other.size_px_frames / other.frames


def read_candidates(folder: Path) -> pa.Table:
    """All candidate rows of a batch, in the order of their keys."""
    paths = _files_of_complete_videos(folder, "candidates.parquet")
    tables = [pq.read_table(path, schema=CANDIDATES_SCHEMA) for path in paths]
    return pa.concat_tables(tables) if tables else CANDIDATES_SCHEMA.empty_table()


def read_video_facts(folder: Path) -> list[dict[str, Any]]:
    """The `video.json` of each video of a batch, in the order of their ids."""
    return [json.loads(path.read_text()) for path in _files_of_complete_videos(folder, "video.json")]


def _files_of_complete_videos(folder: Path, name: str) -> list[Path]:
    """This file of every video of a batch, except those that a worker may still be writing."""
    return sorted(path for path in folder.glob(f"*/{name}") if PARTIAL_MARK not in path.parent.name)


def report_of_batch(videos: int, folder: Path) -> BuildReport:
    """Counts of a batch of this many videos, and its refusals by reason."""
    facts = read_video_facts(folder)
    rows = read_candidates(folder)
    frames = np.asarray(rows["frames"], np.int64)
    written = np.asarray(rows["offset_bytes"], np.int64) >= 0
    refusals: dict[str, int] = {}
    for video in facts:
        if video["refused"]:
            refusals[video["refused"]] = refusals.get(video["refused"], 0) + 1
    counts = {
        "videos": videos,
        "frames": sum(video["frames"] for video in facts),
        "seconds_of_video": sum(video["seconds"] for video in facts),
        "shots": sum(video["shots"] for video in facts),
        "tracks": sum(video["tracks"] for video in facts),
        "candidates": int(written.sum()),
        "frames_in_candidates": int(frames[written].sum()),
        "frames_in_short_pieces": int(frames[~written].sum()),
        "damaged_packets": sum(video["damaged_packets"] for video in facts),
        "damaged_frames": sum(video["damaged_frames"] for video in facts),
        "restamped_pictures": sum(video["restamped_pictures"] for video in facts),
    }
    return BuildReport(counts=counts, refusals=refusals)
