"""Tables 1 to 4 against numbers worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from mtl_bert.analysis import paper, paper_tables
from mtl_bert.analysis.contents import runs_table
from mtl_bert.analysis.document import Block, Commands, Table
from mtl_bert.analysis.paper_tables import BOLD_RULE
from mtl_bert.analysis.studies import Study
from tests.analysis.factory import PAPER_SURGERY, Made, made_of
from tests.analysis.making import NOWHERE, seeds, study_of

REAL = {"data": "cs224n", "synthetic": False, "encoder": "bert-base-uncased"}
ANNEALED = made_of(paper.row(2, "annealed_56000"))


def of(blocks: list[Block]) -> Table:
    (table,) = (block for block in blocks if isinstance(block, Table))
    return table


def column(table: Table, name: str) -> dict[str, str]:
    """Row label -> text of a column, which the whole heading names."""
    (place,) = (n for n, c in enumerate(table.columns) if c.whole == name)
    return {row[0].text: row[place].text for row in table.rows}


def bold(table: Table) -> set[tuple[str, str]]:
    return {
        (row[0].text.partition(" [")[0], column.whole)
        for row in table.rows
        for cell, column in zip(row, table.columns, strict=True)
        if cell.bold
    }


def second(study: Study) -> Table:
    return of(paper_tables.score_table(study, 2, "baselines", paper_tables.unpublished(study)))


def test_mean_spread_difference_and_times() -> None:
    values = [{"sst": 0.50, "sts": 0.8}, {"sst": 0.52, "sts": 0.9}, {"sst": 0.54, "sts": 0.7}]
    rr = [replace(m, minutes=10.0) for m in seeds(made_of(paper.row(2, "rr")), values)]
    annealed = [
        replace(ANNEALED, seed=seed, minutes=minutes) for seed, minutes in ((1, 50.0), (2, 70.0))
    ]
    table = second(study_of(*rr, *annealed, **REAL))
    label = "RR-PCGrad, B=6,040 [1]"
    assert column(table, "Sentiment (sst) accuracy paper")[label] == "0.528"
    assert column(table, "Sentiment (sst) accuracy ours")[label] == "0.520 ± 0.020"
    assert column(table, "Sentiment (sst) accuracy Δ")[label] == "−0.008"
    assert column(table, "Similarity (sts) pearson ours")[label] == "0.800 ± 0.100"
    # (0.52 + 0.829 + 1.8 / 2) / 3; spread of (0.02 s + 0.05 t) / 3 over seeds
    assert column(table, "score ours")[label] == "0.750 ± 0.015"
    assert column(table, "n")[label] == "3"
    other = "A-PCGrad, B=56,000 [4] [5]"
    assert column(table, "minutes per epoch ours")[other] == "60.00 ± 14.14"
    assert column(table, "minutes per epoch ours ÷ RR")[other] == "6.00"
    assert column(table, "minutes per epoch paper ÷ RR")[other] == "8.30"  # 65.8 / 7.93
    (record,) = (r for r in table.records if r["experiment"] == "rr")
    assert record["sst"] == pytest.approx(0.52)
    assert record["sst_sd"] == pytest.approx(0.02)
    assert record["sst_difference"] == pytest.approx(-0.008)
    assert record["minutes_to_rr"] == 1
    assert "comparable only as ratios" in table.caption


def test_table_3_has_the_time_beyond_round_robins() -> None:
    rr = replace(made_of(paper.row(3, "rr")), minutes=8.0)
    arrp = replace(made_of(paper.row(3, "arrp_18000_f0")), minutes=10.0)
    table = of(paper_tables.first_epoch_table(study_of(rr, arrp, **REAL)))
    label = "ARRP, F=0, λ=1, B=18,000 [1]"
    assert column(table, "additional minutes per epoch paper")[label] == "1.60"
    assert column(table, "additional minutes per epoch ours")[label] == "2.00"
    assert column(table, "time ÷ RR")[label] == "1.25"
    assert column(table, "Paraphrase (qqp) accuracy Δ")[label] == "+0.000"
    assert column(table, "n")["ARRP, F=1, λ=1, B=18,000 [1]"] == "0"


def test_table_1_has_the_papers_sizes_and_ours() -> None:
    study = study_of(made_of(paper.row(2, "rr")))
    table = of(paper_tables.dataset_table(study))
    assert column(table, "training examples paper")["qqp"] == "283,010"
    assert column(table, "training examples ours (made-up text)")["qqp"] == "31,131"
    assert column(table, "test examples paper")["sts"] == "1,725"
    assert column(table, "used in an RR epoch paper")["sst"] == "70.7 %"
    assert column(table, "used in an RR epoch ours (made-up text)")["sst"] == "70.6 %"  # 664 / 940
    without = paper_tables.dataset_table(study_of(ANNEALED))
    assert column(of(without), "used in an RR epoch ours (made-up text)")["sst"] == "–"
    (gap,) = (block for block in without if isinstance(block, Commands))
    assert "+experiment/table2=rr" in gap.items[0][1]


def test_times_of_several_devices_are_said_to_be_no_comparison() -> None:
    made = made_of(paper.row(2, "rr"))
    assert "several devices" not in second(study_of(made, ANNEALED)).caption
    table = second(study_of(made, replace(ANNEALED, device="another")))
    assert "of several devices (a CPU, 1 thread; another)" in table.caption
    assert column(table, "minutes per epoch ours ÷ RR")["A-PCGrad, B=56,000 [4] [5]"] == "–"


def test_a_scaled_budget_says_what_it_drew() -> None:
    table = second(study_of(replace(ANNEALED, B_scale=0.11)))
    assert "A-PCGrad, B=56,000 × 0.11 = 6,160 [4] [5]" in column(table, "n")


def test_missing_rows_are_gaps_with_commands() -> None:
    blocks = paper_tables.score_table(study_of(*seeds(ANNEALED), epochs=10, **REAL), 2, "x", [])
    table, gaps = of(blocks), blocks[1]
    assert isinstance(gaps, Commands)
    assert len(gaps.items) == 7
    assert dict(gaps.items)["V-PCGrad, B=16,000"] == (
        "mtl-bert train -m +experiment/table2=vanilla_16000 seed=1,2,3 epochs=10  "
        "# and the settings that Provenance lists: none are recorded"
    )
    assert column(table, "score ours")["V-PCGrad, B=16,000"] == "–"
    assert column(table, "score paper")["V-PCGrad, B=16,000"] == "0.770"


def test_a_full_table_has_no_gaps() -> None:
    study = study_of(*(made_of(row) for row in paper.rows(4)))
    assert len(paper_tables.score_table(study, 4, "x", [])) == 1


def test_ones_own_method_stands_below_in_both_tables() -> None:
    mgda = {**PAPER_SURGERY, "method": {"_target_": "mtl_bert.surgery.MGDA"}}
    study = study_of(ANNEALED, Made(surgery=mgda))
    for number in (2, 4):
        others = paper_tables.unpublished(study)
        table = of(paper_tables.score_table(study, number, "x", others))
        assert table.rows[-1][0].text == "RR, surgery MGDA, all, mean"
        assert table.rows[-1][1].text == "–"
        assert len(table.rows) == len(paper.rows(number)) + 1


def test_a_run_stands_in_every_table_that_has_its_row() -> None:
    study = study_of(ANNEALED)
    for number in (2, 4):
        ours = column(of(paper_tables.score_table(study, number, "x", [])), "n")
        assert [n for label, n in ours.items() if label.startswith("A-PCGrad, B=56,000")] == ["1"]


def rivals(first: list[float], second_: list[float]) -> Table:
    made = [
        *seeds(made_of(paper.row(2, "rr")), [{"sst": value} for value in first]),
        *seeds(ANNEALED, [{"sst": value} for value in second_]),
    ]
    return second(study_of(*made, **REAL))


@pytest.mark.parametrize(
    ("first", "other", "expected"),
    [
        ([0.52, 0.54], [0.49, 0.51], True),  # 0.03 apart, both deviations 0.0141
        ([0.52, 0.54], [0.51, 0.53], False),  # 0.01 apart
        ([0.529, 0.531], [0.49, 0.55], False),  # the rival's spread is the larger one
        ([0.55, 0.55], [0.50], False),  # a rival with one seed
        ([0.55], [0.50, 0.50], False),  # one seed itself
        ([0.55], [0.50], False),
    ],
)
def test_bold_only_outside_the_spread(
    first: list[float], other: list[float], expected: bool
) -> None:
    table = rivals(first, other)
    mark = ("RR-PCGrad, B=6,040", "Sentiment (sst) accuracy ours")
    assert (mark in bold(table)) == expected
    assert ("A-PCGrad, B=56,000", mark[1]) not in bold(table)
    assert BOLD_RULE in table.caption


def test_equals_and_lonely_rows_are_not_bold() -> None:
    assert ("RR-PCGrad, B=6,040", "Sentiment (sst) accuracy ours") not in bold(
        rivals([0.5, 0.5], [0.5, 0.5])
    )
    assert bold(second(study_of(*seeds(ANNEALED)))) == set()


def test_footnotes_stand_on_their_rows() -> None:
    table = of(paper_tables.score_table(study_of(ANNEALED), 4, "x", []))
    marked = {row[0].text for row in table.rows if "[" in row[0].text}
    assert marked == {
        "RR-PCGrad, B=6,040 [1]",
        "A-PCGrad, B=56,000 [2]",
        "ARRP, F=1, λ=1, B=24,000 [3]",
    }
    assert "0.874" in table.notes[2]


@pytest.mark.parametrize("changes", [{}, REAL, {**REAL, "sizes": {"sst": 8544, "qqp": 9}}])
def test_where_it_is_not_the_papers_experiment_the_caption_says_so(changes: Any) -> None:
    assert "another experiment" in second(study_of(ANNEALED, **changes)).caption


def test_where_it_is_the_papers_experiment_the_caption_does_not() -> None:
    sizes = {task: size.train for task, size in paper.SIZES.items()}
    dev = {task: size.dev for task, size in paper.SIZES.items()}
    table = second(study_of(ANNEALED, sizes=sizes, dev=dev, **REAL))
    assert "another experiment" not in table.caption
    smaller = second(study_of(ANNEALED, sizes=sizes, dev={**dev, "qqp": 5_053}, **REAL))
    assert "another experiment" in smaller.caption


def test_all_runs_are_listed_with_why_they_stand_nowhere_else() -> None:
    study = study_of(ANNEALED, replace(ANNEALED, later=5), replace(ANNEALED, seed=2))
    places = {NOWHERE / f"run{n}": f"runs/{n}.html" for n in range(3)}
    table = runs_table(study, places)
    assert {row[0].text: row[0].link for row in table.rows} == {
        f"run{n}": f"runs/{n}.html" for n in range(3)
    }
    left_out = "left out: a newer run has the same method and seed"
    assert column(table, "remark") == {"run0": left_out, "run1": "", "run2": ""}
    assert column(table, "method")["run0"] == "annealed B=56,000"
