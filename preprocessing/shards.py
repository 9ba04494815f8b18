"""Encodes clips and samples as WebDataset members, and decodes them; the only module that names the members.

Members of a sample: `NNN.jpg` per frame, `audio.flac`, `margins.flac` (the video's sound before and after the
clip), `speech.npy` of the speech detector, `landmarks.npy`, `mel.npy`, `pose.npy`, `gaze.npy`, `blink.npy`,
`coefficients.npy` of Deep3D, `blendshapes.npy` of FaceLandmarker, `anchors.NN.jpg` (the composite) and
`anchors.NN.eyes.jpg` (the frame its eyes come from), `anchors.json`,
`meta.json`. No pickles.
"""

import io
import json
import math
import struct
import tokenize
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from preprocessing.schema import (
    FRAMES_BEFORE,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    SCHEMA_VERSION,
    Clip,
    ClipLabels,
    ClipSample,
    ClipSource,
    EyeAnchor,
    VideoSound,
)

_MAXIMUM_SAMPLES: Final = 2**20  # far more than a clip has, whose exact length the schema checks
_ARRAY_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# NumPy parses the header as Python, and lets the parser's errors pass.
_ARRAY_ERRORS: Final = (ValueError, EOFError, SyntaxError, TypeError, tokenize.TokenError, MemoryError)
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
_FIELD_ERRORS: Final = (
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    UnicodeDecodeError,
    json.JSONDecodeError,
)
_TWO_SHORTS: Final = struct.Struct(">HH")


def encode_clip(clip: Clip) -> dict[str, bytes]:
    """Encode a clip without labels."""
    source = clip.source
    meta = {
        "schema_version": SCHEMA_VERSION,
        "identity": clip.identity,
        "source": {
            "video_id": source.video_id,
            "relative_path": source.relative_path,
            "track": source.track,
            "first_frame": source.first_frame,
            "crop_mode": source.crop_mode,
            "crop_transforms": source.crop_transforms.tolist(),
        },
        "scores": clip.scores,
        "video_loudness": clip.video_sound.loudness,
    }
    members = {f"{number:03d}.jpg": jpeg for number, jpeg in enumerate(clip.frames_jpeg)}
    if clip.annotations:
        meta["annotations"] = clip.annotations
    if clip.speech is not None:
        members["speech.npy"] = encode_array(clip.speech)
    return members | {
        "audio.flac": encode_flac(clip.sound),
        "margins.flac": encode_flac(np.concatenate([clip.video_sound.before, clip.video_sound.after])),
        "landmarks.npy": encode_array(clip.landmarks_px),
        "meta.json": encode_json(meta),
    }


def encode_sample(sample: ClipSample) -> dict[str, bytes]:
    """Encode a whole sample."""
    labels = sample.labels
    members = encode_clip(sample.clip)
    meta = json.loads(members["meta.json"])
    meta |= {"labellers": labels.labellers, "lip_sync": labels.lip_sync}
    members |= {
        "meta.json": encode_json(meta),
        "mel.npy": encode_array(sample.mel),
        "pose.npy": encode_array(labels.pose),
        "gaze.npy": encode_array(labels.gaze),
        "blink.npy": encode_array(labels.blink),
        "anchors.json": encode_json([_anchor_facts(anchor) for anchor in sample.anchors]),
    }
    if labels.coefficients is not None:
        members["coefficients.npy"] = encode_array(labels.coefficients)
    if labels.blendshapes is not None:
        members["blendshapes.npy"] = encode_array(labels.blendshapes)
    for number, anchor in enumerate(sample.anchors):
        members[f"anchors.{number:02d}.jpg"] = anchor.composite_jpeg
        members[f"anchors.{number:02d}.eyes.jpg"] = anchor.eyes_jpeg
    return members


def decode_clip(key: str, members: Mapping[str, bytes]) -> Clip:
    """Decode the clip of a sample.

    Raises:
        ValueError: names the key and what is missing, out of range or of another schema version.
    """
    with _field_errors(key):
        return _decode_clip(key, members, _checked_meta(key, members))


def _decode_clip(key: str, members: Mapping[str, bytes], meta: Mapping[str, Any]) -> Clip:
    source = meta["source"]
    frames = sorted(name for name in members if name.endswith(".jpg") and name[:-4].isdigit())
    return Clip(
        key=key,
        identity=meta["identity"],
        source=ClipSource(
            video_id=source["video_id"],
            relative_path=source["relative_path"],
            track=source["track"],
            first_frame=source["first_frame"],
            crop_mode=source["crop_mode"],
            crop_transforms=np.asarray(source["crop_transforms"], np.float32),
        ),
        frames_jpeg=tuple(members[name] for name in frames),
        landmarks_px=decode_array(key, members, "landmarks.npy"),
        sound=decode_flac(key, members, "audio.flac"),
        video_sound=VideoSound(
            *np.split(decode_flac(key, members, "margins.flac"), [FRAMES_BEFORE * SAMPLES_PER_FRAME]),
            loudness=meta["video_loudness"],
        ),
        scores=meta["scores"],
        speech=_optional_array(key, members, "speech.npy"),
        annotations=meta.get("annotations", {}),
    )


