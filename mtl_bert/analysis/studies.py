"""Runs put together: by setting, then by epochs and method, so that like stands beside like."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtl_bert.analysis import paper
from mtl_bert.analysis.methods import Method, method_of
from mtl_bert.analysis.runs import Run
from mtl_bert.analysis.subject import Subject, subject_of

SCORE = "score"
_PLACES = ("dir", "path")  # where things lie says nothing about what they are


def setting_of(run: Run) -> dict[str, Any]:
    """Everything besides the method that could change a run's numbers, by name."""
    config, data = run.config, run.results.data
    trainer = config["trainer"]
    processes = trainer.get("devices", 1) * trainer.get("num_nodes", 1)
    # Older files lack what newer ones leave at null.
    told = {key: value for key, value in config["data"].items() if value is not None}
    return {
        "data": _without(told, _PLACES) | {"name": data.name},
        "sizes": data.sizes,
        "encoder": run.results.encoder,
        "model": _without(config["model"], _PLACES),
        "batch": config["batch_size"] * trainer.get("accumulate_grad_batches", 1) * processes,
        "group_by_length": config.get("group_by_length"),
        "lr": config["lr"],
        "optimizer": config.get("optimizer"),
        "scheduler": config.get("scheduler"),
        "gradient_clip_val": trainer.get("gradient_clip_val"),
        "precision": trainer.get("precision"),
        "check_val_every_n_epoch": trainer.get("check_val_every_n_epoch", 1),
        "dev_sample": run.results.dev_sample,
        "tasks": {name: _without(node, ("sources",)) for name, node in config["tasks"].items()},
    }


def _without(node: Any, keys: Sequence[str]) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: _without(value, keys) for key, value in node.items() if key not in keys}


@dataclass(frozen=True, eq=False)
class Group:
    """The repetitions of a method: runs that differ in nothing but the seed, one for each."""

    method: Method
    epochs: int
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """The method's name."""
        return self.method.label

    @property
    def seeds(self) -> tuple[int, ...]:
        """In rising order, as the runs are."""
        return tuple(run.results.seed for run in self.runs)

    @property
    def trained(self) -> bool:
        """Whether anything was."""
        return any(run.results.epochs for run in self.runs)

    def values(self, what: str) -> NDArray[np.float64]:
        """A task's metric, or the score, of each run: [seeds]."""
        if what == SCORE:
            return np.array([run.results.score for run in self.runs])
        return np.array([run.results.tasks[what].value for run in self.runs])

    @property
    def minutes(self) -> NDArray[np.float64]:
        """Training minutes per epoch of each run: [seeds]."""
        return np.array([run.results.minutes_per_epoch for run in self.runs])

    @property
    def devices(self) -> frozenset[str]:
        """What the runs ran on."""
        return frozenset(run.results.device for run in self.runs)


