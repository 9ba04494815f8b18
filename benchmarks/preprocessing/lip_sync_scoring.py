"""Frames per second of the SyncNet scorer on whole clips, compared with features window by window.

Random weights in the published layout: the results do not depend on their values. Both methods get the same
decoded and resized pictures and the same sound, alternating in rounds; the best round of each counts. The
window method is the published program's: windows of five frames stacked in batches of 20, and MFCC windows
likewise.

    python -m benchmarks.preprocessing.lip_sync_scoring VIDEO [--frames N] [--rounds N] [--threads N]
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
class DecodedInput:
    """Input of both methods: frames [224, 224, 3] RGB and samples [N] at 16 kHz."""

    frames: list[NDArray[np.uint8]]
    samples: NDArray[np.float32]


def read_clip(video: Path, frame_count: int) -> DecodedInput:
    """Resized pictures and the sound."""
    with open_video(video, DecodeSettings()) as decoded:
        frames = [squash(frame.image) for frame, _ in zip(decoded, range(frame_count), strict=False)]
    return DecodedInput(frames, decode_sound(video, DecodeSettings())[: len(frames) * 640])


@torch.inference_mode()
def embed_by_window(network: SyncNet, clip: DecodedInput, device: torch.device) -> Embedded:
    """The published method: every window is cut out, stacked and run."""
    pictures = torch.from_numpy(np.stack(clip.frames)[..., ::-1].astype(np.float32)).permute(3, 0, 1, 2)
    coefficients = torch.from_numpy(mfcc(clip.samples).T.astype(np.float32))
    count = min(len(clip.frames), len(clip.samples) // 640) - 5
    video: list[torch.Tensor] = []
    sound: list[torch.Tensor] = []
    for start in range(0, count, PUBLISHED_BATCH):
        places = range(start, min(count, start + PUBLISHED_BATCH))
        windows = torch.stack([pictures[:, place : place + 5] for place in places])
        sounds = torch.stack([coefficients[None, :, 4 * place : 4 * place + 20] for place in places])
        video.append(network.embed_video(windows.to(device)).cpu())
        sound.append(network.embed_sound(sounds.to(device)).cpu())
    return torch.cat(video).numpy(), torch.cat(sound).numpy()


def largest_difference(first: Embedded, second: Embedded) -> float:
    """Largest difference of the mean distances by shift, from which scores are computed."""
    rows = min(len(first[0]), len(first[1]), len(second[0]), len(second[1]))
    curves = [distances_by_shift(video[:rows], sound[:rows]) for video, sound in (first, second)]
    return float(np.abs(curves[0] - curves[1]).max())


@click.command()
@click.argument("video", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--frames", default=60, show_default=True, help="Frames of the video to use.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of both methods.")
@click.option("--threads", default=1, show_default=True, help="Number of torch threads.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(video: Path, frames: int, rounds: int, threads: int, json_path: Path | None) -> None:
    """Compare both methods on VIDEO."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    network = SyncNet().eval()
    scorer = SyncNetScorer(network, device)
    network.to(device)
    clip = read_clip(video, frames)
    warm = DecodedInput(clip.frames[:10], clip.samples[:6400])
    for first in (warm, clip) if device.type == "cuda" else (warm,):
        embed_by_window(network, first, device)
        embed_clip(scorer, first)
    difference = largest_difference(embed_by_window(network, clip, device), embed_clip(scorer, clip))
    published: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(rounds):
        published.append(cost_of(lambda: embed_by_window(network, clip, device)))
        ours.append(cost_of(lambda: embed_clip(scorer, clip)))
    best = {
        "per window": best_rates(published, len(clip.frames)),
        "whole clip": best_rates(ours, len(clip.frames)),
    }
    ratios = [best["whole clip"][place] / best["per window"][place] for place in (0, 1)]
    rows = [[name, *rates] for name, rates in best.items()] + [["ratio", *ratios]]
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {threads} threads"
    show(f"SyncNet embeddings, {len(clip.frames)} frames, {where}", ["", "frames/s", "frames/CPU s"], rows)
    click.echo(f"largest difference of a mean distance: {difference:.1e}")
    rates = {name: {"wall": wall, "cpu": cpu} for name, (wall, cpu) in best.items()}
    ratio = {"wall": ratios[0], "cpu": ratios[1]}
    results = {"frames_per_second": rates, "ratio": ratio, "largest_difference": difference}
    write_json(json_path, {**results, "frames": len(clip.frames), "rounds": rounds, "where": where})


def embed_clip(scorer: SyncNetScorer, clip: DecodedInput) -> Embedded:
    """Our method: the whole clip at once."""
    return scorer.embed_frames(clip.frames), scorer.embed_sound(clip.samples)


def best_rates(costs: list[Cost], frame_count: int) -> tuple[float, float]:
    """Frames per second of wall time and of CPU time, of the best round each."""
    wall, cpu = min(cost.wall_seconds for cost in costs), min(cost.cpu_seconds for cost in costs)
    return frame_count / wall, frame_count / cpu


if __name__ == "__main__":
    main()
