"""Who gains and who loses by learning together: each task against a model of its own.

Δm is the multi-task literature's (Maninis et al., CVPR 2019; Vandenhende et al., TPAMI 2021): the
mean over tasks of the change of each task's metric relative to its single-task model, in %,
positive where learning together is better. All metrics here are better when higher.
"""

from collections.abc import Mapping

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.commands import independent
from mtl_bert.analysis.document import (
    Block,
    Cell,
    Column,
    Commands,
    Record,
    Text,
    numeric,
    table,
    words,
)
from mtl_bert.analysis.numbers import Floats
from mtl_bert.analysis.paper import EPOCHS
from mtl_bert.analysis.studies import Group, Study

SINGLE = "single"
UNDEFINED = "undefined"


def single_of(study: Study) -> Group | None:
    """The independent models with the epochs of the others; the plainest of several."""
    found = [group for group in study.compared if group.method.sampler == SINGLE]
    return min(found, key=lambda group: len(group.label), default=None)


def balance(study: Study, group: Group, single: Group | None) -> Record:
    """How a method treats the tasks, against the independent models' means over seeds.

    Returns:
        ``TASK_change``, in %, ``delta_m``, ``range`` (largest minus smallest change) and ``worst``
        (the task with the lowest), None where a single-task metric is not above 0 or not known;
        the same of metrics mapped to 0..1: ``TASK_unit``, ``unit_range``, ``worst_unit``.
    """
    changes: dict[str, Floats | None] = {}
    for task in study.tasks:
        base = 0.0 if single is None else single.mean(task)
        changes[task] = 100 * (group.values(task) - base) / base if base > 0 else None
    units = {task: study.unit(task, group.values(task)) for task in study.tasks}
    known = {task: values for task, values in changes.items() if values is not None}
    whole = len(known) == len(changes)
    return {
        **{f"{task}_change": values for task, values in changes.items()},
        "delta_m": np.mean(list(known.values()), axis=0) if whole else None,
        "range": np.ptp(list(known.values()), axis=0) if whole else None,
        **{f"{task}_unit": values for task, values in units.items()},
        "unit_range": np.ptp(list(units.values()), axis=0),
        "worst": _lowest(known) if whole else None,
        "worst_unit": _lowest(units),
    }


def _lowest(values: Mapping[str, Floats]) -> str:
    return min(values, key=lambda task: float(values[task].mean()))


def blocks(study: Study) -> list[Block]:
    """The table, and the command for the independent models where there are none."""
    if not study.compared:
        return [Text("Nothing was trained, so nothing can be said.")]
    single = single_of(study)
    unknown = Cell(numbers.MISSING if single is None else UNDEFINED)
    records = []
    for group in study.compared:
        found = {"method": group.label, **balance(study, group, single), "n": group.n}
        shown = ("delta_m", "range", "worst", *(f"{task}_change" for task in study.tasks))
        records.append(
            found | {f"_{key}": unknown if found[key] is None else found[key] for key in shown}
        )
    change, mapped = "change to the single-task model, %", "metric mapped to 0..1"
    changes = {f"_{task}_change": task for task in study.tasks}
    balances = table(
        f"{study.slug}-fairness",
        "Each task against a model of its own",
        study.subject,
        (
            *words("method"),
            *numeric(changes | {"_delta_m": "mean over tasks (Δm)"}, _signed, change),
            Column("worst task", change, numeric=False, key="_worst"),
            *numeric({"_range": "max − min"}, "{:.1f}".format, change),
            Column("worst task", mapped, numeric=False, key="worst_unit"),
            *numeric({"unit_range": "max − min"}, numbers.metric, mapped), *numeric(["n"]),
        ),
        records,
        caption=_caption(study, single),
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
