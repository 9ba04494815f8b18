"""README.md of an exported data set: YAML front matter that `datasets.load_dataset` reads, then the card."""

from collections.abc import Mapping, Sequence
from typing import Final

DATA: Final = "data"
INDEX: Final = "index"
WHAT: Final[Mapping[str, str]] = {
    "anchors.tar": "eye anchors as JPEG, with `anchors.json`; empty if there are none",
    "audio.flac": "16 kHz mono, 640 samples a frame",
    "blendshapes.npy": "[T, 52] of MediaPipe's FaceLandmarker",
    "blink.npy": "[T, 2] image-left and image-right eye, 0 open to 1 shut",
    "coefficients.npy": "[T, 257] of Deep3DFaceRecon",
    "crop_transforms.npy": "[T, 2, 3] pixels of the source to pixels of the crop",
    "gaze.npy": "[T, 2] pitch, yaw in rad, head coordinates",
    "landmarks.npy": "[T, 478, 3] px of the crop",
    "margins.flac": "sound of the video before and after the clip",
    "mel.npy": "[M, 80] mel features",
    "meta.json": "source, identity, split, labellers and scores as lists of name and value",
    "pose.npy": "[T, 6] pitch, yaw, roll in rad; x, y, z",
    "speech.npy": "[T] probability of speech",
    "video.mp4": "T frames of 224 x 224 at 25 fps, Motion JPEG: those of training, byte for byte",
}
"""What each member holds."""
ARRAYS: Final[Mapping[str, int]] = {
    "blendshapes.npy": 2,
    "blink.npy": 2,
    "coefficients.npy": 2,
    "crop_transforms.npy": 3,
    "gaze.npy": 2,
    "landmarks.npy": 3,
    "mel.npy": 2,
    "pose.npy": 2,
    "speech.npy": 1,
}
"""Members that `datasets` decodes -> their number of dimensions; all are float32."""
META: Final[Mapping[str, str]] = {
    "schema_version": "int64",
    "identity": "string",
    "main_identity": "string",
    "split": "string",
    "video_id": "string",
    "relative_path": "string",
    "track": "int64",
    "first_frame": "int64",
    "frames": "int64",
    "anchors": "int64",
    "crop_mode": "string",
    "video_loudness": "float64",
    "annotations": "string",
}
"""Scalars of `meta.json` -> their type."""
PAIRS: Final[Mapping[str, str]] = {"labellers": "string", "scores": "float64"}
"""Lists of name and value in `meta.json` -> the value's type: names differ, columns may not."""
SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_readme(samples: Mapping[str, int], members: Sequence[str], card: str) -> str:
    """README.md: YAML front matter, how to load, and the data set's card without its loading section."""
    total = sum(samples.values())
    size = next((name for limit, name in SIZES if total < limit), "n>1M")
    files = [
        line
        for split in samples
        for line in (f"      - split: {split}", f"        path: {DATA}/{split}-*.tar")
    ]
    front = [
        "---",
        "pretty_name: Talking-head clips",
        "license: other",
        "license_name: terms-of-the-source-videos",
        "task_categories:",
        "  - image-to-video",
        "tags:",
        "  - talking-head",
        "  - webdataset",
        "size_categories:",
        f"  - {size}",
        "configs:",
        "  - config_name: default",
        "    data_files:",
        *files,
        "dataset_info:",
        "  features:",
        *(f"  {line}" for line in features_yaml(members)),
        "---",
    ]
    before, _, rest = card.partition("## Loading")
    _, heading, terms = rest.partition("## Terms")
    text = [line for line in before.splitlines() if not line.startswith("![")]  # pictures are not exported
    parts = ["\n".join(front), _loading(members), "\n".join(text).strip(), f"{heading}{terms}".strip()]
    return "\n\n".join(parts) + "\n"


def features_yaml(members: Sequence[str]) -> list[str]:
    """The features that `datasets` reads; files that are not arrays are bytes and need no decoder."""
    lines: list[str] = []
    for name in (*members, "__key__", "__url__"):
        lines.append(f"- name: {name}")
        if name in ARRAYS:
            depth = ARRAYS[name]
            lines += [f"{'  ' * level}list:" for level in range(1, depth)]
            lines.append(f"{'  ' * depth}list: float32")
        elif name == "meta.json":
            lines.append("  struct:")
            for field, kind in META.items():
                lines += [f"  - name: {field}", f"    dtype: {kind}"]
            for field, kind in PAIRS.items():
                lines += [f"  - name: {field}", "    list:"]
                lines += [
                    "    - name: name",
                    "      dtype: string",
                    "    - name: value",
                    f"      dtype: {kind}",
                ]
        else:
            lines.append(f"  dtype: {'string' if name.startswith('__') else 'binary'}")
    return lines


def _loading(members: Sequence[str]) -> str:
    names = "\n".join(f"- `{name}`: {WHAT[name]}" for name in members)
    return f"""\
## Loading

```python
from datasets import load_dataset
dataset = load_dataset("FOLDER_OR_REPOSITORY", split="train")
print(dataset[0]["meta.json"]["identity"], len(dataset[0]["pose.npy"]))
```

The index alone is `load_dataset("parquet", data_files="FOLDER/{INDEX}/*.parquet")`; tars are WebDataset's.
Pictures and sounds are bytes until asked for: `dataset.cast_column("audio.flac", Audio())`. Every sample has
these members:

{names}"""
