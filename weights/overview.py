"""Every set of outside weights in a line: what for, on which terms, whether it is here. Reads no weights."""

from weights.catalog import ALL_WEIGHTS, PretrainedWeights
from weights.folder import lying_file, weights_folder

OverviewRow = dict[str, str | int | None]


def overview() -> tuple[str, list[OverviewRow]]:
    """The folder, and a row a set. `state`: yes, no, or which files are missing or of a wrong size."""
    return str(weights_folder()), [_row(weights) for weights in ALL_WEIGHTS]


def _row(weights: PretrainedWeights) -> OverviewRow:
    sizes = [file.size_bytes for file in weights.files]
    return {
        "name": weights.name,
        "purpose": weights.purpose,
        "used_by": weights.used_by,
        "files": ", ".join(file.name for file in weights.files),
        "size_bytes": None if None in sizes else sum(size for size in sizes if size is not None),
        "licence": weights.licence.name,
        "licence_link": weights.licence.link,
        "commercial": weights.licence.commercial,
        "page": weights.page,
        "got": "by hand" if weights.by_hand else "by fetch",
        "state": _state(weights),
    }


def _state(weights: PretrainedWeights) -> str:
    lying = {file.name: lying_file(weights, file, weights_folder()) for file in weights.files}
    if not any(lying.values()):
        return "no"
    wrong = [f"{name} is missing" for name, path in lying.items() if path is None]
    for file in weights.files:
        path = lying[file.name]
        if path is not None and file.size_bytes is not None and path.stat().st_size != file.size_bytes:
            wrong.append(f"{file.name} has {path.stat().st_size} bytes, not {file.size_bytes}")
    return "; ".join(wrong) or "yes"
