"""The paper beside runs: its rows and its claims."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mtl_bert.analysis import claims, paper
from mtl_bert.analysis.frames import read
from mtl_bert.analysis.leaderboard import SCORE, Comparison
from tests.analysis.conflicting import phase
from tests.analysis.factory import Made, changed, made_of, make_paper, make_run

DEV = {"sst": 60, "qqp": 80, "sts": 50}
TABLES = [2, 3, 4]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_paper(tmp_path_factory.mktemp("paper"), seeds=(1, 2), B_scale=0.11, dev=DEV)


@pytest.fixture(scope="module")
def both(root: Path) -> tuple[Comparison, Comparison]:
    return Comparison(root), Comparison(root, epochs=1)


@pytest.mark.parametrize("number", TABLES)
def test_every_row_stands_beside_its_run(both: tuple[Comparison, Comparison], number: int) -> None:
    c = both[number == 3]
    found = claims.table(c, number)
    assert list(found["row"]) == [row.label for row in paper.rows(number)]
    assert found["method"].notna().all()
    for row, own in zip(paper.rows(number), found.to_dict("records"), strict=True):
        name, column = ("qqp", "qqp.value") if number == 3 else (SCORE, SCORE)
        values = c.values[name][own["method"]]
        assert own[column] == pytest.approx(values.mean())
        assert own[f"{column}_sd"] == pytest.approx(values.std())
        assert own[f"paper.{column}"] == (row.tasks["qqp"] if number == 3 else row.score)
        assert own["notes"] == row.footnotes
    assert found["time_ratio"].iloc[0] == 1
    assert found["minutes"].iloc[0] == (0 if number == 3 else c.of("RR")["minutes"].mean())


def test_sizes_are_those_of_table_1(both: tuple[Comparison, Comparison]) -> None:
    found = claims.sizes(both[0]).set_index("task")
    assert found.loc["sst"].to_dict() == {
        "paper.train": 8544, "train": 940, "paper.dev": 1101, "dev": 60,
        "paper.fraction": pytest.approx(0.707), "fraction": pytest.approx(664 / 940, abs=1e-3),
    }  # fmt: skip


def test_rows_that_nobody_has_run_are_empty(tmp_path: Path) -> None:
    make_run(tmp_path / "run", made_of(paper.row(4, "arrp_f0_lambda05"), dev=DEV))
    c = Comparison(tmp_path)
    assert claims.is_the_papers(c, Comparison(tmp_path, epochs=1))
    found = claims.table(c, 4).set_index("experiment")
    assert list(found.index[found["method"].notna()]) == ["arrp_f0_lambda05"]
    others = found[found["method"].isna()]
    assert (
        others[[SCORE, "minutes", "seeds", "time_ratio", "full.time_ratio"]].isna().all(axis=None)
    )
    assert found["paper.score"].notna().all()


OWN: Mapping[str, Made] = {
    "tasks": Made(sampler="arrp", lambda_=0.5, B=24_000, dev={"sst": 60, "qqp": 60},
                  sizes={"sst": 900, "qqp": 900}),
    "methods": Made(sampler="arrp", lambda_=0.5, B=777, dev=DEV),
    "round-robin alone": Made(dev=DEV),
    "surgery": Made(sampler="annealed", B=16_000, dev=DEV, override={
        "surgery": {"method": {"_target_": "mtl_bert.surgery.Sum"}}}),
}  # fmt: skip


@pytest.mark.parametrize("what", OWN)
def test_nothing_of_the_paper_where_it_is_another_experiment(what: str, tmp_path: Path) -> None:
    make_run(tmp_path / "run", OWN[what])
    c, first = Comparison(tmp_path), Comparison(tmp_path, epochs=1)
    assert not claims.is_the_papers(c, first)
    if what == "tasks":
        assert (
            "paper" not in str(c.about[["title", "about", "caution", "badges"]].to_dict()).lower()
        )


def test_another_metric_is_another_experiment(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", made_of(paper.row(2, "annealed_16000"), dev=DEV))
    assert claims.is_the_papers(Comparison(tmp_path), Comparison(tmp_path, epochs=1))
    own = {t: {"metric": "mcc", "value": 0.5, "n": n} for t, n in DEV.items()}
    changed(run, tasks=own)
    assert not claims.is_the_papers(Comparison(tmp_path), Comparison(tmp_path, epochs=1))


def judged(root: Path) -> dict[int, str]:
    found, evidence = claims.claims(Comparison(root))
    assert set(evidence["claim"]) <= set(found["claim"])
    assert not evidence["exploratory"].any()
    for _, own in evidence.groupby("claim"):  # a claim's contrasts are a family
        if own["p"].notna().all():
            assert own["p_holm"].min() == pytest.approx(min(1, len(own) * own["p"].min()))
    return {row["claim"]: row["verdict"] for row in found.to_dict("records")}


def test_claims_of_made_up_text_say_so(root: Path) -> None:
    found = judged(root)
    assert list(found) == list(range(1, 8))
    assert all(verdict.endswith("(about made-up text, not about the paper's data)")
               for verdict in found.values())  # fmt: skip
    assert "two λ at each of two B" in found[4]


def rows(root: Path, gains: Mapping[str, float], minutes: Mapping[str, float] = {}) -> Path:
    """Rows of Tables 2 and 4, three seeds each, that much better than the middle in every task."""
    for name, gain in gains.items():
        (row, *_) = (row for row in paper.ROWS if row.experiment == name and row.table != 3)
        for seed in (1, 2, 3):
            middle = {"sst": 0.5, "qqp": 0.7, "sts": 0.6}
            phases = phase({}, {}, name=row.recipe.sampler if row.recipe.sampler != "full" else
                           "full:sst", seconds=60 * minutes.get(name, 1))  # fmt: skip
            made = made_of(row, seed=seed, dev=DEV, synthetic=False, data="cs224n",
                           phases=[[phase_.model_copy(update={"conflicts": None})]
                                   for phase_ in [phases] * 3])  # fmt: skip
            made = replace(made, accuracies={t: v + gain for t, v in middle.items()})
            make_run(root / f"{name}{seed}", made)
    return root


def test_a_claim_is_judged_by_what_runs_show(tmp_path: Path) -> None:
    better = rows(tmp_path / "better", {"annealed_16000": 0.15, "vanilla_16000": -0.1,
                                        "annealed_56000": 0.2, "vanilla_56000": -0.1,
                                        "rr": 0.2, "full": -0.2})  # fmt: skip
    found = judged(better)
    assert (found[1], found[5]) == ("supported", "supported")
    assert found[2].startswith("cannot be judged: no run of ARRP")
    worse = rows(tmp_path / "worse", {"annealed_16000": -0.15, "vanilla_16000": 0.1,
                                      "annealed_56000": 0.2, "vanilla_56000": -0.1,
                                      "rr": -0.2, "full": 0.2})  # fmt: skip
    found = judged(worse)
    assert (found[1], found[5]) == ("contradicted", "contradicted")


def test_one_seed_judges_nothing(tmp_path: Path) -> None:
    rows(tmp_path, {"rr": 0.2, "full": -0.2})
    for seed in (2, 3):
        for name in ("rr", "full"):
            (tmp_path / f"{name}{seed}" / "results.json").unlink()
    assert judged(tmp_path)[5] == "cannot be judged: one common seed"


def test_minutes_at_the_papers_sizes(tmp_path: Path) -> None:
    """What an example took, times the examples that the paper's epoch has."""
    rows(tmp_path, {"rr": 0.0, "annealed_16000": 0.0}, {"annealed_16000": 3.0})
    c = Comparison(read(tmp_path))
    # A phase has 80 examples; the paper's have 3 x 6,040 and 3 x 16,000.
    assert claims.papers_minutes(c, "RR") == pytest.approx(3 * 6040 / 80)
    assert claims.papers_minutes(c, "annealed B=16,000") == pytest.approx(3 * 3 * 16000 / 80)
