"""Where the program's messages go, and whether a person looks on."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtl_bert.utils.errors import printable


class Printable(logging.Formatter):
    """Messages in which control characters are written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, with its time where that is wanted."""
        return printable(super().format(record))


def plain_messages(level: int = logging.INFO) -> None:
    """Messages alone, on standard error, as ``conf/hydra/job_logging/plain.yaml`` has them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Printable("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
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
    handler.setFormatter(Printable("%(asctime)s %(message)s"))
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
