"""Writing files so that a reader sees the old one or the new one, never half of one."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

TEMPORARY = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success sync it and rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
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
    for path in texts:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a directory")
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(replacing(path)).write_text(text, "utf-8", newline="")


@contextmanager
def creating(directory: Path) -> Iterator[Path]:
    """Give a temporary directory; on success it becomes ``directory``, which is new or empty."""
    directory = directory.resolve()  # a link cannot be replaced by a directory
    directory.parent.mkdir(parents=True, exist_ok=True)
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
