"""The errors that a user can mend."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

REFUSED = 2  # the exit code of a program that was told something wrong
FULL_ERROR = "HYDRA_FULL_ERROR"
"""Hydra's environment variable: at 1, errors come with their traceback."""


class UserError(Exception):
    """Shown as its message, without a traceback.

    The message is one line: where, what was expected, what was found, what to write instead.
    """


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """Show an error that a user can mend as its message, and end the program."""
    try:
        yield
    except UserError as error:
        if os.environ.get(FULL_ERROR) == "1":
            raise
        sys.stderr.write(f"{error}\n")
        sys.exit(REFUSED)
