"""Δm and the spread over tasks, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from mtl_bert.analysis.document import Block, Commands, Table, Text
from mtl_bert.analysis.fairness import balance, blocks, single_of
from mtl_bert.analysis.studies import Study
from tests.analysis.factory import Made
from tests.analysis.making import seeds, study_of
from tests.analysis.test_paper_tables import column

SINGLE = Made("single", accuracies={"sst": 0.5, "qqp": 0.8, "sts": 0.4})
GROUP = "change to the single-task model, %"


def table_of(found: list[Block]) -> Table:
    (table,) = (block for block in found if isinstance(block, Table))
    return table


def two_seeds() -> Study:
    values = [
        {"sst": 0.55, "qqp": 0.76, "sts": 0.40},  # +10, −5, 0: Δm 5/3, 15 apart
        {"sst": 0.45, "qqp": 0.72, "sts": 0.44},  # −10, −10, +10: Δm −10/3, 20 apart
    ]
    return study_of(*seeds(Made(), values), SINGLE)


def test_changes_are_relative_to_the_single_task_models() -> None:
    study = two_seeds()
    rr = next(group for group in study.compared if group.method.sampler == "rr")
    found = balance(study, rr, single_of(study))
    assert found["sst_change"] == pytest.approx([10, -10])
    assert found["qqp_change"] == pytest.approx([-5, -10])
    assert found["delta_m"] == pytest.approx([5 / 3, -10 / 3])
    assert found["range"] == pytest.approx([15, 20])
    assert found["worst"] == "qqp"  # −7.5 on average, sst 0, sts +5
    # Pearson's r is mapped from −1..1: 0.70 and 0.72; the worst is sst's accuracy.
    assert found["worst_unit"] == "sst"
    assert found["unit_range"] == pytest.approx([0.76 - 0.55, 0.72 - 0.45])


def test_the_table_has_means_and_spreads() -> None:
    table = table_of(blocks(two_seeds()))
    assert len(blocks(two_seeds())) == 1
    assert column(table, f"{GROUP} sst")["RR"] == "+0.0 ± 14.1"
    assert column(table, f"{GROUP} mean over tasks (Δm)")["RR"] == "−0.8 ± 3.5"
    assert column(table, f"{GROUP} worst task")["RR"] == "qqp"
    assert column(table, f"{GROUP} max − min")["RR"] == "17.5 ± 3.5"
    assert column(table, "metric mapped to 0..1 max − min")["RR"] == "0.240 ± 0.042"
    own = column(table, f"{GROUP} mean over tasks (Δm)")["one encoder per task"]
    assert own == "+0.0"
    (record,) = (r for r in table.records if r["method"] == "RR")
    assert record["delta_m"] == pytest.approx(-5 / 6)
    assert record["qqp_change_sd"] == pytest.approx(np.std([-5, -10], ddof=1))
    assert record["range"] == pytest.approx(17.5)
    assert "SYNTHETIC" in table.title


@pytest.mark.parametrize("value", [0.0, -0.1])
def test_nothing_is_relative_to_what_is_not_above_0(value: float) -> None:
    base = replace(SINGLE, accuracies={**SINGLE.accuracies, "sts": value})
    table = table_of(blocks(study_of(Made(), base)))
    assert column(table, f"{GROUP} sts")["RR"] == "undefined"
    assert column(table, f"{GROUP} mean over tasks (Δm)")["RR"] == "undefined"
    assert column(table, f"{GROUP} worst task")["RR"] == "undefined"
    assert column(table, f"{GROUP} sst")["RR"] == "+0.0"
    assert "Undefined for sts" in table.caption
    (record,) = (r for r in table.records if r["method"] == "RR")
    assert record["delta_m"] is None


def test_without_single_task_models_there_is_the_command_that_makes_them() -> None:
    table, gap = blocks(study_of(*seeds(Made()), epochs=5))
    assert isinstance(table, Table)
    assert column(table, f"{GROUP} sst")["RR"] == "–"
    assert column(table, f"{GROUP} worst task")["RR"] == "–"
    assert column(table, "metric mapped to 0..1 worst task")["RR"] == "sst"
    assert "no run of sampler=single" in table.caption
    assert isinstance(gap, Commands)
    ((_, command),) = gap.items
    assert command.startswith("mtl-bert train -m sampler=single seed=1,2,3 epochs=5")


def test_models_of_other_epochs_are_no_measure() -> None:
    study = study_of(*seeds(Made(epochs=5)), replace(SINGLE, epochs=2))
    assert single_of(study) is None


def test_nothing_trained_has_no_table() -> None:
    (text,) = blocks(study_of(Made("random")))
    assert isinstance(text, Text)