def decode_sample(key: str, members: Mapping[str, bytes]) -> ClipSample:
    """Decode a whole sample. Raises as `decode_clip`."""
    with _field_errors(key):
        return _decode_sample(key, members, _checked_meta(key, members))


def _decode_sample(key: str, members: Mapping[str, bytes], meta: Mapping[str, Any]) -> ClipSample:
    labels = ClipLabels(
        pose=decode_array(key, members, "pose.npy"),
        gaze=decode_array(key, members, "gaze.npy"),
        blink=decode_array(key, members, "blink.npy"),
        lip_sync=meta["lip_sync"],
        labellers=meta["labellers"],
        coefficients=_optional_array(key, members, "coefficients.npy"),
        blendshapes=_optional_array(key, members, "blendshapes.npy"),
    )
    anchors = [
        EyeAnchor(
            **facts,
            composite_jpeg=_member(key, members, f"anchors.{number:02d}.jpg"),
            eyes_jpeg=_member(key, members, f"anchors.{number:02d}.eyes.jpg"),
        )
        for number, facts in enumerate(json.loads(_member(key, members, "anchors.json")))
    ]
    mel = decode_array(key, members, "mel.npy")
    return ClipSample(_decode_clip(key, members, meta), labels, mel, tuple(anchors))


def encode_array(array: NDArray[Any]) -> bytes:
    """Encode an array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def decode_array(key: str, members: Mapping[str, bytes], name: str) -> NDArray[np.float32]:
    """Decode a .npy member of any shape.

    Raises:
        ValueError: the member is missing, of another size than its header says, not float32, or a pickle
            (which is never loaded).
    """
    data = _member(key, members, name)
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = _ARRAY_HEADERS[version]
        shape, fortran_order, dtype = read_header(file)
    except (*_ARRAY_ERRORS, KeyError) as error:
        raise ValueError(f"{key}: member {name} is not a .npy file: {error}") from error
    if dtype != np.float32:
        raise ValueError(f"{key}: member {name} is {dtype}, need float32")
    # Compared before anything is allocated: a header may claim any shape.
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"{key}: member {name} has {len(data)} bytes, which is not float32{list(shape)}")
    values = np.frombuffer(data, dtype, offset=file.tell()).astype(np.float32)  # a copy that can be written
    return values.reshape(shape, order="F" if fortran_order else "C")


def _optional_array(key: str, members: Mapping[str, bytes], name: str) -> NDArray[np.float32] | None:
    return decode_array(key, members, name) if name in members else None


def encode_flac(sound: NDArray[np.float32]) -> bytes:
    """Encode mono sound in [-1, 1] at 16 kHz as 16-bit FLAC."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(key: str, members: Mapping[str, bytes], name: str) -> NDArray[np.float32]:
    """Decode a FLAC member to sound [N].

    Raises:
        ValueError: it is damaged, not mono at 16 kHz, or longer than a clip.
    """
    data = _member(key, members, name)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate_hz, channels, samples = file.samplerate, file.channels, file.frames
            if (rate_hz, channels) != (SAMPLE_RATE_HZ, 1) or not 0 <= samples <= _MAXIMUM_SAMPLES:
                raise ValueError(
                    f"{key}: member {name} has {samples} samples in {channels} channels at {rate_hz} Hz, "
                    f"need at most {_MAXIMUM_SAMPLES}, mono at {SAMPLE_RATE_HZ} Hz"
                )
            sound = file.read(dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{key}: member {name} cannot be read: {error}") from error
    if len(sound) != samples:
        raise ValueError(f"{key}: member {name} ends after {len(sound)} of {samples} samples")
    return np.asarray(sound, np.float32)


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels from the header of a JPEG file, which is not decoded.

    Raises:
        ValueError: it is not a JPEG file.
    """
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME_MARKERS:
            height, width = _TWO_SHORTS.unpack_from(data, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # 0xFF: padding
    raise ValueError(f"{len(data)} bytes are not a JPEG file")


def encode_json(value: object) -> bytes:
    """Encode as compact JSON with sorted keys: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _anchor_facts(anchor: EyeAnchor) -> dict[str, str | int | float]:
    return {
        "base_frame": anchor.base_frame,
        "eyes_key": anchor.eyes_key,
        "eyes_frame": anchor.eyes_frame,
        "eyes_identity": anchor.eyes_identity,
        "gaze_error_rad": anchor.gaze_error_rad,
        "blink_error": anchor.blink_error,
        "rest_error_px": anchor.rest_error_px,
    }


def _checked_meta(key: str, members: Mapping[str, bytes]) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(_member(key, members, "meta.json"))
    if meta["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{key}: schema version {meta['schema_version']}, this code reads {SCHEMA_VERSION}; "
            "build the shards again"
        )
    return meta


@contextmanager
def _field_errors(key: str) -> Generator[None, None, None]:
    """Turn errors of missing and wrong JSON fields into ValueErrors that name the sample."""
    try:
        yield
    except _FIELD_ERRORS as error:
        raise ValueError(f"{key}: missing or wrong field in meta.json or anchors.json: {error!r}") from error


def _member(key: str, members: Mapping[str, bytes], name: str) -> bytes:
    if name not in members:
        raise ValueError(f"{key}: member {name} is missing; the sample has {sorted(members)}")
    return members[name]
