"""Videos scored one by one for lip sync, and told as a table or as JSON.

Scorers and protocols stand in explicit tables below; adding one is one file and one line. Scorers import
torch when they are loaded, not when this module is imported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from evaluation.metrics.lip_sync import lse_crop, lse_syncnet_frame, lse_syncnet_track
from evaluation.metrics.lip_sync.distance import LipSyncScore, LipSyncScorer, NotScored
from weights.resolve import resolve_weights

Protocol = Callable[[Path, LipSyncScorer], LipSyncScore | NotScored]

PROTOCOLS: Final[Mapping[str, Protocol]] = {
    lse_syncnet_frame.PROTOCOL: lse_syncnet_frame.score_whole_frames,
    lse_syncnet_track.PROTOCOL: lse_syncnet_track.score_face_track,
    lse_crop.PROTOCOL: lse_crop.score_crop_video,
}


@dataclass(frozen=True)
class ScorerKind:
    """How a scorer is made, and what it may be shown.

    load: makes it of what `weights` names.
    weights: what that is.
    protocols: those of `PROTOCOLS` that it is scored by; with another its figures would mean nothing, or
        bear a second name.
    """

    load: Callable[[Path], LipSyncScorer]
    weights: str
    protocols: tuple[str, ...]


def _load_syncnet(weights: Path) -> LipSyncScorer:
    from evaluation.metrics.lip_sync.syncnet import load_syncnet_scorer

    file = resolve_weights(str(weights), "syncnet_weights")
    assert file is not None  # a path is never empty
    return load_syncnet_scorer(file.path)


def _load_lip_encoders(run: Path) -> LipSyncScorer:
    from evaluation.metrics.lip_sync.lip_encoders import load_named_lip_encoders

    return load_named_lip_encoders(run)


SCORERS: Final[Mapping[str, ScorerKind]] = {
    # Of aligned crops SyncNet's `crop` would be its `frame`: there is one name for it.
    "syncnet_v2": ScorerKind(
        _load_syncnet,
        "its weights, which are not part of pdfgc: --weights syncnet_v2 (of pdfgc weights), or FILE",
        (lse_syncnet_frame.PROTOCOL, lse_syncnet_track.PROTOCOL),
    ),
    "lip_encoders": ScorerKind(
        _load_lip_encoders,
        "a run that has trained stage2_lip: --weights RUN, or ROOT/RUN",
        (lse_crop.PROTOCOL,),
    ),
}


@dataclass(frozen=True)
class ScoredVideo:
    """A video and its score."""

    video: Path
    score: LipSyncScore | NotScored


def score_videos(
    videos: Sequence[Path], scorer: str, weights: Path | None, protocol: str
) -> list[ScoredVideo]:
    """Score videos, one after the other; one that cannot be scored has its reason instead.

    Args:
        videos: At least one.
        scorer: One of `SCORERS`.
        weights: What the scorer is made of: a weights file or its name in the list, or a run.
        protocol: One of `PROTOCOLS` that the scorer is scored by.

    Raises:
        FileNotFoundError: a video or the weights file is not there; told before anything is scored.
        ValueError: an unknown name, a protocol that is not the scorer's, or weights that are not its own.
    """
    for name, known in ((scorer, SCORERS), (protocol, PROTOCOLS)):
        if name not in known:
            raise ValueError(f"no {name!r}; there are {', '.join(known)}")
    kind = SCORERS[scorer]
    if protocol not in kind.protocols:
        known = " or ".join(kind.protocols)
        raise ValueError(f"{scorer} is scored by protocol {known}, not by {protocol}")
    if weights is None:
        raise ValueError(f"{scorer} needs {kind.weights}")
    for video in videos:
        if not video.is_file():
            raise FileNotFoundError(f"no video at {video}")
    loaded = kind.load(weights)
    return [ScoredVideo(video, PROTOCOLS[protocol](video, loaded)) for video in videos]


def require_one_scored(rows: Sequence[ScoredVideo]) -> None:
    """Hold that at least one video was scored.

    Raises:
        ValueError: none was; the message has a line a video.
    """
    refused = [(row.video, row.score) for row in rows if isinstance(row.score, NotScored)]
    if len(refused) == len(rows):
        lines = [f"{video}: not scored: {score.reason}: {score.detail}" for video, score in refused]
        raise ValueError("\n".join(lines))


def as_json_text(rows: Sequence[ScoredVideo]) -> str:
    """One object a video: its figures, or `reason` and `detail`."""
    return json.dumps([{"video": str(row.video), **asdict(row.score)} for row in rows], indent=1)


def print_scores(rows: Sequence[ScoredVideo], console: Console) -> None:
    """Print the figures, a row a video, their means, and below each video's distances by shift."""
    kind = rows[0].score
    table = Table(title=f"Lip sync by {kind.scorer}, protocol {kind.protocol}")
    for name in ("video", "LSE-C", "LSE-D", "offset", "frames"):
        table.add_column(name, justify="left" if name == "video" else "right", overflow="fold")
    scored = [(row.video, row.score) for row in rows if isinstance(row.score, LipSyncScore)]
    for row in rows:
        table.add_row(row.video.name, *_cells(row.score))
    if len(scored) > 1:
        means = np.mean([(score.lse_c, score.lse_d) for _, score in scored], axis=0)
        table.add_section()
        table.add_row(f"mean of {len(scored)}", f"{means[0]:.3f}", f"{means[1]:.3f}", "", "")
    console.print(table)
    for row in rows:
        if isinstance(row.score, NotScored):
            console.print(f"{row.video.name}: not scored: {row.score.detail}", markup=False, highlight=False)
    for video, score in scored:
        told = " ".join(f"{distance:.3f}" for distance in score.distances_by_shift)
        console.print(f"{video.name}: distance at shifts -15 to 15: {told}", markup=False, highlight=False)


def _cells(score: LipSyncScore | NotScored) -> list[str]:
    if isinstance(score, NotScored):
        return ["-", "-", "-", f"not scored: {score.reason}"]
    return [f"{score.lse_c:.3f}", f"{score.lse_d:.3f}", f"{score.offset_frames:+d}", str(score.frames)]
