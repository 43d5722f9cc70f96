"""Writing files so that a reader sees the old one or the new one, never half of one."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePath
from secrets import token_hex
from typing import Any

TEMPORARY = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path``; on success sync it and rename it to ``path``."""
    if path.exists() and not path.is_file():  # as root one would replace /dev/null itself
        raise FileExistsError(errno.EEXIST, "Not a file", str(path))
    with _appearing(path, Path.touch) as temporary:
        yield temporary


@contextmanager
def creating(directory: Path) -> Iterator[Path]:
    """Give a temporary directory; on success it becomes ``directory``, which is new or empty."""
    with _appearing(directory.resolve(), Path.mkdir) as temporary:  # a link is not replaced
        yield temporary


@contextmanager
def _appearing(path: Path, make: Callable[..., None]) -> Iterator[Path]:
    """Give something temporary that appears at ``path``; an OSError names no temporary place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{token_hex(4)}{TEMPORARY}")
    try:
        make(temporary, exist_ok=False)
        allowed = temporary.stat().st_mode & 0o777  # by the umask
        allowed |= allowed >> 2 & 0o111  # to be searched where it may be read
        yield temporary
        for each in (temporary, *temporary.rglob("*")):  # some libraries write for their user
            each.chmod(allowed if each.is_dir() else allowed & 0o666)
            _sync(each)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:  # of a full disk often without any name
        if str(temporary) in str(error.filename or temporary):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        _remove(temporary)


def _sync(path: Path) -> None:
    """Have a file's content, or the renaming in a directory, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    with suppress(OSError):  # perhaps it is gone, with its directory
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def remove_temporaries(directory: Path) -> None:
    """Remove what a process left that was killed while it wrote."""
    for path in list(directory.rglob(f".*{TEMPORARY}")):
        _remove(path)


def write_text(path: Path, text: str) -> None:
    """Replace a text file as a whole."""
    write_together({path: text})


def write_together(texts: Mapping[Path, str]) -> None:
    """Replace several text files; an OSError means that none has been replaced."""
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(replacing(path)).write_text(text, "utf-8", newline="")


@contextmanager
def place_for(directory: Path) -> Iterator[None]:
    """Make a directory; it and those made for it are removed afterwards if they are empty."""
    made = [place for place in (directory, *directory.parents) if not place.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for place in made:
            with suppress(OSError):
                place.rmdir()


# A path in quotes, which may hold spaces, or one that begins a word.
PLACE = re.compile(r"""(['"])(/(?!/)[^'"]*)\1|(?<![\w.'"/])/(?!/)[^\s,'"\]})]+""")


def without_places(node: Any) -> Any:
    """The same, but of each path of this machine only its last part."""
    if isinstance(node, Mapping):
        return {without_places(key): without_places(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_places(value) for value in node]
    if not isinstance(node, str):
        return node
    key, sign, value = node.rpartition("=")  # an override, or plain words
    if PurePath(value).is_absolute() and not {*"'\","} & {*value}:
        return f"{key}{sign}DIR/{PurePath(value).name}"

    def cut(found: re.Match[str]) -> str:
        quote = found[1] or ""
        return f"{quote}DIR/{PurePath(found[2] or found[0]).name}{quote}"

    return PLACE.sub(cut, node)
