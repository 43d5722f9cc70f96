"""What tasks do to each other, method beside method: numbers worked out by hand."""

from dataclasses import replace

import pytest

from mtl_bert.analysis.document import Table, Text
from mtl_bert.analysis.gradient_conflicts import NONE, blocks, method_record
from mtl_bert.analysis.studies import Study
from mtl_bert.runs.results import PhaseRecord
from tests.analysis.conflicting import alone, influence, pair, phase
from tests.analysis.factory import Made
from tests.analysis.making import study_of
from tests.analysis.test_paper_tables import column


def met(
    cosine: float, conflicting: float, removed: float, part: float, steps: int = 10
) -> PhaseRecord:
    """A phase in which two of three tasks meet."""
    return phase(
        {"sst/qqp": pair(cosine, conflicting, steps)},
        {"sst": influence(part, steps=steps), "qqp": influence(1 - part, steps=steps)},
        steps=steps, conflicting=conflicting, removed=removed,
    )  # fmt: skip


RR = Made(epochs=2, phases=[[met(0.1, 0.4, 0.0, 0.2)], [met(0.4, 0.1, 0.4, 0.3, 30)]])
OTHER_SEED = replace(RR, seed=2, phases=[[met(0.1, 0.4, 0.1, 0.4)], [met(0.1, 0.2, 0.1, 0.4)]])
SINGLE = Made("single", epochs=2, phases=[[alone("sst", 4)], [alone("sst", 4)]])


def study() -> Study:
    return study_of(RR, OTHER_SEED, SINGLE, Made("arrp", B=9, lambda_=0.5, epochs=2))


def test_the_table_has_means_over_seeds_of_means_over_steps() -> None:
    (table,) = blocks(study())
    assert isinstance(table, Table)
    assert "SYNTHETIC" in table.title
    # The first seed: (10 · 0.4 + 30 · 0.1) / 40 = 0.175; the second: 0.3.
    assert column(table, "steps in conflict")["RR"] == "23.8 ± 8.8 %"
    # (10 · 0.1 + 30 · 0.4) / 40 = 0.325, and 0.1
    assert column(table, "mean cosine sst/qqp")["RR"] == "0.213 ± 0.159"
    assert column(table, "removed")["RR"] == "20.0 ± 14.1 %"  # 0.3 and 0.1
    assert column(table, "largest part of the update task")["RR"] == "qqp"
    assert column(table, "largest part of the update part")["RR"] == "66.2 ± 8.8 %"  # 72.5, 60
    assert column(table, "n")["RR"] == "2"
    (record,) = (r for r in table.records if r["method"] == "RR")
    assert record["conflicting"] == pytest.approx(0.2375)
    assert record["sst/qqp_cosine"] == pytest.approx(0.2125)
    assert record["sst_part"] == pytest.approx(0.3375)
    assert record["sts_part"] == 0
    assert [c.whole for c in table.columns if "cosine" in c.whole] == ["mean cosine sst/qqp"]


def test_methods_without_joint_steps_have_dashes() -> None:
    (table,) = blocks(study())
    assert isinstance(table, Table)
    for label in ("one encoder per task", "ARRP F=0 λ=0.5 B=9"):
        assert column(table, "steps in conflict")[label] == "–"
        assert column(table, "largest part of the update task")[label] == "–"
        assert column(table, "n")[label] == "0"


def test_seeds_that_recorded_nothing_are_left_out() -> None:
    found = study_of(RR, replace(RR, seed=2, phases=()))
    (group,) = found.compared
    assert (group.n, method_record(group, found.tasks)["n"]) == (2, 1)


def test_where_nothing_is_recorded_that_is_said() -> None:
    (text,) = blocks(study_of(Made(epochs=2), SINGLE))
    assert text == Text(NONE)
