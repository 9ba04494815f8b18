"""A process of a toy job: ``python -m tests.factories.training.toy_worker JOB.json``."""

import sys

from tests.factories.training import toy_run
from training.jobs import worker

if __name__ == "__main__":
    toy_run.install()
    sys.exit(worker.main(sys.argv[1:]))
