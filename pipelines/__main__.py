"""`python -m pipelines`: the command line `pdfgc`."""

from pipelines.cli.main import main

if __name__ == "__main__":
    main(prog_name="pdfgc")
