"""Checkpoint files: what decides how a run goes on, written whole or not at all.

A checkpoint is a dictionary of tensors, numbers and texts, so that reading one runs no code
(``torch.load(path, weights_only=True)``). Its ``state_dict`` is the model's, and its ``run`` the
key of the run that wrote it (:func:`mtl_bert.config.run_key.key_of`).
"""

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mtl_bert.runs.results import RunFolder
from mtl_bert.utils.errors import UserError, first_line
from mtl_bert.utils.files import replacing

log = logging.getLogger(__name__)

FORMAT = 3


class CheckpointError(UserError):
    """A file that is not a checkpoint, or no longer."""


class Position(NamedTuple):
    """The epoch that is going on or about to begin, from 1, and how many of its steps are done."""

    epoch: int = 1
    step: int = 0


def write(path: Path, run: str, content: Mapping[str, Any], keep: Path | None = None) -> None:
    """Replace a checkpoint of a run as a whole; ``keep`` is where the one before goes."""
    with replacing(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save({"format": FORMAT, "run": run, **content}, file)
        except RuntimeError as error:  # of torch's archive, where the file's own error came first
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
        if keep is not None and path.exists():
            path.replace(keep)


def write_last(folder: RunFolder, run: str, content: Mapping[str, Any]) -> None:
    """Write a run's newest checkpoint, keeping the one before."""
    write(folder.checkpoint("last"), run, content, keep=folder.checkpoint("previous"))


def read(path: Path, run: str, needed: str = "state_dict") -> dict[str, Any]:
    """The content of a checkpoint of this run that has what is needed, on the CPU.

    Raises:
        CheckpointError: it is missing or damaged, or another program's.
        UserError: it is another run's, and whose is the rest of the folder?
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type for part in archive.infolist()):
                raise ValueError("it is compressed, and may become anything")
            damaged = archive.testzip()  # compares every part with its checksum
        if damaged:
            raise ValueError(f"{damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content.get("format", "no format number")
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise CheckpointError(
            f"{path}: expected a checkpoint of this program, found one that does not load "
            f"({first_line(error)}); write the path of another run"
        ) from error
    if found != FORMAT or needed not in content:
        raise CheckpointError(
            f"{path}: expected a checkpoint of format {FORMAT} with {needed}, found {found}; "
            "use the version of the program that wrote it"
        )
    if (other := content.get("run")) != run:
        raise UserError(
            f"{path}: expected a checkpoint of the run {run}, found one of {other}; "
            "put back its own, or write another run"
        )
    return dict(content)


def newest(folder: RunFolder, run: str) -> dict[str, Any] | None:
    """The newest good checkpoint of a run, None without any; UserError if none can be used."""
    found, failure, best = None, None, folder.checkpoint("best")
    for path in map(folder.checkpoint, ("last", "previous")):
        try:
            found = found or (read(path, run, "position") if path.exists() else None)
        except CheckpointError as error:
            log.warning("%s", error)
            failure = error
    if found is None and failure is not None:
        raise failure
    if found is not None and best.exists():
        read(best, run)  # refused now, before anything is written
    return found
