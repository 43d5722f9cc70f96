"""The errors that a user can mend, and how a terminal gets texts that others have written."""

import errno
from typing import TextIO

REFUSED = 2  # the exit code of a program that was told something wrong
FULL_ERROR = "HYDRA_FULL_ERROR"
"""Hydra's environment variable: at 1, errors come with their traceback."""


class UserError(Exception):
    """Shown as its message, without a traceback.

    The message is one line: where, what was expected, what was found, what to write instead.
    """


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, in one line; of pydantic's, where and what."""
    if callable(errors := getattr(error, "errors", None)):
        first = errors()[0]
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), str(first["msg"]))))
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def printable(text: str) -> str:
    """Text whose control characters are written out, so that a terminal obeys none of them."""
    shown = (c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
    return text if text.isprintable() else "".join(shown)


def say(message: object, file: TextIO | None = None) -> None:
    """Print a message; whatever names are in it, it is text and nothing else."""
    print(printable(str(message)), file=file)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def told(error: UserError | OSError, where: object = "input and output", then: str = "") -> str:
    """An error in a line: what the machine would not do, and ``where``, if it does not say."""
    if isinstance(error, UserError):
        return str(error)
    expected, cure = "the system to do as asked", "mend that"
    if error.filename:
        expected, cure = "a place that can be used", "name another, or mend this one"
    if error.errno in FULL:
        expected, cure = "room to write", "make room, or name another place"
    found = error.strerror or first_line(error)
    return f"{error.filename or where}: expected {expected}, found {found!r}; {cure}{then}"
