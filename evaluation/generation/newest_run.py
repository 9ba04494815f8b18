"""Which run was published last: what an evaluation takes where no run is named."""

from upath import UPath

from evaluation.config import EvaluationConfig
from storage.publishing import current


def newest_run(root: UPath, asset: str) -> str:
    """The partition of an asset that was finished last.

    Raises:
        ValueError: nothing of this asset is published.
    """
    folder = root / "assets" / asset
    try:
        names = sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # the second is what UPath says of an empty prefix
        names = []
    made = [(found.manifest.finished_at, name) for name in names if (found := current(root, asset, name))]
    if not made:
        raise ValueError(f"no run has {asset} under {root} yet: train every stage first, or name a run")
    return max(made)[1]


def with_run(root: UPath, config: EvaluationConfig, asset: str) -> EvaluationConfig:
    """The config with a run's name: its own, else that which published `asset` last. Errors: `newest_run`."""
    return config if config.run else config.replace(run=newest_run(root, asset))
