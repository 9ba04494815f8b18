"""The command `pdfgc accepted`."""

from pipelines.cli.accept import accepted

__all__ = ["accepted"]
