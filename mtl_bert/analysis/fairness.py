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
from mtl_bert.analysis.document import Block, Cell, Column, Commands, Record, Table, Text
from mtl_bert.analysis.paper import EPOCHS
from mtl_bert.analysis.statistics import Floats, spread
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
        base = 0.0 if single is None else float(single.values(task).mean())
        changes[task] = 100 * (group.values(task) - base) / base if base > 0 else None
    return Balance(changes, {task: study.unit(task, group.values(task)) for task in study.tasks})


def blocks(study: Study) -> list[Block]:
    """The table, and the command for the independent models where there are none."""
    if not study.compared:
        return [Text("Nothing was trained, so nothing can be said.")]
    single = single_of(study)
    cells, records = [], []
    for group in study.compared:
        found = balance(study, group, single)
        texts = [
            *(_change(found.changes[task], single) for task in study.tasks),
            _change(found.delta_m, single), found.worst or _missing(single),
            _points(found.range, single), found.worst_unit, numbers.with_spread(found.unit_range),
            str(len(group.runs)),
        ]  # fmt: skip
        cells.append((Cell(group.label), *(Cell(text) for text in texts)))
        records.append(_record(study, group, found))
    table = Table(
        name=f"{study.slug}-fairness",
        heading="Each task against a model of its own",
        subject=study.subject,
        columns=(
            Column("method", numeric=False),
            *(Column(task, "change to the single-task model, %") for task in study.tasks),
            Column("mean over tasks (Δm)", "change to the single-task model, %"),
            Column("worst task", "change to the single-task model, %", numeric=False),
            Column("max − min", "change to the single-task model, %"),
            Column("worst task", "metric mapped to 0..1", numeric=False),
            Column("max − min", "metric mapped to 0..1"),
            Column("n"),
        ),
        rows=tuple(cells),
        caption=_caption(study, single),
        records=tuple(records),
    )
    if single is not None:
        return [table]
    command = independent(study, study.compared[0].epochs or EPOCHS)
    lead = "The single-task models are missing, and this command makes them (DIR: your files):"
    return [table, Commands(lead, (("one encoder per task", command),))]


def _caption(study: Study, single: Group | None) -> str:
    rest = (
        "Some tasks are harder than others, so the columns of mapped metrics compare methods, not "
        "tasks."
    )
    if single is None:
        return f"There is no run of sampler=single, so no change can be said. {rest}"
    undefined = [t for t in study.tasks if float(single.values(t).mean()) <= 0]
    words = [
        "Changes are relative to the mean of the single-task runs "
        f"(n={len(single.runs)}), whose own spread is not in the ±: their row's max − min is what "
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


def _missing(single: Group | None) -> str:
    return numbers.MISSING if single is None else UNDEFINED


def _change(values: Floats | None, single: Group | None) -> str:
    if values is None:
        return _missing(single)
    sd = spread(values)
    mean = f"{round(float(values.mean()), 1) + 0.0:+.1f}".replace("-", numbers.MINUS)
    return mean if sd is None else f"{mean} ± {sd:.1f}"


def _points(values: Floats | None, single: Group | None) -> str:
    return _change(values, single).removeprefix("+")


def _record(study: Study, group: Group, found: Balance) -> Record:
    numbers_of = {f"{task}_change": found.changes[task] for task in study.tasks}
    numbers_of |= {"delta_m": found.delta_m, "range": found.range}
    numbers_of |= {f"{task}_unit": values for task, values in found.units.items()}
    numbers_of["unit_range"] = found.unit_range
    record: dict[str, str | int | float | None] = {"method": group.label}
    for name, values in numbers_of.items():
        record[name] = None if values is None else float(values.mean())
        record[f"{name}_sd"] = None if values is None else spread(values)
    return {
        **record, "worst": found.worst, "worst_unit": found.worst_unit, "n": len(group.runs),
        "subject": study.subject.words,
    }  # fmt: skip
