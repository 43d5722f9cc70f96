"""Runs put together: by setting, then by epochs and method, so that like stands beside like.

Every title of a report ends with the words of a :class:`Subject`: which data, whole or in part,
made up or not, seen before or not. So no number is taken for more than it is.

Shapes: S seeds of a method.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mtl_bert.analysis import paper
from mtl_bert.analysis.methods import Method, setting_of
from mtl_bert.analysis.numbers import Floats
from mtl_bert.analysis.run_files import Run
from mtl_bert.runs.results import PhaseRecord, Results

SCORE = "score"


@dataclass(frozen=True)
class Subject:
    """The data, encoder and batches that numbers come from.

    Attributes:
        data: the data's name.
        synthetic: made-up text.
        sizes: training examples of each task.
        encoder: the encoder's name.
        seen: tasks whose data the encoder was trained on before -> those data sets.
        dev: dev examples of each task.
        bucket: steps within which examples of like length shared a batch; None is at random.
        ratios: of the largest training set to the others, where numbers are about several.
    """

    data: str
    synthetic: bool
    sizes: tuple[tuple[str, int], ...]
    encoder: str
    seen: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dev: tuple[tuple[str, int], ...] = ()
    bucket: int | None = None
    ratios: tuple[float, ...] = ()

    @property
    def other_sizes(self) -> tuple[str, ...]:
        """Training sets of another size than the paper's: ``n of N``, or ``n instead of N``."""
        sizes = dict(self.sizes)
        found = []
        for task, size in paper.SIZES.items():
            n = sizes.get(task)
            if n is None:
                found.append(f"{task} missing")
            elif n != size.train:
                word = "of" if n < size.train else "instead of"
                found.append(f"{task} {n:,} {word} {size.train:,}")
        return tuple(found)

    @property
    def partial_dev(self) -> tuple[str, ...]:
        """Dev sets that are smaller than the paper's: ``n of N``."""
        dev = dict(self.dev)
        return tuple(
            f"{task} {dev[task]:,} of {size.dev:,}"
            for task, size in paper.SIZES.items()
            if dev.get(task, size.dev) < size.dev
        )

    @property
    def other_tasks(self) -> tuple[str, ...]:
        """Tasks that the paper does not have."""
        return tuple(task for task, _ in self.sizes if task not in paper.SIZES)

    @property
    def like_the_paper(self) -> bool:
        """Whether the paper's numbers are of the same experiment: data, encoder, random batches."""
        same_data = not (self.synthetic or self.other_sizes or self.other_tasks or self.seen)
        same_dev = all(n == paper.SIZES[task].dev for task, n in self.dev if task in paper.SIZES)
        same_model = self.encoder == paper.ENCODER and self.bucket is None
        return same_data and same_dev and same_model

    @property
    def words(self) -> str:
        """What a title ends with."""
        words = [f"data={self.data}"]
        if self.synthetic:
            words[0] += ", SYNTHETIC (made-up text)"
        if self.other_sizes:
            partial = any(n < paper.SIZES[t].train for t, n in self.sizes if t in paper.SIZES)
            kind = "partial training sets" if partial else "other training sets"
            words.append(f"{kind}: {self._sizes_in_words}")
        if self.partial_dev:
            words.append(f"partial dev sets: {', '.join(self.partial_dev)}")
        if self.other_tasks:
            words.append(f"tasks that the paper does not have: {', '.join(self.other_tasks)}")
        if self.seen:
            seen = (f"{task} ({', '.join(sets)})" for task, sets in self.seen)
            words.append(f"CONTAMINATED: the encoder was trained before on {', '.join(seen)}")
        words.append(f"encoder {self.encoder}")
        if self.bucket is not None:
            words.append(f"batches of like length (group_by_length={self.bucket})")
        return "; ".join(words)

    @property
    def _sizes_in_words(self) -> str:
        if not self.ratios:
            return ", ".join(self.other_sizes)
        largest, size = max(self.sizes, key=lambda task: task[1])
        *first, last = (f"{ratio:g}" for ratio in self.ratios)
        return f"{largest} {size:,} ({', '.join(first)} and {last} times each of the others)"

    def title(self, heading: str) -> str:
        """A title, with what its numbers are about."""
        return f"{heading} [{self.words}]"

    @property
    def warning(self) -> str:
        """What a caption says where the paper's numbers are of another experiment; else nothing."""
        if self.like_the_paper:
            return ""
        if self.synthetic:
            return (
                "Ours is about made-up text: these numbers say that the program works, never what "
                "a method is worth. A difference to the paper is not an error of reproduction but "
                "another experiment."
            )
        return (
            "Data, encoder or batches are not the paper's: a difference to its numbers is not an "
            "error of reproduction but another experiment."
        )


