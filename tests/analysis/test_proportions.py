"""Minutes per epoch at the paper's sizes: numbers worked out by hand."""

from dataclasses import replace

import pytest

from mtl_bert.analysis import costs, paper
from mtl_bert.runs.results import PhaseRecord
from tests.analysis.factory import Made, made_of
from tests.analysis.making import study_of

SMALL = {"sst": 800, "qqp": 5000, "sts": 600}


def phase(name: str, examples: int, seconds: float) -> PhaseRecord:
    return PhaseRecord(name=name, steps=1, examples=examples, seconds=seconds)


def row(table: int, name: str, *phases: PhaseRecord) -> Made:
    made = made_of(paper.row(table, name))
    return replace(made, sizes=SMALL, B_scale=0.02, epochs=2, phases=[phases, phases])


RR = row(2, "rr", phase("rr", 1800, 36))  # 0.02 s an example
ARRP = row(4, "arrp_f0_lambda05", phase("rr", 1800, 36), phase("finetune", 480, 4.8))
VANILLA = row(2, "vanilla_16000", phase("vanilla", 960, 19.2))
FULL = row(
    2, "full", phase("full:sst", 800, 8), phase("full:qqp", 5000, 5), phase("full:sts", 600, 6)
)


@pytest.mark.parametrize(
    ("made", "seconds"),
    [
        (RR, 18_120 * 0.02),
        (ARRP, 18_120 * 0.02 + 24_000 * 0.01),
        (VANILLA, 3 * 16_000 * 0.02),
        (FULL, 8_544 * 0.01 + 283_010 * 0.001 + 6_040 * 0.01),
        (row(3, "arrp_270466_f0", phase("rr", 1800, 36), phase("finetune", 5000, 50)),
         18_120 * 0.02 + 270_466 * 0.01),
    ],
)  # fmt: skip
def test_each_phase_counts_as_often_as_in_the_paper(made: Made, seconds: float) -> None:
    (group,) = study_of(made).groups
    assert costs.minutes(group) == pytest.approx([seconds / 60])


@pytest.mark.parametrize(
    "made",
    [
        replace(RR, phases=[[phase("joint", 1800, 36)]] * 2),
        replace(VANILLA, B=None),
        replace(FULL, phases=[[phase("full:other", 1, 1)]] * 2),
        replace(ARRP, phases=[[phase("rr", 1800, 36), phase("finetune", 0, 0)]] * 2),
        made_of(paper.row(2, "random")),
    ],
)
def test_what_is_not_known_is_not_guessed(made: Made) -> None:
    (group,) = study_of(made).groups
    assert costs.minutes(group) is None


def test_the_table_sets_ratios_beside_the_papers() -> None:
    table = costs.proportions_table(study_of(RR, replace(RR, seed=2), ARRP, VANILLA, FULL))
    assert table is not None
    shown = [(r[0].text, r[2].text, r[4].text, r[5].text) for r in table.rows]
    assert shown == [
        ("RR-PCGrad, B=6,040", "1.00", "1.00 ± 0", "2"),
        ("V-PCGrad, B=16,000", "2.37", f"{960 / 362.4:.2f}", "1"),
        ("Full model finetuning", "11.49", f"{428.85 / 362.4:.2f}", "1"),
        ("ARRP, F=0, λ=0.5, B=24,000", f"{paper.row(4, 'arrp_f0_lambda05').minutes / 7.93:.2f}",
         f"{602.4 / 362.4:.2f}", "1"),
    ]  # fmt: skip


def test_times_of_another_device_are_not_set_beside_round_robins() -> None:
    elsewhere = replace(VANILLA, device="another")
    table = costs.proportions_table(study_of(RR, elsewhere, ARRP))
    assert table is not None
    assert [row[4].text for row in table.rows] == ["1.00", "–", "1.66"]
    assert [record["minutes_to_rr"] is None for record in table.records] == [False, True, False]


def test_without_round_robin_there_is_nothing_to_compare_with() -> None:
    assert costs.proportions_table(study_of(VANILLA)) is None
    assert costs.proportions_table(study_of(RR)) is None
