"""Frames a second of the SyncNet chain, against computing the features a window at a time.

Random weights of the published layout: the figures do not depend on their values. Both ways get the same
decoded and squashed pictures and the same sound, in turn, in rounds; the best round of each counts. The
per-window way is the published program's: windows of five frames stacked in batches of 20, the layers as
they are, and MFCC windows likewise.

    python -m benchmarks.lip_sync_scoring VIDEO [--frames N] [--rounds N] [--threads N] [--json FILE]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measuring import Cost, cost_of, show, write_json
from evaluation.metrics.lip_sync.lse_syncnet_frame import squash
from evaluation.metrics.lip_sync.syncnet import SyncNetScorer
from models.external.syncnet import SyncNet
from preprocessing.audio.lip_sync_distance import distances_by_shift
from preprocessing.audio.mfcc import mfcc
from preprocessing.media.decoding import DecodeSettings, decode_sound, open_video

PUBLISHED_BATCH: Final = 20
Embedded = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Clip:
    """What both ways are given: frames [224, 224, 3] RGB and samples [N] at 16 kHz."""

    frames: list[NDArray[np.uint8]]
    samples: NDArray[np.float32]


def read_clip(video: Path, frame_count: int) -> Clip:
    """Squashed pictures and the sound, read once."""
    with open_video(video, DecodeSettings()) as decoded:
        frames = [squash(frame.image) for frame, _ in zip(decoded, range(frame_count), strict=False)]
    return Clip(frames, decode_sound(video, DecodeSettings())[: len(frames) * 640])


@torch.inference_mode()
def embed_by_window(network: SyncNet, clip: Clip, device: torch.device) -> Embedded:
    """The published way: every window cut out, stacked and run on its own."""
    pictures = torch.from_numpy(np.stack(clip.frames)[..., ::-1].astype(np.float32)).permute(3, 0, 1, 2)
    coefficients = torch.from_numpy(mfcc(clip.samples).T.astype(np.float32))
    count = min(len(clip.frames), len(clip.samples) // 640) - 5
    seen: list[torch.Tensor] = []
    heard: list[torch.Tensor] = []
    for start in range(0, count, PUBLISHED_BATCH):
        places = range(start, min(count, start + PUBLISHED_BATCH))
        windows = torch.stack([pictures[:, place : place + 5] for place in places])
        sounds = torch.stack([coefficients[None, :, 4 * place : 4 * place + 20] for place in places])
        seen.append(network.embed_video(windows.to(device)).cpu())
        heard.append(network.embed_sound(sounds.to(device)).cpu())
    return torch.cat(seen).numpy(), torch.cat(heard).numpy()


def largest_difference(one: Embedded, other: Embedded) -> float:
    """Of the mean distances by shift: what the figures are read from."""
    rows = min(len(one[0]), len(one[1]), len(other[0]), len(other[1]))
    curves = [distances_by_shift(video[:rows], sound[:rows]) for video, sound in (one, other)]
    return float(np.abs(curves[0] - curves[1]).max())


@click.command()
@click.argument("video", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--frames", default=60, show_default=True, help="How many of its frames.")
@click.option("--rounds", default=3, show_default=True, help="Of both ways, in turn.")
@click.option("--threads", default=1, show_default=True, help="torch's threads.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(video: Path, frames: int, rounds: int, threads: int, json_path: Path | None) -> None:
    """Compare the two ways on VIDEO."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    network = SyncNet().eval()
    scorer = SyncNetScorer(network, device)
    network.to(device)
    clip = read_clip(video, frames)
    warm = Clip(clip.frames[:10], clip.samples[:6400])
    for first in (warm, clip) if device.type == "cuda" else (warm,):
        embed_by_window(network, first, device)
        embed_clip(scorer, first)
    difference = largest_difference(embed_by_window(network, clip, device), embed_clip(scorer, clip))
    published: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(rounds):
        published.append(cost_of(lambda: embed_by_window(network, clip, device)))
        ours.append(cost_of(lambda: embed_clip(scorer, clip)))
    told = {
        "per window": best_rates(published, len(clip.frames)),
        "whole clip": best_rates(ours, len(clip.frames)),
    }
    ratios = [told["whole clip"][place] / told["per window"][place] for place in (0, 1)]
    rows = [[name, *rates] for name, rates in told.items()] + [["ratio", *ratios]]
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {threads} threads"
    show(f"SyncNet embeddings, {len(clip.frames)} frames, {where}", ["", "frames/s", "frames/CPU s"], rows)
    click.echo(f"largest difference of a mean distance: {difference:.1e}")
    rates = {name: {"wall": wall, "cpu": cpu} for name, (wall, cpu) in told.items()}
    ratio = {"wall": ratios[0], "cpu": ratios[1]}
    figures = {"frames_per_second": rates, "ratio": ratio, "largest_difference": difference}
    write_json(json_path, {**figures, "frames": len(clip.frames), "rounds": rounds, "where": where})


def embed_clip(scorer: SyncNetScorer, clip: Clip) -> Embedded:
    """Our way."""
    return scorer.embed_frames(clip.frames), scorer.embed_sound(clip.samples)


def best_rates(costs: list[Cost], frame_count: int) -> tuple[float, float]:
    """Frames a second of wall time and of CPU time, of the best round each."""
    wall, cpu = min(cost.wall_seconds for cost in costs), min(cost.cpu_seconds for cost in costs)
    return frame_count / wall, frame_count / cpu


if __name__ == "__main__":
    main()
