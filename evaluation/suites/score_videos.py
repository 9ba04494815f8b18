"""Score single videos for lip sync: the command `pdfgc score`.

Scorers and protocols are listed in the tables below. Scorers import torch when they are loaded, not when this
module is imported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.metrics.lip_sync import lse_crop, lse_syncnet_frame, lse_syncnet_track
from evaluation.metrics.lip_sync.distance import LipSyncScore, LipSyncScorer, NotScored
from storage.printable import printable
from weights.resolve import resolve_weights

Protocol = Callable[[Path, LipSyncScorer], LipSyncScore | NotScored]

PROTOCOLS: Final[Mapping[str, Protocol]] = {
    lse_syncnet_frame.PROTOCOL: lse_syncnet_frame.score_whole_frames,
    lse_syncnet_track.PROTOCOL: lse_syncnet_track.score_face_track,
    lse_crop.PROTOCOL: lse_crop.score_crop_video,
}


@dataclass(frozen=True)
class ScorerKind:
    """How a scorer is loaded and by which protocols it may score.

    Attributes:
        load: Loads it from what the option `--weights` names.
        weights: What that is, for error messages.
        protocols: Names of `PROTOCOLS`. By others its values would mean nothing or have two names.
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
        "pretrained weights: --weights syncnet_v2 (see pdfgc weights list) or --weights FILE",
        (lse_syncnet_frame.PROTOCOL, lse_syncnet_track.PROTOCOL),
    ),
    "lip_encoders": ScorerKind(
        _load_lip_encoders,
        "a run that has trained stage2_lip: --weights RUN or --weights ROOT/RUN",
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
    """Score videos one after the other; a video that cannot be scored has the reason instead.

    Args:
        videos: At least one.
        scorer: One of `SCORERS`.
        weights: Of the scorer: a file, a name of `pdfgc weights`, or a run.
        protocol: One of the scorer's protocols.

    Raises:
        FileNotFoundError: a video or the weights file does not exist; raised before anything is scored.
        ValueError: an unknown name, a protocol that is not the scorer's, or weights of another network.
    """
    for name, known in ((scorer, SCORERS), (protocol, PROTOCOLS)):
        if name not in known:
            raise ValueError(f"{name!r} does not exist, choose from {', '.join(known)}")
    kind = SCORERS[scorer]
    if protocol not in kind.protocols:
        known = " or ".join(kind.protocols)
        raise ValueError(f"{scorer} scores by protocol {known}, not by {protocol}")
    if weights is None:
        raise ValueError(f"{scorer} needs {kind.weights}")
    for video in videos:
        if not video.is_file():
            raise FileNotFoundError(f"no video at {video}")
    loaded = kind.load(weights)
    return [ScoredVideo(video, PROTOCOLS[protocol](video, loaded)) for video in videos]


def require_one_scored(videos: Sequence[ScoredVideo]) -> None:
    """Check that at least one video was scored.

    Raises:
        ValueError: none was; names every video with its reason.
    """
    refused = [(scored.video, scored.score) for scored in videos if isinstance(scored.score, NotScored)]
    if len(refused) == len(videos):
        reasons = [f"{video}: not scored: {score.reason}: {score.detail}" for video, score in refused]
        raise ValueError("; ".join(reasons))


def as_json_text(videos: Sequence[ScoredVideo]) -> str:
    """JSON list of one object for each video: its score, or `reason` and `detail`."""
    return json.dumps([{"video": str(scored.video), **asdict(scored.score)} for scored in videos], indent=1)


def print_scores(videos: Sequence[ScoredVideo], console: Console) -> None:
    """Print a table of scores with their means, then each video's distances by shift."""
    first = videos[0].score
    table = Table(title=f"Lip sync by {first.scorer}, protocol {first.protocol}")
    for name in ("video", "LSE-C", "LSE-D", "offset", "frames"):
        table.add_column(name, justify="left" if name == "video" else "right", overflow="fold")
    for scored in videos:
        table.add_row(Text(printable(scored.video.name)), *_cells(scored.score))
    scores = [(scored.video, scored.score) for scored in videos if isinstance(scored.score, LipSyncScore)]
    if len(scores) > 1:
        means = np.mean([(score.lse_c, score.lse_d) for _, score in scores], axis=0)
        table.add_section()
        table.add_row(f"mean of {len(scores)}", f"{means[0]:.3f}", f"{means[1]:.3f}", "", "")
    console.print(table)
    for scored in videos:
        if isinstance(scored.score, NotScored):
            line = printable(f"{scored.video.name}: not scored: {scored.score.detail}")
            console.print(line, markup=False, highlight=False)
    for video, score in scores:
        distances = " ".join(f"{distance:.3f}" for distance in score.distances_by_shift)
        console.print(
            f"{printable(video.name)}: distance at shifts -15 to 15: {distances}",
            markup=False,
            highlight=False,
        )


def _cells(score: LipSyncScore | NotScored) -> list[str]:
    if isinstance(score, NotScored):
        return ["-", "-", "-", f"not scored: {score.reason}"]
    return [f"{score.lse_c:.3f}", f"{score.lse_d:.3f}", f"{score.offset_frames:+d}", str(score.frames)]
