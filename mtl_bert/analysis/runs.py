"""Finished runs, read from where they lie.

Shapes: N dev examples.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from mtl_bert.runs.results import Results, RunFolder

LEFT_OUT = "(left out)"  # in place of a text that no reader may see
LARGE_FIELD = 2**24  # characters: texts may be longer than the csv module expects


class UnusableError(ValueError):
    """A file of a run that cannot be used, and why."""


@dataclass(frozen=True)
class Predictions:
    """A dev set with a model's answers.

    Attributes:
        ids: [N].
        texts: one or two of each example: [N].
        labels: [N].
        predictions: in the labels' values: [N].
        confidences: the probability that the model gives its prediction, NaN where there is none:
            [N]; None where the run did not save any.
    """

    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    labels: NDArray[np.float64]
    predictions: NDArray[np.float64]
    confidences: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        directory: where it lies.
        name: the directory as a reader knows it: from the one that was given.
        results: its results.json.
        quoted: whether a reader may see the texts of its examples.
    """

    directory: Path
    name: str
    results: Results
    quoted: bool = True

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings."""
        return self.results.config

    @cached_property
    def _read(self) -> dict[str, Predictions | UnusableError]:
        return {}

    def predictions(self, task: str) -> Predictions:
        """The dev predictions of a task, without texts where none may be seen.

        Raises:
            UnusableError: they are missing or damaged.
        """
        if task not in self._read:
            try:
                found = _read_predictions(RunFolder(self.directory).predictions(task))
                if not self.quoted:
                    found = replace(found, texts=((LEFT_OUT,),) * len(found.ids))
                self._read[task] = found
            except UnusableError as error:
                self._read[task] = error
        known = self._read[task]
        if isinstance(known, UnusableError):
            raise known
        return known


def read_run(directory: Path, root: Path) -> Run:
    """One run.

    Raises:
        UnusableError: one line that names the file.
    """
    path = RunFolder(directory).results
    try:
        results = Results.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnusableError(
            f"{path}: expected the results of a finished run, found something else "
            f"({_first(error)}); left out"
        ) from error
    if missing := _missing(results):
        raise UnusableError(
            f"{path}: expected a configuration with {missing}, found none; left out"
        )
    name = directory.relative_to(root).as_posix()
    return Run(directory, root.resolve().name if name == "." else name, results)


_NEEDED = ("epochs", "batch_size", "lr", "tasks", "data", "model", "trainer", "sampler", "surgery")


def _missing(results: Results) -> str:
    """The first thing that a report needs and a configuration lacks."""
    config = results.config
    for key in _NEEDED:
        if key not in config:
            return key
    for key in ("tasks", "data", "model", "trainer", "sampler", "surgery"):
        if not isinstance(config[key], dict):
            return f"{key} as a group"
    if not isinstance(config["sampler"].get("name"), str):
        return "sampler.name"
    if type(config["epochs"]) is not int:
        return "epochs as a number"
    if absent := [task for task in results.tasks if task not in config["tasks"]]:
        return f"tasks.{absent[0]}"
    if absent := [task for task in config["tasks"] if task not in results.tasks]:
        return f"only the tasks that have results, and not {absent[0]}"
    return ""


def _first(error: Exception) -> str:
    """The gist of an error of pydantic, csv or the file system, in a line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    return " ".join(str(error).split()) or type(error).__name__


def _read_predictions(path: Path) -> Predictions:
    csv.field_size_limit(LARGE_FIELD)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            names: Sequence[str] = reader.fieldnames or ()
    except FileNotFoundError as error:
        raise UnusableError(f"{path.name} is missing") from error
    except (OSError, ValueError, csv.Error) as error:
        raise UnusableError(f"{path.name} cannot be read ({_first(error)})") from error
    if absent := {"id", "text", "label", "prediction"} - set(names):
        raise UnusableError(f"{path.name} has no column {', '.join(sorted(absent))}")
    if any(None in row or None in row.values() for row in rows):
        raise UnusableError(f"{path.name} has rows of another length than its heading")
    texts = [name for name in ("text", "text2") if name in names]
    try:
        labels = np.array([float(row["label"]) for row in rows])
        predictions = np.array([float(row["prediction"]) for row in rows])
        confidences = None
        if "confidence" in names:
            given = (row["confidence"] for row in rows)
            confidences = np.array([float(value) if value else math.nan for value in given])
    except ValueError as error:
        raise UnusableError(f"{path.name} holds something that is no number ({error})") from error
    if not rows or not np.isfinite(labels).all():
        raise UnusableError(f"{path.name} has no labels to compare with")
    return Predictions(
        tuple(row["id"] for row in rows),
        tuple(tuple(row[name] for name in texts) for row in rows),
        labels,
        predictions,
        confidences,
    )
