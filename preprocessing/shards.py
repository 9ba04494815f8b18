"""Encodes clips and samples as WebDataset members, and decodes them; the only module that names the members.

Members of a sample: `NNN.jpg` per frame, `audio.flac`, `margins.flac` (the video's sound before and after the
clip), `speech.npy` of the speech detector, `landmarks.npy`, `mel.npy`, `pose.npy`, `gaze.npy`, `blink.npy`,
`coefficients.npy` of Deep3D, `blendshapes.npy` of FaceLandmarker, `anchors.NN.jpg` (the composite) and
`anchors.NN.eyes.jpg` (the frame its eyes come from), `anchors.json`,
`meta.json`. No pickles.
"""

import io
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

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
        ValueError: the member is missing, truncated, not float32, or a pickle (which is never loaded).
    """
    data = io.BytesIO(_member(key, members, name))
    try:
        array = np.lib.format.read_array(data, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{key}: member {name} is not a .npy file: {error}") from error
    if array.dtype != np.float32:
        raise ValueError(f"{key}: member {name} is {array.dtype}, need float32")
    return cast("NDArray[np.float32]", array)


def _optional_array(key: str, members: Mapping[str, bytes], name: str) -> NDArray[np.float32] | None:
    return decode_array(key, members, name) if name in members else None


def encode_flac(sound: NDArray[np.float32]) -> bytes:
    """Encode mono sound in [-1, 1] at 16 kHz as 16-bit FLAC."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(key: str, members: Mapping[str, bytes], name: str) -> NDArray[np.float32]:
    """Decode a FLAC member to sound [N]; raises ValueError if it is damaged or not mono at 16 kHz."""
    data = _member(key, members, name)
    try:
        sound, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{key}: member {name} cannot be read: {error}") from error
    if rate_hz != SAMPLE_RATE_HZ or sound.ndim != 1:
        raise ValueError(f"{key}: sound is {rate_hz} Hz {sound.shape}, need mono at {SAMPLE_RATE_HZ} Hz")
    return np.asarray(sound, np.float32)


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
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{key}: missing or wrong field in meta.json or anchors.json: {error!r}") from error


def _member(key: str, members: Mapping[str, bytes], name: str) -> bytes:
    if name not in members:
        raise ValueError(f"{key}: member {name} is missing; the sample has {sorted(members)}")
    return members[name]
