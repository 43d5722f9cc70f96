"""Checkpoint files: what decides how a run goes on, written whole or not at all.

A checkpoint is a dictionary of tensors, numbers and texts, so that reading one runs no code
(``torch.load(path, weights_only=True)``). Its ``state_dict`` is the model's.
"""

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import torch

from mtl_bert.runs.results import RunFolder
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.files import replacing

log = logging.getLogger(__name__)

FORMAT = 2


class CheckpointError(UserError):
    """A file that is not a checkpoint, or no longer."""


class Position(NamedTuple):
    """The epoch that is going on or about to begin, from 1, and how many of its steps are done."""

    epoch: int = 1
    step: int = 0


def write(path: Path, content: Mapping[str, Any], keep: Path | None = None) -> None:
    """Replace a checkpoint as a whole; ``keep`` is where the one before goes."""
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            _save({"format": FORMAT, **content}, file)
        if keep is not None and path.exists():
            path.replace(keep)


def _save(content: Mapping[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(content, file)
    except RuntimeError as error:  # of torch's archive, where the file's own error came first
        raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def write_last(folder: RunFolder, content: Mapping[str, Any]) -> None:
    """Write a run's newest checkpoint, keeping the one before."""
    write(folder.checkpoint("last"), content, keep=folder.checkpoint("previous"))


def prune(folder: RunFolder, keep: Literal["all", "best", "none"]) -> None:
    """Remove the checkpoints that a finished run need not keep: its largest files by far."""
    to_go_on = ("last", "previous")
    removed = {"all": (), "best": to_go_on, "none": (*to_go_on, "best")}
    for name in removed[keep]:
        folder.checkpoint(name).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU; CheckpointError if it is missing, damaged or foreign."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # compares every part with its checksum
        if damaged:
            raise ValueError(f"{damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content.get("format", "no format number")
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path}: expected a checkpoint of this program, found one that does not load "
            f"({first}); write the path of another run"
        ) from error
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: expected a checkpoint of format {FORMAT}, found {found}; "
            "use the version of the program that wrote it"
        )
    return dict(content)


def newest(folder: RunFolder) -> dict[str, Any] | None:
    """The newest good checkpoint of a run, None without any; CheckpointError if all are bad."""
    failure: CheckpointError | None = None
    for name in ("last", "previous"):
        path = folder.checkpoint(name)
        if not path.exists():
            continue
        try:
            return read(path)
        except CheckpointError as error:
            log.warning("%s", error)
            failure = error
    if failure is not None:
        raise failure
    return None