def subject_of(results: Results) -> Subject:
    """What a run's numbers are about."""
    return Subject(
        data=results.data.name,
        synthetic=results.data.synthetic,
        sizes=tuple((task, sizes.get("train", 0)) for task, sizes in results.data.sizes.items()),
        encoder=results.encoder,
        seen=tuple((task, tuple(sets)) for task, sets in results.data.seen.items() if sets),
        dev=tuple((task, score.n) for task, score in results.tasks.items()),
        bucket=results.config["group_by_length"],
    )


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

    def values(self, what: str) -> Floats:
        """A task's metric, or the score, of each run: [S]."""
        if what == SCORE:
            return np.array([run.results.score for run in self.runs])
        return np.array([run.results.tasks[what].value for run in self.runs])

    def mean(self, what: str = SCORE) -> float:
        """The mean of the same over seeds."""
        return float(self.values(what).mean())

    def at(self, seed: int, what: str = SCORE) -> float:
        """The same of one seed."""
        return float(self.values(what)[self.seeds.index(seed)])

    @property
    def n(self) -> int:
        """How many seeds there are."""
        return len(self.runs)

    @property
    def minutes(self) -> Floats:
        """Training minutes per epoch of each run: [S]."""
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

    def unit(self, task: str, values: Floats) -> Floats:
        """Values of a task's metric, mapped to 0..1 as the score does."""
        scale = self.setting["tasks"][task].get("score", {})
        low, high = float(scale.get("low", 0)), float(scale.get("high", 1))
        return (values - low) / (high - low)


def _order(method: Method) -> tuple[Any, ...]:
    """Published methods in print's order, then others by name."""
    for number, row in enumerate(paper.ROWS):
        if row.is_of(method):
            return (0, number, method.label)
    return (1, 0, method.label)


def row_of(groups: Sequence[Group], row: paper.PaperRow) -> Group | None:
    """The repetitions that are a row of the paper, if there are any.

    Where B was scaled in several ways the plainest one stands for the row.
    """
    found = [group for group in groups if row.is_of(group.method)]
    return min(found, key=lambda group: abs(group.method.B_scale - 1), default=None)


def one_device(*groups: Group) -> bool:
    """Whether the times of runs may be set beside each other: all ran on the same device."""
    return len(frozenset[str]().union(*(group.devices for group in groups))) == 1


def phases_of(results: Results) -> list[PhaseRecord]:
    """All phases of a run, epoch after epoch."""
    return [phase for epoch in results.epochs for phase in epoch.phases]


def file_name(text: str) -> str:
    """A name from data, made fit for a file and an anchor."""
    return re.sub(r"[^\w-]+", "-", text)


def studies(runs: Sequence[Run]) -> list[Study]:
    """Put runs together; the setting with most runs comes first."""
    by_setting: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_setting[json.dumps(setting_of(run.results), sort_keys=True)].append(run)
    ordered = sorted(by_setting.items(), key=lambda item: (-len(item[1]), item[0]))
    return _told_apart([_study(number, members) for number, (_, members) in enumerate(ordered)])


def _told_apart(found: Sequence[Study]) -> list[Study]:
    """The same, named by what they differ in where data and encoder do not tell them apart."""
    named = []
    for study in found:
        same = (study.subject.data, study.subject.encoder)
        alike = [s.setting for s in found if (s.subject.data, s.subject.encoder) == same]
        words = _differing([_choices(setting) for setting in (study.setting, *alike)])
        # Sizes mostly follow from the rest.
        words = words or _differing([_words(each["sizes"]) for each in (study.setting, *alike)])
        named.append(replace(study, name=", ".join((study.name, *words))))
    return named


def _differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """What the first has and some other has not."""
    first, *others = settings
    return [f"{k}={v}" for k, v in first.items() if any(each.get(k) != v for each in others)]


def _choices(setting: Mapping[str, Any]) -> dict[str, str]:
    rest = {key: value for key, value in setting.items() if key not in ("tasks", "sizes", "batch")}
    lead = {"tasks": ", ".join(setting["tasks"]), "batch_size": setting["batch"]}
    return _words(lead | rest)


def _words(tree: Mapping[str, Any]) -> dict[str, str]:
    """Dotted keys and their values; not again what repeats another, as optimizer.lr does lr."""
    (flat,) = pd.json_normalize(dict(tree)).to_dict("records")
    found: dict[str, str] = {}
    for key, value in flat.items():
        if value is not None and found.get(str(key).rpartition(".")[2]) != str(value):
            found[str(key)] = str(value)
    return found


def _study(number: int, runs: Sequence[Run]) -> Study:
    setting, subject = setting_of(runs[0].results), subject_of(runs[0].results)
    grouped: defaultdict[tuple[Method, int], dict[int, Run]] = defaultdict(dict)
    superseded = []
    for run in sorted(runs, key=lambda run: run.results.finished):
        seeds = grouped[run.method, run.epochs]
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
