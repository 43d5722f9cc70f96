"""What an example costs in each phase: numbers worked out by hand."""

from dataclasses import replace

import pytest

from mtl_bert.analysis.costs import costs_table
from mtl_bert.analysis.document import Table
from mtl_bert.runs.results import PhaseRecord
from tests.analysis.factory import Made
from tests.analysis.making import study_of


def phases(rr: float, alone: float) -> list[PhaseRecord]:
    return [
        PhaseRecord(name="rr", steps=2, examples=48, seconds=rr),
        PhaseRecord(name="finetune", steps=4, examples=32, seconds=alone),
    ]


ARRP = Made("arrp", B=32, lambda_=0.5, epochs=2, phases=[phases(2, 0.5), phases(4, 1.5)])
OTHER_SEED = replace(ARRP, seed=2, phases=[phases(4, 1), phases(4, 1)])


def made(*runs: Made) -> Table:
    table = costs_table(study_of(*runs))
    assert table is not None
    return table


def test_a_row_for_each_phase_with_means_over_seeds() -> None:
    table = made(ARRP, OTHER_SEED)
    texts = [[cell.text for cell in row[1:]] for row in table.rows]
    assert texts == [
        # 6 s and 8 s for 96 examples: 62.5 and 83.3.
        ["rr", "48", "3.50 ± 0.71", "72.92 ± 14.73", "2", "a CPU, 1 thread"],
        ["finetune", "32", "1.00 ± 0.00", "31.25 ± 0.00", "2", "a CPU, 1 thread"],
    ]
    assert table.records[0]["seconds_per_1000_examples"] == pytest.approx(72.9, abs=0.05)
    assert table.records[0]["examples_per_epoch"] == 48


def test_one_seed_has_no_spread() -> None:
    assert made(ARRP).rows[0][4].text == "62.50"


def test_a_phase_without_examples_costs_nothing_that_can_be_said() -> None:
    capped = PhaseRecord(name="finetune", steps=0, examples=0, seconds=0)
    table = made(replace(ARRP, epochs=1, phases=[[phases(2, 1)[0], capped]]))
    assert [row[1].text for row in table.rows] == ["rr"]


def test_seeds_without_the_phase_are_not_counted() -> None:
    capped = [phases(2, 1)[0], PhaseRecord(name="finetune", steps=0, examples=0, seconds=0)]
    table = made(ARRP, replace(OTHER_SEED, phases=[capped, capped]))
    assert [(row[1].text, row[5].text) for row in table.rows] == [("rr", "2"), ("finetune", "1")]


def test_nothing_trained_costs_nothing() -> None:
    assert costs_table(study_of(Made("random"))) is None
