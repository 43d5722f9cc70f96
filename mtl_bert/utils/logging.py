"""Where the program's messages go, and whether a person looks on."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def plain_messages(level: int = logging.INFO) -> None:
    """Messages alone, on standard error, as ``conf/hydra/job_logging/plain.yaml`` has them."""
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    for noisy in ("lightning", "lightning.pytorch", "httpx", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _MessageFile(logging.FileHandler):
    """A file that says so where it cannot be written, as any other does."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Raise what was caught, of which ``logging`` prints a traceback and goes on."""
        raise


@contextmanager
def messages_kept_in(path: Path) -> Iterator[None]:
    """Add every message to a file, with its time."""
    handler = _MessageFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    from rich import get_console  # help and completion need not wait for it

    return get_console().is_jupyter


def bar_wanted(bar: bool | None) -> bool:
    """What a setting of true or false says; None draws bars where a person looks on."""
    return (sys.stderr.isatty() or in_notebook()) if bar is None else bar