@dataclass(frozen=True, eq=False)
class Study:
    """All runs of one setting.

    Attributes:
        name: a letter and what tells it from other settings, in words.
        slug: the same for file names.
        setting: see :func:`setting_of`.
        subject: what its numbers are about.
        groups: one for each method and number of epochs.
        superseded: runs whose method and seed a newer run has too.
    """

    name: str
    slug: str
    setting: dict[str, Any]
    subject: Subject
    groups: tuple[Group, ...]
    superseded: tuple[Run, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Those that count."""
        return tuple(run for group in self.groups for run in group.runs)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The paper's in its tables' order, then others."""
        tasks = self.setting["tasks"]
        known = [task for task in paper.TITLES if task in tasks]
        return (*known, *(task for task in tasks if task not in known))

    @property
    def metrics(self) -> dict[str, str]:
        """Task -> the name of its metric."""
        return {task: score.metric for task, score in self.runs[0].results.tasks.items()}

    @cached_property
    def main_epochs(self) -> int | None:
        """The number of epochs that most runs have, above 1; the larger of two as frequent."""
        counts: Counter[int] = Counter()
        for group in self.groups:
            if group.trained and group.epochs > 1:
                counts[group.epochs] += len(group.runs)
        return max(counts, key=lambda epochs: (counts[epochs], epochs)) if counts else None

    @property
    def main(self) -> tuple[Group, ...]:
        """The methods of Tables 2 and 4; an untrained model has no epochs and belongs to any."""
        chosen = {}
        # A later group replaces an earlier one: the one with the main number of epochs is last.
        for group in sorted(self.groups, key=lambda g: g.epochs == self.main_epochs):
            if not group.trained:
                chosen[group.method] = group
        trained = [g for g in self.groups if g.trained and g.epochs == self.main_epochs]
        return tuple(sorted((*trained, *chosen.values()), key=lambda g: _order(g.method)))

    @property
    def single(self) -> tuple[Group, ...]:
        """The methods of Table 3: trained for one epoch."""
        return tuple(g for g in self.groups if g.trained and g.epochs == 1)

    @property
    def compared(self) -> tuple[Group, ...]:
        """The trained methods that stand side by side: with several epochs, or else with one."""
        return tuple(group for group in self.main if group.trained) or self.single

    def unit(self, task: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of a task's metric, mapped to 0..1 as the score does."""
        scale = self.setting["tasks"][task].get("score", {})
        low, high = float(scale.get("low", 0)), float(scale.get("high", 1))
        return (values - low) / (high - low)


def _order(method: Method) -> tuple[Any, ...]:
    """Published methods in print's order, then others by name."""
    for number, row in enumerate(paper.ROWS):
        if method.is_row(row):
            return (0, number, method.label)
    return (1, 0, method.label)


def row_of(groups: Sequence[Group], row: paper.PaperRow) -> Group | None:
    """The repetitions that are a row of the paper, if there are any.

    Where B was scaled in several ways the plainest one stands for the row.
    """
    found = [group for group in groups if group.method.is_row(row)]
    return min(found, key=lambda group: abs(group.method.B_scale - 1), default=None)


def one_device(*groups: Group) -> bool:
    """Whether the times of runs may be set beside each other: all ran on the same device."""
    return len(frozenset[str]().union(*(group.devices for group in groups))) == 1


def file_name(text: str) -> str:
    """A name from data, made fit for a file and an anchor."""
    return re.sub(r"[^\w-]+", "-", text)


def studies(runs: Sequence[Run]) -> list[Study]:
    """Put runs together; the setting with most runs comes first."""
    by_setting: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_setting[json.dumps(setting_of(run), sort_keys=True)].append(run)
    ordered = sorted(by_setting.items(), key=lambda item: (-len(item[1]), item[0]))
    return _told_apart([_study(number, members) for number, (_, members) in enumerate(ordered)])


def _told_apart(found: Sequence[Study]) -> list[Study]:
    """The same, named by what they differ in where data and encoder do not tell them apart."""
    alike: defaultdict[tuple[str, str], list[Study]] = defaultdict(list)
    for study in found:
        alike[study.subject.data, study.subject.encoder].append(study)
    named = []
    for study in found:
        others = alike[study.subject.data, study.subject.encoder]
        sizes = [other.setting["sizes"] for other in others]  # they mostly follow from the rest
        own = _own(_choices(study.setting), [_choices(other.setting) for other in others])
        own = own or _own(_words(study.setting["sizes"]), [_words(size) for size in sizes])
        named.append(replace(study, name=", ".join((study.name, *own))))
    return named


def _own(words: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> list[str]:
    return [
        f"{key}={value}"
        for key, value in words.items()
        if any(other.get(key) != value for other in others)
    ]


def _choices(setting: Mapping[str, Any]) -> dict[str, str]:
    rest = {key: value for key, value in setting.items() if key not in ("tasks", "sizes", "batch")}
    lead = {"tasks": ", ".join(setting["tasks"]), "batch_size": setting["batch"]}
    return _words(lead | rest)


def _words(tree: Mapping[str, Any]) -> dict[str, str]:
    """Dotted keys and their values; not again what repeats another, as optimizer.lr does lr."""
    found: dict[str, str] = {}
    left = list(tree.items())
    while left:
        key, value = left.pop(0)
        if isinstance(value, dict):
            left[:0] = [(f"{key}.{name}", part) for name, part in value.items()]
        elif value is not None and found.get(key.rpartition(".")[2]) != str(value):
            found[key] = str(value)
    return found


def _study(number: int, runs: Sequence[Run]) -> Study:
    setting, subject = setting_of(runs[0]), subject_of(runs[0].results)
    # The card's word on what an encoder has seen may be missing in older files.
    subject = next((s for s in (subject_of(r.results) for r in runs) if s.seen), subject)
    grouped: defaultdict[tuple[Method, int], dict[int, Run]] = defaultdict(dict)
    superseded = []
    for run in sorted(runs, key=lambda run: run.results.finished):
        seeds = grouped[method_of(run), run.config["epochs"]]
        if run.results.seed in seeds:
            superseded.append(seeds[run.results.seed])
        seeds[run.results.seed] = run
    groups = [
        Group(method, epochs, tuple(run for _, run in sorted(seeds.items())))
        for (method, epochs), seeds in grouped.items()
    ]
    letter = chr(ord("A") + number) if number < 26 else str(number + 1)
    return Study(
        name=f"Setting {letter}: data={subject.data}, encoder {subject.encoder}",
        slug=f"{letter.lower()}-{file_name(subject.data)}",
        setting=setting,
        subject=subject,
        groups=tuple(sorted(groups, key=lambda g: (_order(g.method), g.epochs))),
        superseded=tuple(superseded),
    )
