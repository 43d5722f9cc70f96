"""Studies of several ratios of sizes side by side: numbers worked out by hand."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtl_bert.analysis import canvas, imbalance, paper
from mtl_bert.analysis.contents import report
from mtl_bert.analysis.document import Figure, Section, Table, Text
from mtl_bert.analysis.imbalance import QUESTION, Series, ratio_of, series_of, worst
from mtl_bert.analysis.run_files import find_runs
from mtl_bert.analysis.studies import SCORE, Study, studies
from tests.analysis.factory import Made, made_of, make_run
from tests.analysis.making import Told, run_of, seeds, study_of
from tests.analysis.test_paper_tables import column

ARRP, RR = Made("arrp", lambda_=0.5), Made("rr")
ACCURACIES = {"sst": 0.5, "qqp": 0.8, "sts": 0.2}  # of a range of 2: mapped to 0.6


def at(ratio: float, made: Made, *, largest: int = 1000, dev: int = 220) -> Made:
    small = round(largest / ratio)
    return replace(
        made,
        sizes={"sst": small, "qqp": largest, "sts": small},
        dev={"sst": dev, "qqp": 400, "sts": 180},
        override={**made.override, "data": {"limit": largest, "imbalance": ratio}},
    )


def found(*made: Made) -> list[Study]:
    return studies([run_of(m, f"run{n}") for n, m in enumerate(made)])


def steps(ratios: tuple[float, ...] = (100, 1, 10), *methods: Made) -> list[Study]:
    return found(*(m for ratio in ratios for method in methods for m in seeds(at(ratio, method))))


def only(studies_of: list[Study]) -> Series:
    (ladder,) = series_of(studies_of)
    return ladder


def section_of(ladder: Series, means: Mapping[tuple[float, str, str], float]) -> Section:
    """The section, where differences are told: (ratio, label, label) -> mean."""
    looks = canvas.looks_of(group.method for study in ladder.studies for group in study.groups)
    comparisons = {
        study: Told(
            study.compared,
            {(a, b, SCORE): mean for (r, a, b), mean in means.items() if r == ratio_of(study)},
        )
        for study in ladder.studies
    }
    return imbalance.section(ladder, looks, comparisons)


def test_studies_of_several_ratios_are_a_ladder_in_rising_order() -> None:
    ladder = only(steps((100, 1, 10), ARRP, RR))
    assert ladder.ratios == (1, 10, 100)
    assert "(1, 10 and 100 times each of the others)" in ladder.subject.words
    assert "940 of" not in ladder.subject.words


@pytest.mark.parametrize(
    "other",
    [
        at(10, RR, largest=2000),
        at(10, replace(RR, lr=1e-5)),
        at(10, RR, dev=100),
        at(1, replace(RR, seed=2)),
        replace(RR, encoder="bert-base-uncased"),
    ],
)
def test_what_is_no_ladder(other: Made) -> None:
    assert series_of(found(at(1, RR), other)) == []


def test_two_ladders_have_names_of_their_own() -> None:
    both = series_of(found(*(at(r, RR, largest=n) for r in (1, 10) for n in (1000, 2000))))
    assert [ladder.slug for ladder in both] == ["imbalance", "imbalance2"]


def test_an_untrained_model_is_no_method_of_a_ladder() -> None:
    ladder = only(steps((1, 10), RR, Made("random", epochs=3)))
    assert [method.sampler for method in ladder.methods] == ["rr"]


def test_methods_are_followed_whatever_b_is() -> None:
    given = [at(r, replace(RR, B=B)) for r, B in ((1, 1000), (10, 400), (10, 200))]
    ladder = only([*found(*given, at(1, RR), at(10, RR))])
    labels = {method.label: groups for method, groups in ladder.methods.items()}
    assert list(labels) == ["RR", "RR, B given"]
    drawn = [group.method.drawn for _, group in sorted(labels["RR, B given"].items())]
    assert drawn == [1000, 400]


def test_the_worst_task_is_each_seeds_own() -> None:
    values = [{"sst": 0.5, "qqp": 0.8}, {"sst": 0.9, "qqp": 0.8}]
    study = study_of(*seeds(replace(RR, accuracies={"sts": 0.9}), values))
    (group,) = study.compared
    assert worst(study, group) == pytest.approx([0.5, 0.8])


def test_the_tables_and_the_figure() -> None:
    arrp = replace(ARRP, accuracies=ACCURACIES)
    ladder = only([
        *found(*seeds(at(1, arrp), [{"sst": 0.4}, {"sst": 0.6}]), at(1, RR)),
        *found(*seeds(at(10, arrp)), *seeds(at(10, RR)), at(10, replace(RR, surgery={}, B=7))),
    ])  # fmt: skip
    section = section_of(ladder, {(10, ladder.studies[1].compared[-1].label, "RR"): 0.1})
    lead, scores, figure, question, advantage = section.blocks
    assert isinstance(lead, Text)
    assert isinstance(scores, Table)
    assert isinstance(figure, Figure)
    assert isinstance(question, Text)
    assert isinstance(advantage, Table)
    label = "ARRP F=0 λ=0.5"
    # Scores 0.6 and 0.667; worst of each seed: sst 0.4, and sts (0.2 + 1) / 2 = 0.6.
    assert column(scores, "score 1 : 1")[label] == "0.633 ± 0.047"
    assert column(scores, f"{imbalance.WORST} 1 : 1")[label] == "0.500 ± 0.141"
    assert column(scores, "score 10 : 1")["RR"] == "0.717 ± 0.000"
    assert column(scores, "n")[label] == "2 or 3"
    (record,) = (r for r in scores.records if (r["method"], r["ratio"]) == (label, 1))
    assert record["score"] == pytest.approx(0.6333, abs=1e-4)
    assert record["score_sd"] == pytest.approx(np.std([0.6, 2 / 3], ddof=1))
    assert label in figure.description
    assert "RR" in figure.description
    assert [c.heading for c in advantage.columns] == ["method", "minus", "1 : 1", "10 : 1"]


@pytest.mark.parametrize(
    ("at_1", "at_100", "answer"),
    [
        (0.0, 0.1, "ahead at 100 : 1"),
        (0.1, -0.1, "behind at 100 : 1"),
        (0.1, 0.0, "no difference shown at 100 : 1"),
    ],
)
def test_where_it_stands_at_the_largest_ratio(at_1: float, at_100: float, answer: str) -> None:
    label = "ARRP F=0 λ=0.5"
    section = section_of(
        only(steps((1, 10, 100), ARRP, RR)), {(1, label, "RR"): at_1, (100, label, "RR"): at_100}
    )
    *_, question, table = section.blocks
    assert isinstance(question, Text)
    assert question.words.startswith(f"{QUESTION} {label} against RR: {answer}; from 1 : 1 to ")
    assert isinstance(table, Table)
    signs = [cell.bold for cell in table.rows[0][2:]]
    assert signs == [at_1 != 0, False, at_100 != 0]


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        # The score is a third of what sst gains: by 0.1 more at 100 : 1 than at 1 : 1.
        ((0.30, 0.31, 0.29), "changed by +0.100 (+0.092 to +0.108, real over seeds)"),
        ((0.0, 0.6, 0.3), "not shown to be real)"),
        ((-0.30, -0.31, -0.29), "changed by −0.100 (−0.108 to −0.092, real over seeds)"),
    ],
)
def test_whether_the_difference_changes_is_tested_by_itself(
    gains: tuple[float, ...], words: str
) -> None:
    gained = [{"sst": 0.5 + gain} for gain in gains]
    ladder = only(found(
        *seeds(at(1, ARRP)), *seeds(at(1, RR)), *seeds(at(100, RR)),
        *seeds(at(100, ARRP), gained),
    ))  # fmt: skip
    question = section_of(ladder, {}).blocks[-2]
    assert isinstance(question, Text)
    assert words in question.words


def test_runs_of_another_number_of_epochs_are_no_ladder() -> None:
    assert series_of(found(at(1, RR), at(10, replace(RR, epochs=7)))) == []


def test_one_epoch_is_none() -> None:
    assert series_of(found(*(at(r, replace(RR, epochs=1)) for r in (1, 10)))) == []


def test_the_ratio_is_what_was_asked_for() -> None:
    ladder = only(steps((30, 7), RR))  # 1,000 / 33 and 1,000 / 143
    assert ladder.ratios == (7, 30)


def test_sizes_that_nobody_asked_for_are_no_ladder() -> None:
    natural = replace(RR, override={"data": {"limit": 1000}})
    assert series_of(found(natural, at(1, RR))) == []


@pytest.mark.usefixtures("undrawn")
def test_a_whole_report_has_it(tmp_path: Path) -> None:
    for n, made in enumerate(m for r in (1, 10) for m in seeds(at(r, ARRP), 2)):
        make_run(tmp_path / f"arrp{n}", made)
    for n, made in enumerate(m for r in (1, 10) for m in seeds(at(r, RR), 2)):
        make_run(tmp_path / f"rr{n}", made)
    runs, _ = find_runs([tmp_path])
    document = report(runs)
    assert document.sections[-1].anchor == "imbalance"
    table = document.sections[-1].blocks[-1]
    assert isinstance(table, Table)
    assert "not shown" in table.rows[0][2].text


@pytest.mark.usefixtures("undrawn")
def test_a_rung_is_held_against_the_paper_only_with_its_rows(tmp_path: Path) -> None:
    published = made_of(paper.row(2, "annealed_56000"))
    for n, made in enumerate(at(r, m) for r in (1, 10) for m in (ARRP, replace(RR, B=None))):
        make_run(tmp_path / f"rung{n}", made)
    document = report(find_runs([tmp_path])[0])
    names = {block.name for block in document.blocks() if isinstance(block, Table | Figure)}
    assert not {name for name in names if re.search(r"table|claims|confusion", name)}
    table, _ = (b for b in document.blocks() if isinstance(b, Table) and "methods" in b.name)
    assert column(table, "n") == {"RR": "1", "ARRP F=0 λ=0.5": "1"}
    assert column(table, "score") == {"RR": "0.716", "ARRP F=0 λ=0.5": "0.716"}
    assert column(table, "minutes per epoch ÷ RR") == {"RR": "1.00", "ARRP F=0 λ=0.5": "1.00"}

    make_run(tmp_path / "row", at(10, published))
    document = report(find_runs([tmp_path])[0])
    names = {block.name for block in document.blocks() if isinstance(block, Table | Figure)}
    assert len([name for name in names if name.endswith("-claims")]) == 1


def test_one_seed_cannot_be_judged() -> None:
    ladder = only(found(*(at(r, m) for r in (1, 10) for m in (ARRP, RR))))
    looks = canvas.looks_of(group.method for study in ladder.studies for group in study.groups)
    comparisons = {s: Told(s.compared, {}, common=1) for s in ladder.studies}
    *_, question, _ = imbalance.section(ladder, looks, comparisons).blocks
    assert isinstance(question, Text)
    assert "cannot be judged" in question.words


def test_without_arrp_nothing_is_asked() -> None:
    assert len(section_of(only(steps((1, 10), RR)), {}).blocks) == 3
