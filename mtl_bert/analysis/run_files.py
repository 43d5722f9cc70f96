"""Finished runs and their dev predictions, read from the directories where they lie."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from mtl_bert.analysis.methods import Method, method_of, setting_of
from mtl_bert.runs.results import RESULTS, Results, RunFolder

LEFT_OUT = "(left out)"  # in place of a text that no reader may see


class UnusableError(ValueError):
    """A file of a run that cannot be used, and why."""


@dataclass(frozen=True)
class Classes:
    """Answers are classes: their names, by number."""

    names: tuple[str, ...]

    def name(self, number: float) -> str:
        """The name of a class, or its number where it has none."""
        known = 0 <= number < len(self.names)
        return self.names[int(number)] if known else f"{number:g}"


@dataclass(frozen=True)
class Scale:
    """Answers are numbers from ``low`` to ``high``."""

    low: float
    high: float


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

    @cached_property
    def method(self) -> Method:
        """How it chose examples and combined gradients."""
        return method_of(self.results.config)

    @property
    def epochs(self) -> int:
        """How many it was to be trained for."""
        return int(self.results.config["epochs"])

    def head(self, task: str) -> Classes | Scale | None:
        """The form of a task's answers; None for one that is not known here."""
        return head_of(self.results.config["tasks"][task])

    @cached_property
    def _read(self) -> dict[str, pd.DataFrame]:
        return {}

    def predictions(self, task: str) -> pd.DataFrame:
        """The dev predictions of a task, without texts where none may be seen.

        Columns: id, text (and text2 of a pair), label, prediction (in the labels' values), and
        confidence: the probability that the model gave its prediction, NaN where there is none.

        Raises:
            UnusableError: they are missing or damaged.
        """
        if task not in self._read:
            found = _read_predictions(RunFolder(self.directory).predictions(task))
            if not self.quoted:
                found = found.drop(columns="text2", errors="ignore").assign(text=LEFT_OUT)
            self._read[task] = found
        return self._read[task]


def head_of(node: dict[str, object]) -> Classes | Scale | None:
    """The form of the answers that a task's settings name; None for one that is not known here."""
    head = node.get("head")
    if not isinstance(head, dict):
        return None
    kind = str(head.get("_target_", "")).rpartition(".")[2]
    if kind == "Binary":
        head = {"names": ("no", "yes"), **head}
    if kind in ("MultiClass", "Binary"):
        return Classes(tuple(head["names"]))
    return Scale(float(head["low"]), float(head["high"])) if kind == "Regression" else None


def find_runs(directories: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """All runs below the directories, and a warning for each results.json that is none."""
    runs: list[Run] = []
    warnings: list[str] = []
    known: set[Path] = set()
    roots = list(directories)
    for root in roots:
        for path in sorted(root.rglob(RESULTS)):
            if path.resolve() in known:
                continue
            known.add(path.resolve())
            try:
                run = read_run(path.parent, root)
            except UnusableError as error:
                warnings.append(str(error))
                continue
            if len(roots) > 1:  # below several directories, the same name may come up again
                run = replace(run, name=f"{root.resolve().name}/{run.name}")
            runs.append(run)
    return runs, warnings


def read_run(directory: Path, root: Path) -> Run:
    """The run in a directory, named by its place below ``root``.

    Raises:
        UnusableError: one line that names the file.
    """
    path, name = RunFolder(directory).results, directory.relative_to(root).as_posix()
    try:
        results = Results.model_validate_json(path.read_text("utf-8"))
        run = Run(directory, root.resolve().name if name == "." else name, results)
    except (OSError, ValueError) as error:
        raise UnusableError(
            f"{path}: expected the results of a finished run, found something else "
            f"({_first(error)}); left out"
        ) from error
    try:  # a configuration has no schema here; these read all of it that a report does
        str(run.method.label), f"{run.epochs:d}", setting_of(results)
        [run.head(task) for task in results.tasks]
        if other := set(results.tasks) ^ set(results.config["tasks"]):
            raise KeyError(f"tasks.{min(other)}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnusableError(
            f"{path}: expected a configuration of this program, found another "
            f"({type(error).__name__}: {error}); left out"
        ) from error
    return run


def _first(error: Exception) -> str:
    """The gist of an error of pydantic, pandas or the file system, in a line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    return " ".join(str(error).split()) or type(error).__name__


def _read_predictions(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UnusableError(f"{path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise UnusableError(f"{path.name} cannot be read ({_first(error)})") from error
    if absent := {"id", "text", "label", "prediction", "confidence"} - set(rows):
        raise UnusableError(f"{path.name} has no column {', '.join(sorted(absent))}")
    if not isinstance(rows.index, pd.RangeIndex):
        raise UnusableError(f"{path.name} has rows that are longer than its heading")
    try:  # Python's own float, which is exact
        for name in ("label", "prediction"):
            rows[name] = np.array(list(map(float, rows[name])))
        rows["confidence"] = np.array([float(value or "nan") for value in rows["confidence"]])
    except ValueError as error:
        raise UnusableError(f"{path.name} holds something that is no number ({error})") from error
    if rows.empty or not np.isfinite(rows["label"]).all():
        raise UnusableError(f"{path.name} has no labels to compare with")
    return rows
