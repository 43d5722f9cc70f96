"""Who gains and who loses by learning together: each task against a model of its own.

Δm is the multi-task literature's (Maninis et al., CVPR 2019; Vandenhende et al., TPAMI 2021): the
mean over tasks of the change of each task's metric relative to its single-task model, in %,
positive where learning together is better. All metrics here are better when higher.

Shapes: S seeds of a method, T tasks.
"""

from dataclasses import dataclass

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.commands import independent
from mtl_bert.analysis.document import Block, Commands, Text, numeric, table, words
from mtl_bert.analysis.numbers import Floats, over_seeds, summary
from mtl_bert.analysis.paper import EPOCHS
from mtl_bert.analysis.studies import Group, Study

SINGLE = "single"
UNDEFINED = "undefined"


@dataclass(frozen=True, eq=False)
class Balance:
    """How a method treats the tasks.

    Attributes:
        changes: of each task relative to its own model, in %: task -> [S]; None where that model's
            metric is not above 0, or where there is no such model.
        units: each task's metric mapped to 0..1: task -> [S].
    """

    changes: dict[str, Floats | None]
    units: dict[str, Floats]

    @property
    def known(self) -> Floats | None:
        """All tasks' changes: [T, S]; None where one is missing."""
        found = [values for values in self.changes.values() if values is not None]
        return np.stack(found) if found and len(found) == len(self.changes) else None

    @property
    def delta_m(self) -> Floats | None:
        """Mean over tasks of the changes: [S]."""
        return None if self.known is None else np.asarray(self.known.mean(0))

    @property
    def worst(self) -> str | None:
        """The task with the lowest mean change."""
        return None if self.known is None else _lowest(self.changes)

    @property
    def range(self) -> Floats | None:
        """Largest minus smallest change: [S]."""
        return None if self.known is None else np.asarray(np.ptp(self.known, axis=0))

    @property
    def worst_unit(self) -> str:
        """The task with the lowest mean of the mapped metric."""
        return _lowest(self.units)

    @property
    def unit_range(self) -> Floats:
        """Largest minus smallest mapped metric: [S]."""
        return np.asarray(np.ptp(np.stack(list(self.units.values())), axis=0))


def _lowest(values: "dict[str, Floats] | dict[str, Floats | None]") -> str:
    means = {task: float(found.mean()) for task, found in values.items() if found is not None}
    return min(means, key=lambda task: means[task])


def single_of(study: Study) -> Group | None:
    """The independent models with the epochs of the others; the plainest of several."""
    found = [group for group in study.compared if group.method.sampler == SINGLE]
    return min(found, key=lambda group: len(group.label), default=None)


def balance(study: Study, group: Group, single: Group | None) -> Balance:
    """A method against the independent models' means over seeds."""
    changes: dict[str, Floats | None] = {}
    for task in study.tasks:
        base = 0.0 if single is None else single.mean(task)
        changes[task] = 100 * (group.values(task) - base) / base if base > 0 else None
    return Balance(changes, {task: study.unit(task, group.values(task)) for task in study.tasks})


def blocks(study: Study) -> list[Block]:
    """The table, and the command for the independent models where there are none."""
    if not study.compared:
        return [Text("Nothing was trained, so nothing can be said.")]
    single = single_of(study)
    unknown = numbers.MISSING if single is None else UNDEFINED
    rows, records = [], []
    for group in study.compared:
        found = balance(study, group, single)
        *changes, delta_m, gap = (
            unknown if values is None else over_seeds(values, _signed)
            for values in (*found.changes.values(), found.delta_m, found.range)
        )
        rows.append((
            group.label, *changes, delta_m, found.worst or unknown, gap.removeprefix("+"),
            found.worst_unit, over_seeds(found.unit_range), str(group.n),
        ))  # fmt: skip
        columns = {f"{task}_change": values for task, values in found.changes.items()}
        columns |= {"delta_m": found.delta_m, "range": found.range}
        columns |= {f"{task}_unit": values for task, values in found.units.items()}
        records.append({
            "method": group.label,
            **{k: v for name, x in columns.items() for k, v in summary(name, x).items()},
            **summary("unit_range", found.unit_range),
            "worst": found.worst, "worst_unit": found.worst_unit, "n": group.n,
        })  # fmt: skip
    change, mapped = "change to the single-task model, %", "metric mapped to 0..1"
    balances = table(
        f"{study.slug}-fairness",
        "Each task against a model of its own",
        study.subject,
        (
            *words("method"), *numeric(*study.tasks, "mean over tasks (Δm)", group=change),
            *words("worst task", group=change), *numeric("max − min", group=change),
            *words("worst task", group=mapped), *numeric("max − min", group=mapped),
            *numeric("n"),
        ),
        rows,
        caption=_caption(study, single),
        records=records,
    )  # fmt: skip
    if single is not None:
        return [balances]
    command = independent(study, study.compared[0].epochs or EPOCHS)
    lead = "The single-task models are missing, and this command makes them (DIR: your files):"
    return [balances, Commands(lead, (("one encoder per task", command),))]


def _signed(value: float) -> str:
    """One decimal with its sign, and none before 0 that is negative."""
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", numbers.MINUS)


def _caption(study: Study, single: Group | None) -> str:
    rest = (
        "Some tasks are harder than others, so the columns of mapped metrics compare methods, not "
        "tasks."
    )
    if single is None:
        return f"There is no run of sampler=single, so no change can be said. {rest}"
    undefined = [t for t in study.tasks if single.mean(t) <= 0]
    words = [
        "Changes are relative to the mean of the single-task runs "
        f"(n={single.n}), whose own spread is not in the ±: their row's max − min is what "
        "seeds alone make. Δm is the mean over tasks "
        "(Maninis et al. 2019). Where a single-task metric lies close to 0, a small difference is "
        "a large change."
    ]
    if undefined:
        words.append(
            f"Undefined for {', '.join(undefined)}, and with it Δm: the single-task metric is not "
            "above 0, and nothing can be said relative to it."
        )
    return " ".join([*words, rest, study.subject.warning]).strip()
