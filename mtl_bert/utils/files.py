"""Writing files so that a reader sees the old one or the new one, never half of one."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success sync it and rename it to ``path``."""
    if path.exists() and not path.is_file():  # as root one would replace /dev/null itself
        raise FileExistsError(errno.EEXIST, "Not a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        handle, name = tempfile.mkstemp(TEMPORARY, f".{path.name}.", path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            temporary.chmod(0o644)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Have an OSError name the path that people know: many have a temporary's, or none."""
    try:
        yield
    except OSError as error:
        if TEMPORARY in str(error.filename or TEMPORARY):
            error.filename, error.filename2 = str(path), None
        raise


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


def _sync(path: Path) -> None:
    """Have a file's content, or the renaming in a directory, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporaries(directory: Path) -> None:
    """Remove what a process left that was killed while it wrote."""
    for path in list(directory.rglob(f".*{TEMPORARY}")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # perhaps gone with its directory


def write_text(path: Path, text: str) -> None:
    """Replace a text file as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_together(texts: Mapping[Path, str]) -> None:
    """Replace several text files; an OSError means that none has been replaced."""
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(replacing(path)).write_text(text, "utf-8", newline="")


@contextmanager
def creating(directory: Path) -> Iterator[Path]:
    """Give a temporary directory; on success it becomes ``directory``, which is new or empty."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _named(directory):
        temporary = Path(tempfile.mkdtemp(TEMPORARY, f".{directory.name}.", directory.parent))
        try:
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():  # some libraries write for their user alone
                    path.chmod(0o644)
                    _sync(path)
            temporary.chmod(0o755)
            temporary.replace(directory)
            _sync(directory.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
