"""What is made, what is stale and why: the terminal's answer to Dagster's asset page."""

from rich.console import Console
from rich.table import Table
from upath import UPath

from preprocessing.source_videos import batch_keys, load_batch
from preprocessing.steps import STEPS, PreprocessingSettings, why_stale
from storage.publishing import current


def print_status(root: UPath) -> None:
    """Print a row a batch and step, judged by the default settings."""
    table = Table(title=f"Batches under {root}")
    for name in ("batch", "step", "state", "counts"):
        table.add_column(name)
    for key in batch_keys(root):
        batch = load_batch(root, key)
        for name in STEPS:
            reason = why_stale(root, name, batch, PreprocessingSettings())
            made = current(root, name, key)
            counts = "" if made is None else ", ".join(f"{k} {v:g}" for k, v in made.manifest.counts.items())
            table.add_row(key, name, "up to date" if reason is None else f"stale: {reason}", counts)
    Console().print(table)
