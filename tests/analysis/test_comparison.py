"""What is compared, what is left out, and when a difference is called real."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtl_bert.analysis.comparison import NOT_SHOWN, REAL_LESS, REAL_MORE, Comparison, compare
from mtl_bert.analysis.run_files import find_runs
from mtl_bert.analysis.studies import Group, Study, studies
from tests.analysis.factory import Made, changed, dev_set, make_run, write_predictions

RR = Made()
BETTER = replace(Made(sampler="annealed", B=100), accuracies={"sst": 0.8, "qqp": 0.9, "sts": 0.9})


def read(root: Path) -> Study:
    runs, warnings = find_runs([root])
    assert warnings == []
    (study,) = studies(runs)
    return study


def compared(root: Path) -> tuple[Comparison, dict[str, Group]]:
    study = read(root)
    return compare(study, study.main), {group.method.sampler: group for group in study.main}


def wobbling(made: Made, seed: int) -> Made:
    """A repetition, a little better or worse."""
    step = 0.02 * (seed - 2)
    return replace(made, seed=seed, accuracies={t: v + step for t, v in made.accuracies.items()})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in (1, 2, 3):
        make_run(tmp_path / f"rr{seed}", wobbling(RR, seed))
        make_run(tmp_path / f"annealed{seed}", wobbling(BETTER, seed))
    return tmp_path


def test_a_clear_difference_is_real_in_both_directions(root: Path) -> None:
    comparison, groups = compared(root)
    assert comparison.excluded == ()
    more = comparison.difference(groups["annealed"], groups["rr"])
    less = comparison.difference(groups["rr"], groups["annealed"])
    assert (more.verdict, less.verdict) == (REAL_MORE, REAL_LESS)
    assert more.examples is not None
    assert less.examples is not None
    assert more.mean == pytest.approx(-less.mean)
    assert more.examples.low == pytest.approx(-less.examples.high)
    assert more.examples.low < more.mean < more.examples.high
    assert "3 seeds +" in str(more)


def test_a_method_does_not_differ_from_itself(root: Path) -> None:
    comparison, groups = compared(root)
    same = comparison.difference(groups["rr"], groups["rr"])
    assert (same.mean, same.verdict) == (0, NOT_SHOWN)
    assert same.examples is not None
    assert (same.examples.low, same.examples.high) == (0, 0)


def test_the_scores_distribution_is_that_of_its_parts(root: Path) -> None:
    comparison, groups = compared(root)
    parts = comparison.resampled
    for place in range(len(groups)):
        unit = (parts["sst"][place] + parts["qqp"][place] + (parts["sts"][place] + 1) / 2) / 3
        assert np.allclose(parts["score"][place], unit)
        recorded = comparison.groups[place].values("score").mean()
        assert parts["score"][place].shape[0] == 3
        assert parts["score"][place].mean() == pytest.approx(recorded, abs=0.005)


def test_with_one_seed_nothing_is_said(tmp_path: Path) -> None:
    make_run(tmp_path / "rr", RR)
    make_run(tmp_path / "annealed", BETTER)
    comparison, groups = compared(tmp_path)
    difference = comparison.difference(groups["annealed"], groups["rr"])
    assert difference.verdict == "one seed: cannot say"
    assert difference.sign == 0
    assert difference.examples is not None
    assert difference.examples.sign == 1


def test_seeds_are_paired_and_those_of_one_side_only_do_not_count(root: Path) -> None:
    make_run(root / "rr9", replace(RR, seed=9, accuracies={"sst": 0, "qqp": 0, "sts": 0.1}))
    comparison, groups = compared(root)
    difference = comparison.difference(groups["annealed"], groups["rr"], "qqp")
    assert difference.common == 3
    assert difference.mean == pytest.approx(0.1, abs=0.005)
    assert difference.examples is not None
    assert difference.examples.high < 0.2  # with the ninth seed, which gets nothing right, 0.3


def test_without_common_seeds_nothing_is_said(tmp_path: Path) -> None:
    make_run(tmp_path / "rr", RR)
    make_run(tmp_path / "annealed", replace(BETTER, seed=2))
    comparison, groups = compared(tmp_path)
    verdict = comparison.difference(groups["annealed"], groups["rr"]).verdict
    assert verdict == "no common seed: cannot say"


def reasons(root: Path) -> str:
    comparison, groups = compared(root)
    difference = comparison.difference(groups["annealed"], groups["rr"])
    assert difference.examples is None
    assert difference.seeds is not None
    assert difference.verdict == "no interval over dev examples: cannot say"
    assert 0 not in comparison.resampled["score"]
    (reason,) = comparison.excluded
    return reason


def test_a_missing_file_leaves_its_method_out(root: Path) -> None:
    (root / "rr2" / "predictions" / "qqp.csv").unlink()
    assert reasons(root) == "RR is left out of the bootstrap of qqp: qqp.csv is missing"


def test_a_file_that_is_not_of_the_recorded_metric_leaves_its_method_out(root: Path) -> None:
    labels, texts = dev_set("sts", RR.dev["sts"])
    write_predictions(root / "rr2", "sts", texts, labels, labels, np.full(len(labels), np.nan))
    assert "rr2: pearson of the file is 1.0000, recorded 0.7" in reasons(root)


def test_another_dev_set_cannot_be_paired(root: Path) -> None:
    path = root / "rr1" / "predictions" / "qqp.csv"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n", "utf-8")
    comparison, _ = compared(root)
    assert any("another dev set" in reason for reason in comparison.excluded)


def test_a_metric_that_cannot_be_computed_leaves_the_interval_over_seeds(root: Path) -> None:
    for directory in root.iterdir():
        run = read(directory).runs[0]
        tasks = {task: score.model_dump() for task, score in run.results.tasks.items()}
        tasks["sst"]["metric"] = "macro_f1"
        changed(directory, tasks=tasks)
    comparison, groups = compared(root)
    for what, known in (("sst", False), ("qqp", True), ("score", False)):
        difference = comparison.difference(groups["annealed"], groups["rr"], what)
        assert (difference.examples is not None) == known
        assert difference.seeds is not None
    gone = "sst: macro_f1 cannot be computed here, so there is no bootstrap"
    assert comparison.excluded == (gone,)
