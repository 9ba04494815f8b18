"""Labels of a batch's frames as Parquet tables: one row a frame, one file a label."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from preprocessing.labellers.face_landmarker import BLENDSHAPES
from preprocessing.schema import COEFFICIENT_COUNT
from preprocessing.table_schema import column, table_schema

LABELS_TABLE: Final = "labels.parquet"

KEY_COLUMNS: Final = (
    column("key", pa.string(), "clip's key"),
    column("frame", pa.int32(), "frame within the clip"),
)
POSE_SCHEMA: Final = table_schema(
    *KEY_COLUMNS,
    column("pitch_rad", pa.float32(), "head pitch; positive looks down"),
    column("yaw_rad", pa.float32(), "head yaw; positive looks to the image's right"),
    column("roll_rad", pa.float32(), "head roll; positive turns counter-clockwise in the image"),
    column("x_cm", pa.float32(), "head's place, to the image's right of the crop camera's axis"),
    column("y_cm", pa.float32(), "head's place, above the crop camera's axis"),
    column("z_cm", pa.float32(), "head's place, nearer to the camera than the reference distance"),
    column("residual_px", pa.float32(), "how far the fitted mean face lies from the landmarks"),
)
GAZE_SCHEMA: Final = table_schema(
    *KEY_COLUMNS,
    column("pitch_rad", pa.float32(), "gaze pitch in the head; positive looks down"),
    column("yaw_rad", pa.float32(), "gaze yaw in the head; positive looks to the image's right"),
    column("blink_left", pa.float32(), "image-left eye: 0 open to 1 shut, for this person"),
    column("blink_right", pa.float32(), "image-right eye: 0 open to 1 shut, for this person"),
    column("valid", pa.bool_(), "the gaze was seen, not bridged over a blink"),
)
IRIS_SCHEMA: Final = table_schema(
    *KEY_COLUMNS, *(GAZE_SCHEMA.field(name) for name in ("pitch_rad", "yaw_rad"))
)
COEFFICIENTS_TABLE: Final = "coefficients.parquet"
COEFFICIENTS_SCHEMA: Final = table_schema(
    *KEY_COLUMNS,
    column(
        "coefficients",
        pa.list_(pa.float32(), COEFFICIENT_COUNT),
        "Deep3DFaceRecon's 257: identity 80, expression 64, texture 80, angles 3, lighting 27, translation 3",
    ),
)
BLENDSHAPES_TABLE: Final = "blendshapes.parquet"
BLENDSHAPES_SCHEMA: Final = table_schema(
    *KEY_COLUMNS,
    *(column(name, pa.float32(), "0 to 1; NaN: no face was found in the frame") for name in BLENDSHAPES),
)


def write_labels(
    folder: Path,
    schema: pa.Schema,
    labels: Mapping[str, Mapping[str, NDArray[np.generic]]],
    table_name: str = LABELS_TABLE,
) -> None:
    """Write a label table.

    Args:
        folder: where.
        schema: `POSE_SCHEMA`, `GAZE_SCHEMA` or another with a row a frame.
        labels: by clip key, then by column name: [T] arrays, [T, N] for a column of lists.
        table_name: file name.
    """
    tables = []
    for key in sorted(labels):
        columns = labels[key]
        frames = len(next(iter(columns.values())))
        values = {"key": [key] * frames, "frame": np.arange(frames, dtype=np.int32), **columns}
        values = {name: _column(value) for name, value in values.items()}
        tables.append(pa.table({name: values[name] for name in schema.names}, schema=schema))
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    pq.write_table(table, folder / table_name)


def _column(values: Any) -> Any:
    """A [T, N] array as a column of lists; all else as it is."""
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return values


def read_coefficients(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Deep3D's coefficients by clip key, [T, 257] in frame order; {} where it did not run."""
    path = folder / COEFFICIENTS_TABLE
    if not path.is_file():
        return {}
    table = pq.read_table(path, schema=COEFFICIENTS_SCHEMA)
    flat = table["coefficients"].combine_chunks().flatten().to_numpy()
    return _by_clip(table["key"].to_numpy(), flat.reshape(-1, COEFFICIENT_COUNT))


def read_blendshapes(folder: Path) -> dict[str, NDArray[np.float32]]:
    """FaceLandmarker's blendshapes by clip key, [T, 52] in frame order; {} where it did not run."""
    if not (folder / BLENDSHAPES_TABLE).is_file():
        return {}
    return read_labels(folder, BLENDSHAPES, BLENDSHAPES_TABLE)


def read_labels(
    folder: Path, names: tuple[str, ...], table_name: str = LABELS_TABLE
) -> dict[str, NDArray[np.float32]]:
    """Labels by clip key: [T, len(names)] float32, in frame order."""
    table = pq.read_table(folder / table_name, columns=["key", *names])
    keys = table["key"].to_numpy()
    values = np.stack([table[name].to_numpy().astype(np.float32) for name in names], axis=1)
    return _by_clip(keys, values)


def _by_clip(keys: NDArray[np.object_], values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    if not len(keys):
        return {}
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return dict(zip(keys[starts].tolist(), np.split(values, starts[1:]), strict=True))


POSE_NAMES: Final = ("pitch_rad", "yaw_rad", "roll_rad", "x_cm", "y_cm", "z_cm")
GAZE_NAMES: Final = ("pitch_rad", "yaw_rad")
BLINK_NAMES: Final = ("blink_left", "blink_right")
