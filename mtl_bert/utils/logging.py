"""Messages of processes that Hydra has not set up."""

import logging
import sys


def plain_messages(level: int = logging.INFO) -> None:
    """Messages alone, on standard error, as ``conf/hydra/job_logging/plain.yaml`` has them."""
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    for noisy in ("lightning", "lightning.pytorch", "httpx", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
