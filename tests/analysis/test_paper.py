"""The printed numbers, typed a second time, and what they say about each other."""

import pytest

from mtl_bert.analysis import paper
from mtl_bert.analysis.paper import PaperRow

PRINTED = """
2 rr                      0.528 0.829  0.869 0.763  7.93
2 annealed_16000          0.512 0.874  0.858 0.774 18.1
2 annealed_56000          0.535 0.890  0.865 0.785 65.8
2 annealed_80000          0.516 0.895  0.862 0.781 93.1
2 vanilla_16000           0.496 0.887  0.851 0.770 18.8
2 vanilla_56000           0.511 0.891  0.869 0.779 65.1
2 full                    0.378 0.778  0.363 0.613 91.1
2 random                  0.144 0.547 -0.023 0.393  0
4 rr                      0.528 0.829  0.866 0.763  7.13
4 annealed_56000          0.535 0.892  0.869 0.785 45.18
4 arrp_f1_lambda1         0.508 0.838  0.8   0.761  8.10
4 arrp_f1_lambda05        0.527 0.830  0.868 0.764  8.11
4 arrp_f0_lambda03        0.521 0.867  0.872 0.775 14.47
4 arrp_f0_lambda05        0.520 0.878  0.866 0.777 14.47
4 arrp_f0_lambda07        0.511 0.875  0.867 0.773 14.47
4 arrp_f0_lambda01_100000 0.511 0.899  0.879 0.783 30.76
"""
ONE_EPOCH = {
    "rr": (0.752, 0),
    "arrp_18000_f0": (0.759, 1.6),
    "arrp_18000_f1": (0.759, 1.6),
    "arrp_270466_f0": (0.762, 18.1),
    "arrp_270466_f1": (0.762, 18.1),
}
# Rows whose columns do not give their printed score: docs/explanation/paper.md lists them.
CONTRADICTING = {(2, "annealed_16000"), (4, "annealed_56000"), (4, "arrp_f1_lambda1")}


def score(row: PaperRow) -> float:
    return (row.tasks["sst"] + row.tasks["qqp"] + (row.tasks["sts"] + 1) / 2) / 3


def test_every_number_is_as_printed() -> None:
    lines = [line.split() for line in PRINTED.strip().splitlines()]
    rows = [row for row in paper.ROWS if row.table != 3]
    assert [(str(row.table), row.experiment) for row in rows] == [(t, n) for t, n, *_ in lines]
    for row, (_, _, *numbers) in zip(rows, lines, strict=True):
        found = [*(row.tasks[task] for task in ("sst", "qqp", "sts")), row.score, row.minutes]
        assert found == [float(number) for number in numbers], row.experiment
    assert {r.experiment: (r.tasks["qqp"], r.minutes) for r in paper.rows(3)} == ONE_EPOCH


@pytest.mark.parametrize("row", [row for row in paper.ROWS if row.score is not None])
def test_the_score_follows_from_the_columns_or_a_footnote_says_that_it_does_not(
    row: PaperRow,
) -> None:
    assert row.score is not None
    agrees = abs(score(row) - row.score) <= 0.001  # as printed: rounded, or cut off
    assert agrees == ((row.table, row.experiment) not in CONTRADICTING)
    if not agrees:
        assert "does not" in row.notes or "and not the printed" in row.notes


def test_footnotes_name_the_numbers_that_the_print_contradicts_itself_in() -> None:
    def notes(table: int, name: str) -> str:
        return " ".join(paper.row(table, name).footnotes)

    assert "0.869 in 7.93" in notes(2, "rr")
    assert "0.866 in 7.13" in notes(4, "rr")
    assert "65.8" in notes(2, "annealed_56000")
    assert "45.18" in notes(4, "annealed_56000")
    assert "276,970" in notes(3, "arrp_270466_f1")
    sizes = paper.SIZES
    assert sizes["qqp"].train - sizes["sts"].train == 276_970


def test_what_is_inferred_says_so() -> None:
    inferred = {(row.table, row.experiment) for row in paper.ROWS if row.inferred}
    blank = {(2, f"annealed_{B}") for B in (16000, 56000, 80000)}
    assert inferred == blank | {(3, name) for name in ONE_EPOCH if name != "rr"}


def test_utilisation_is_the_smallest_size_over_each() -> None:
    for size in paper.SIZES.values():
        assert round(100 * 6040 / size.train, 1) == size.used


def test_no_two_rows_of_a_table_are_the_same_run() -> None:
    for table in (2, 3, 4):
        recipes = [row.recipe for row in paper.rows(table)]
        assert len(set(recipes)) == len(recipes)
