"""Digest of a published stage's weights. Imports no torch."""

from typing import Final

from storage.fingerprint import fingerprint
from storage.manifest import Manifest
from storage.publishing import Published

WEIGHTS_NAME: Final = "weights.safetensors"
EMA_NAME: Final = "ema.safetensors"


def weights_digest(published: Published) -> str:
    """Digest of a stage's weights alone: later stages do not depend on its metrics and timings."""
    return manifest_weights_digest(published.manifest)


def manifest_weights_digest(manifest: Manifest) -> str:
    """`weights_digest` of a stage's manifest."""
    files = manifest.files
    return fingerprint({name: files[name].sha256 for name in (WEIGHTS_NAME, EMA_NAME) if name in files})
