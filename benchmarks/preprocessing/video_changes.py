"""What cameras, recorders, converters and networks do to a video, each as a function that writes a file.

Every function takes a source, another one of another person, the target without its ending, and a random
generator; it returns the file and by how much its sound is later than its picture than in the source.
"""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np

from preprocessing.media.encoding import find_ffmpeg

X264: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-pix_fmt", "yuv420p")
AAC: Final = ("-c:a", "aac", "-b:a", "96k")
MPEG2: Final = ("-c:v", "mpeg2video", "-b:v", "3M", "-bf", "2", "-c:a", "mp2")
BOTH: Final = ("-map", "0:v", "-map", "1:a")


@dataclass(frozen=True)
class Changed:
    """A file, and what is known of it."""

    path: Path
    sound_later_seconds: float = 0.0


Change = Callable[[Path, Path, Path, np.random.Generator], Changed]


def run(path: Path, *arguments: str | Path, inputs: Sequence[Sequence[str | Path]]) -> Changed:
    """Write `path` with the ffmpeg program, whose inputs are options and a file each."""
    options = [str(each) for one in inputs for each in (*one[:-1], "-i", one[-1])]
    command = [find_ffmpeg(), "-v", "error", "-y", *options, *map(str, arguments), "-shortest", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return Changed(path)


def filtered(video: str = "null", sound: str = "anull", *options: str, ending: str = "mp4") -> Change:
    """A change by filters and options of ffmpeg."""

    def write(source: Path, _: Path, target: Path, rng: np.random.Generator) -> Changed:
        del rng
        codecs = () if "-c:v" in options else X264
        path = target.with_suffix(f".{ending}")
        sounds = () if "-c:a" in options else AAC
        return run(path, "-vf", video, "-af", sound, *codecs, *sounds, *options, inputs=[[source]])

    return write


def sounds_of(*order: str) -> Change:
    """Several sound streams: `own`, `dub` or `silent`; the one in capitals is marked as default."""

    def write(source: Path, other: Path, target: Path, rng: np.random.Generator) -> Changed:
        del rng
        silence = "anullsrc=r=48000:cl=stereo:d=2.9"
        inputs = [[source], [other], ["-f", "lavfi", silence]]
        places = {"own": "0:a", "dub": "1:a", "silent": "2:a"}
        maps = [each for name in order for each in ("-map", places[name.lower()])]
        marks = [
            each
            for number, name in enumerate(order)
            for each in (f"-disposition:a:{number}", "default" if name.isupper() else "0")
        ]
        path = target.with_suffix(".mkv")
        return run(path, "-map", "0:v", *maps, "-c:v", "copy", *AAC, *marks, inputs=inputs)

    return write


def delayed(which: str, ending: str) -> Change:
    """Sound or picture that begins late, by up to 1.2 s."""

    def write(source: Path, _: Path, target: Path, rng: np.random.Generator) -> Changed:
        seconds = round(float(rng.uniform(0.1, 1.2)), 2)
        offset = ["-itsoffset", str(seconds)]
        inputs = [[source], [*offset, source]] if which == "sound" else [[*offset, source], [source]]
        codecs = (*MPEG2,) if ending == "mpg" else ("-c:v", "copy", *AAC)
        run(target.with_suffix(f".{ending}"), *BOTH, *codecs, inputs=inputs)
        return Changed(target.with_suffix(f".{ending}"), seconds if which == "sound" else -seconds)

    return write


def joined(ending: str) -> Change:
    """Two people's files one behind the other, as `cat` joins them: time stamps begin again."""

    def write(source: Path, other: Path, target: Path, rng: np.random.Generator) -> Changed:
        del rng
        codecs = MPEG2 if ending == "mpg" else (*X264, "-bf", "2", *AAC)
        parts = [target.with_suffix(f".{number}.{ending}") for number in range(2)]
        for part, video in zip(parts, (source, other), strict=True):
            run(part, *codecs, inputs=[[video]])
        path = target.with_suffix(f".{ending}")
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        for part in parts:
            part.unlink()
        return Changed(path)

    return write


def restamped(source: Path, _: Path, target: Path, rng: np.random.Generator) -> Changed:
    """Swap time stamps of neighbouring pictures, or shake all of them."""
    path, swaps = target.with_suffix(".mkv"), bool(rng.integers(2))
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        streams = {each.index: written.add_stream_from_template(each) for each in read.streams}
        packets = [packet for packet in read.demux() if packet.dts is not None]
        pictures = [packet for packet in packets if packet.stream.type == "video"]
        for number in range(0, len(pictures) - 1, 2):
            first, second = pictures[number], pictures[number + 1]
            if swaps and rng.random() < 0.3:
                first.pts, second.pts = second.pts, first.pts
            elif not swaps and first.pts is not None and first.duration is not None:
                first.pts += int(first.duration * rng.uniform(-0.3, 0.3))
        for packet in packets:
            assert packet.time_base is not None
            packet.pts = (packet.pts or 0) + int(
                0.4 / packet.time_base
            )  # no stamp may precede the decoding's
            packet.stream = streams[packet.stream.index]
            written.mux(packet)
    return Changed(path)


def turned(degrees: int, *, is_mirrored: bool = False) -> Change:
    """A matrix that turns (or mirrors) the picture, whose pixels are turned the other way."""

    def write(source: Path, _: Path, target: Path, rng: np.random.Generator) -> Changed:
        del rng
        pixels = {0: "null", 90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}[degrees]
        stored = target.with_suffix(".stored.mp4")
        mirror = "hflip," if is_mirrored else ""
        run(stored, "-vf", mirror + pixels, *X264, *AAC, inputs=[[source]])
        path = target.with_suffix(".mov" if is_mirrored else ".mp4")
        options = ["-display_hflip"] if is_mirrored else []
        run(path, "-c", "copy", inputs=[["-display_rotation", str(degrees), *options, stored]])
        stored.unlink()
        return Changed(path)

    return write


def damaged(how: str, ending: str, *codecs: str) -> Change:
    """Bytes changed, zeroed or cut off, or transport packets lost."""

    def write(source: Path, _: Path, target: Path, rng: np.random.Generator) -> Changed:
        path = target.with_suffix(f".{ending}")
        run(path, *(codecs or (*X264, "-bf", "2", *AAC)), inputs=[[source]])
        data = np.frombuffer(path.read_bytes(), np.uint8).copy()
        first, end = len(data) // 20, len(data) - len(data) // 20  # most headers stay
        if how == "bits":
            places = rng.integers(first, end, int(2 ** rng.uniform(0, 7)))
            data[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
        elif how == "zeros":
            start, size = int(rng.integers(first, end)), int(2 ** rng.uniform(6, 14))
            data[start : start + size] = 0
        elif how == "cut":
            data = data[: int(len(data) * rng.uniform(0.4, 0.95))]
        elif how == "packets":
            packets = data[: len(data) // 188 * 188].reshape(-1, 188)
            is_kept = rng.random(len(packets)) > 2 ** rng.uniform(-9, -5)
            is_kept[:8] = True
            data = packets[is_kept].ravel()
        path.write_bytes(data.tobytes())
        return Changed(path)

    return write


def together(layout: str) -> Change:
    """The source and another person in one picture, with the sound of the source."""

    def write(source: Path, other: Path, target: Path, rng: np.random.Generator) -> Changed:
        seconds = float(rng.uniform(1.1, 1.8))
        alike = "scale=480:360,setsar=1,fps=25,settb=1/25"
        same = f"[0:v]{alike}[a];[1:v]{alike}[b];"
        graph = {
            "beside": "[a][b]hstack",
            "behind": "[b][a]hstack",
            "corner": "[b]scale=200:150[c];[a][c]overlay=270:10",
            "dissolve": f"[a][b]xfade=transition=fade:duration=0.6:offset={seconds:.2f}",
            "cut": f"[a]trim=end={seconds:.2f}[d];"
            f"[b]trim=start={seconds:.2f},setpts=PTS-STARTPTS[e];[d][e]concat",
        }[layout]
        options = ("-filter_complex", f"{same}{graph}[v]", "-map", "[v]", "-map", "0:a")
        return run(target.with_suffix(".mp4"), *options, *X264, *AAC, inputs=[[source], [other]])

    return write


def _frozen(source: Path, other: Path, target: Path, rng: np.random.Generator) -> Changed:
    start = int(rng.integers(5, 30))
    graph = f"loop=loop={int(rng.integers(10, 30))}:size=1:start={start},trim=end_frame=75"
    return filtered(graph)(source, other, target, rng)


def _with_cover(source: Path, other: Path, target: Path, rng: np.random.Generator) -> Changed:
    del rng
    cover = target.with_suffix(".png")
    run(cover, "-frames:v", "1", inputs=[[other]])
    marks = ("-disposition:v:0", "attached_pic")
    maps = ("-map", "1:v", "-map", "0:v", "-map", "0:a")
    codecs = ("-c:v:0", "png", "-c:v:1", "copy", *AAC)
    changed = run(target.with_suffix(".mp4"), *maps, *codecs, *marks, inputs=[[source], [cover]])
    cover.unlink()
    return changed


def _second_video(source: Path, other: Path, target: Path, rng: np.random.Generator) -> Changed:
    del rng
    marks = ("-disposition:v:0", "0", "-disposition:v:1", "default")
    maps = ("-map", "1:v", "-map", "0:v", "-map", "0:a")
    return run(target.with_suffix(".mkv"), *maps, "-c:v", "copy", *AAC, *marks, inputs=[[source], [other]])


def _hdr(transfer: str) -> Change:
    zscale = (
        f"zscale=tin=bt709:min=bt709:pin=bt709:rin=tv:t={transfer}:m=bt2020nc:p=bt2020:r=tv:npl=203,"
        "format=yuv420p10le"
    )
    tags = ("-color_trc", transfer, "-color_primaries", "bt2020", "-colorspace", "bt2020nc")
    codec = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", "16", "-x265-params", "log-level=none")
    return filtered(zscale, "anull", *codec, *tags, ending="mov")


BT601: Final = ("-colorspace", "smpte170m", "-color_primaries", "smpte170m")
AVI: Final = ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2", "-c:a", "mp3")
CHANGES: Final[Mapping[str, Mapping[str, Change]]] = {
    "streams": {
        "silent first": sounds_of("silent", "own"),
        "silent default": sounds_of("SILENT", "own"),
        "dub first": sounds_of("dub", "OWN"),
        "dub second": sounds_of("own", "dub"),
        "cover first": _with_cover,
        "second video default": _second_video,
        "out of phase": filtered("null", "aformat=channel_layouts=mono,pan=stereo|c0=c0|c1=-1*c0"),
        "one channel": filtered("null", "aformat=channel_layouts=mono,pan=stereo|c0=0*c0|c1=c0"),
        "5.1, centre": filtered("null", "aformat=channel_layouts=mono,pan=5.1|FC=c0"),
    },
    "time stamps": {
        "AVI with B-frames": filtered("null", "anull", *AVI, ending="avi"),
        "joined mpg": joined("mpg"),
        "joined ts": joined("ts"),
        "swapped or shaken": restamped,
        "sound late mkv": delayed("sound", "mkv"),
        "sound late mp4": delayed("sound", "mp4"),
        "picture late mkv": delayed("picture", "mkv"),
        "picture late ts": delayed("picture", "ts"),
        "sound late mpg": delayed("sound", "mpg"),
        "24 fps": filtered("fps=24"),
        "29.97 fps": filtered("fps=30000/1001"),
        "50 fps": filtered("fps=50", ending="mkv"),
        "pictures dropped": filtered("select='gt(random(1)\\,0.25)'", "anull", "-fps_mode", "vfr"),
        "6 fps": filtered("fps=6,fps=25"),
        "frozen": _frozen,
    },
    "rotation": {
        "90": turned(90),
        "180": turned(180),
        "270": turned(270),
        "mirrored": turned(0, is_mirrored=True),
        "upside down": filtered("hflip,vflip"),
        "sideways": filtered("transpose=clock"),
        "tilted": filtered("rotate=0.4:fillcolor=gray"),
    },
    "colour": {
        "full range": filtered("scale=out_range=pc", "anull", "-color_range", "pc"),
        "BT.601": filtered("scale=out_color_matrix=bt601", "anull", *BT601),
        "HLG": _hdr("arib-std-b67"),
        "PQ": _hdr("smpte2084"),
        "10 bit": filtered("format=yuv420p10le", "anull", "-pix_fmt", "yuv420p10le"),
        "4:4:4": filtered("format=yuv444p", "anull", "-pix_fmt", "yuv444p"),
        "grey": filtered("format=gray,format=yuv420p"),
        "RGB": filtered("null", "anull", "-c:v", "libx264rgb", "-preset", "ultrafast", ending="mkv"),
    },
    "damage": {
        **{f"bits {ending}": damaged("bits", ending) for ending in ("mp4", "mkv", "ts", "mov", "flv")},
        **{f"{how} mpg": damaged(how, "mpg", *MPEG2) for how in ("bits", "zeros")},
        "bits avi": damaged("bits", "avi", *AVI),
        "zeros mp4": damaged("zeros", "mp4"),
        "packets ts": damaged("packets", "ts"),
        "packets MPEG-2 ts": damaged("packets", "ts", *MPEG2),
        "packets, intra refresh": damaged("packets", "ts", *X264, "-x264-params", "intra-refresh=1", *AAC),
        "cut mkv": damaged("cut", "mkv"),
        "cut ts": damaged("cut", "ts"),
    },
    "people": {each: together(each) for each in ("beside", "behind", "corner", "dissolve", "cut")},
}  # fmt: skip
