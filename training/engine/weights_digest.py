"""What identifies a published stage's weights. Imports no torch."""

from typing import Final

from storage.fingerprint import fingerprint
from storage.manifest import Manifest
from storage.publishing import Published

WEIGHTS_NAME: Final = "weights.safetensors"
AVERAGES_NAME: Final = "averages.safetensors"


def weights_digest(published: Published) -> str:
    """Digest of a stage's weights alone: its metrics and timings change nothing for those who build on it."""
    return told_weights_digest(published.manifest)


def told_weights_digest(manifest: Manifest) -> str:
    """`weights_digest`, of a stage's manifest."""
    names = (WEIGHTS_NAME, AVERAGES_NAME)
    files = manifest.files
    return fingerprint({name: files[name].sha256 for name in names if name in files})
