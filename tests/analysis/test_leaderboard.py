"""Differences, their verdicts, and what is recommended."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mtl_bert import analysis
from mtl_bert.analysis import columns, statistics
from mtl_bert.analysis.leaderboard import (
    EQUIVALENT,
    HIGHER,
    LOWER,
    NOT_SIGNIFICANT,
    SCORE,
    Comparison,
    verdict,
)
from mtl_bert.analysis.statistics import Interval, paired
from mtl_bert.tasks.resampled_metrics import whole
from mtl_bert.utils.errors import UserError
from tests.analysis.factory import Made, changed, make_run

DEV = {"sst": 60, "qqp": 80, "sts": 50}
BASE = {"sst": 0.5, "qqp": 0.7, "sts": 0.6}


def study(root: Path, methods: Mapping[str, tuple[Mapping[str, Any], Sequence[float]]]) -> Path:
    """Runs of methods: settings, and how much better than BASE each seed is."""
    for name, (settings, gains) in methods.items():
        for seed, gain in enumerate(gains, start=1):
            accuracies = {task: value + gain for task, value in BASE.items()}
            made = Made(seed=seed, dev=DEV, accuracies=accuracies, later=seed)
            make_run(root / f"{name}{seed}", replace(made, **settings))
    return root


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return Comparison(study(tmp_path_factory.mktemp("study"), {
        "rr": ({"minutes": 1.0}, [0.0, 0.02, 0.01]),
        "annealed": ({"sampler": "annealed", "B": 90, "minutes": 2.0}, [0.15, 0.19, 0.16]),
        "vanilla": ({"sampler": "vanilla", "B": 90, "minutes": 3.0, "device": "another"},
                    [0.0, 0.3]),
        "single": ({"sampler": "single", "minutes": 4.0}, [0.1, 0.13, 0.08]),
        "random": ({"sampler": "random", "epochs": 9}, [-0.3]),
    }))  # fmt: skip


def test_who_is_compared(comparison: Comparison) -> None:
    assert comparison.methods == ["RR", "annealed B=90", "vanilla B=90", "one encoder per task",
                                  "random baseline"]  # fmt: skip
    assert comparison.trained == comparison.methods[:-1]
    assert comparison.baseline() == "RR"
    assert comparison.baseline("annealed") == "annealed B=90"
    assert comparison.find("ANNEALED b=90") == comparison.find("annealed") == ["annealed B=90"]
    assert comparison.find("B=90") == ["annealed B=90", "vanilla B=90"]
    with pytest.raises(UserError, match=r"expected one of RR; .*, found 'arrp'; write for example"):
        comparison.find("arrp")


def test_a_difference_is_that_of_common_seeds(comparison: Comparison) -> None:
    pairs = list(permutations(comparison.methods, 2))
    for what in (SCORE, *comparison.tasks):
        found = comparison.differences([(*pair, what) for pair in pairs], named=False)
        rows = dict(zip(pairs, found.to_dict("records"), strict=True))
        for a, b in pairs:
            d, back = rows[a, b], rows[b, a]
            values = comparison.values[what][[a, b]].dropna()
            assert d["seeds"] == len(values) == back["seeds"]
            assert (d["difference"], d["examples_low"]) == (
                pytest.approx(-back["difference"]),
                pytest.approx(-back["examples_high"]),
            )
            assert d["significant"] == back["significant"]
            if len(values) > 1:
                test = stats.ttest_rel(values[a], values[b])
                assert d["difference"] == pytest.approx((values[a] - values[b]).mean())
                assert d["p"] == pytest.approx(test.pvalue, abs=1e-9)
            else:
                assert d["verdict"] == "unknown: one common seed"
                assert not d["significant"]
    assert comparison.excluded == []


def test_resampled_scores_are_means_of_metrics_mapped_to_0_1(comparison: Comparison) -> None:
    frames, drawn = comparison.frames, comparison._resampled
    own = frames.answers("annealed2", "sts")
    pearson = statistics.bootstrap(
        "pearson", own["label"].to_numpy(), own["prediction"].to_numpy()[None], 2
    )[0]
    assert drawn["sts"]["annealed B=90", 2] == pytest.approx(pearson)
    key = ("RR", 1)
    units = [drawn["sst"][key], drawn["qqp"][key], (drawn["sts"][key] + 1) / 2]
    assert drawn[SCORE][key] == pytest.approx(np.mean(units, axis=0))


def judged(
    values: Sequence[float], examples: tuple[float, float], p: float | None = None
) -> tuple[int, str]:
    """What differences say of each seed, and an interval over dev examples; p as adjusted."""
    seeds, middle = paired(np.array(values), 0.01), sum(examples) / 2
    narrow = Interval(*(middle + 0.84 * (end - middle) for end in examples))
    return verdict(seeds, Interval(*examples), narrow, 0.01, seeds.p if p is None else p)


@pytest.mark.parametrize(
    ("values", "examples", "words"),
    [
        ([0.05, 0.051, 0.049], (0.04, 0.06), HIGHER),
        ([-0.05, -0.051, -0.049], (-0.06, -0.04), LOWER),
        ([0.05, 0.051, 0.049], (-0.01, 0.11), NOT_SIGNIFICANT),
        ([0.05, 0.051, 0.049], (-0.06, -0.04), NOT_SIGNIFICANT),
        ([0.2, -0.1, 0.05], (0.04, 0.06), NOT_SIGNIFICANT),
        ([0.001, 0.002, 0.0015], (0.0005, 0.0025), EQUIVALENT),
        ([0.001, 0.002, 0.0015], (-0.02, 0.023), HIGHER.replace(HIGHER, NOT_SIGNIFICANT)),
        ([0.05], (0.04, 0.06), "unknown: one common seed"),
        ([], (0.04, 0.06), "unknown: no common seed"),
        ([0.05, 0.051], (np.nan, np.nan), "unknown: no interval over dev examples"),
    ],
)
def test_verdicts(values: list[float], examples: tuple[float, float], words: str) -> None:
    assert judged(values, examples)[1] == words


def test_what_was_named_beforehand_is_adjusted(comparison: Comparison) -> None:
    pairs = list(combinations(comparison.trained, 2))
    contrasts = [(*pair, SCORE) for pair in pairs]
    named, free = (comparison.differences(contrasts, named=named) for named in (True, False))
    assert list(named) == list(free) == columns.names("differences")
    assert (named["p_holm"] >= named["p"]).all()
    assert free["p_holm"].isna().all()
    assert not named["exploratory"].any()
    assert free["exploratory"].all()
    assert named["p_holm"].to_numpy() == pytest.approx(statistics.holm(named["p"].tolist()))
    values, examples = [0.05, 0.052, 0.047], (0.04, 0.06)
    assert judged(values, examples) == (1, HIGHER)
    assert judged(values, examples, p=0.06) == (0, NOT_SIGNIFICANT)
    tiny = [0.001, 0.002, 0.0015], (0.0005, 0.0025)
    assert judged(*tiny, p=0.01) == (1, EQUIVALENT)  # a claim may rest on it all the same


def test_leaderboard(comparison: Comparison) -> None:
    found = comparison.leaderboard("RR").set_index("method")
    assert list(found["score"]) == sorted(found["score"], reverse=True)
    assert found.loc["RR", "verdict"] == "baseline"
    annealed = found.loc["annealed B=90"]
    assert (annealed["seeds"], annealed["time_ratio"], annealed["worst_task"]) == (3, 2.0, "sst")
    assert annealed["verdict"] == HIGHER
    assert annealed["low"] < annealed["difference"] < annealed["high"]
    assert np.isnan(found.loc["vanilla B=90", "time_ratio"])  # another device
    assert comparison.elsewhere().endswith("; another had vanilla B=90.")
    for task in comparison.tasks:
        values = comparison.values[task]["annealed B=90"]
        assert annealed[f"{task}.value"] == values.mean()
        assert annealed[f"{task}.value_sd"] == values.std()
    base = {t: comparison.values[t]["one encoder per task"].mean() for t in DEV}
    changes = [comparison.values[t]["RR"].mean() / base[t] - 1 for t in DEV]
    assert found.loc["RR", "delta_m"] == pytest.approx(np.mean(changes))
    assert found.loc["one encoder per task", "delta_m"] == pytest.approx(0)


def test_an_adapter_is_a_method_beside_what_is_trained_without_it(tmp_path: Path) -> None:
    pals = {"model": {"adapter": "pals", "adapter_size": 64, "lora_alpha": 16}}
    alone = {"model": {"adapter": "pals", "adapter_size": None, "freeze_encoder": True}}
    found = Comparison(study(tmp_path, {
        "rr": ({"trained": 110}, [0.0, 0.02]),
        "single": ({"sampler": "single", "trained": 330}, [0.1, 0.13]),
        "pals": ({"trained": 115, "override": pals}, [0.1, 0.12]),
        "alone": ({"trained": 6, "override": alone}, [0.0, 0.01]),
    })).leaderboard().set_index("method")  # fmt: skip
    names = "RR (adapter=pals, adapter_size=64)", "RR (adapter=pals, freeze_encoder=true)"
    assert found.loc["RR", "trained_per_task"] == pytest.approx(110 / 3)
    assert found.loc["one encoder per task", "trained_per_task"] == 110
    assert found.loc[list(names), "trained_per_task"].tolist() == pytest.approx([115 / 3, 2])
    assert found["delta_m"].notna().all()


def test_compare_takes_names_as_people_write_them(comparison: Comparison) -> None:
    found = analysis.compare(comparison.frames, "annealed", "rr")
    assert list(found["what"]) == [SCORE, *comparison.tasks]
    assert list(found["exploratory"]) == [False, True, True, True]
    one = analysis.runs(Path(comparison.frames.runs["directory"].iloc[0]).parent)
    assert analysis.compare(one, "annealed", "rr")["difference"].equals(found["difference"])


SLOW = {"sampler": "annealed", "B": 90, "minutes": 2.0}
FAST = {"minutes": 1.0}
OTHER = {"sampler": "vanilla", "B": 90, "device": "another"}


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        ({"rr": (FAST, [0.0] * 3)}, "RR is the only method"),
        ({"rr": (FAST, [0.0]), "a": (SLOW, [0.1])}, "one common seed"),
        ({"rr": (FAST, [0.0] * 3), "a": (SLOW, [0.2] * 3)}, "Use annealed B=90: its score is"),
        ({"rr": (FAST, [0.0] * 3), "a": (SLOW, [0.0] * 3)},
         "equivalent within 0.01; RR takes 0.50 of the time: use RR"),
        ({"rr": (FAST, [0.0, 0.1, 0.05]), "a": (SLOW, [0.2, 0.0, 0.1])},
         "but not significantly above RR; RR takes 0.50 of its time: to decide, run more seeds."),
        ({"rr": (FAST, [0.0] * 3), "a": (SLOW, [0.2] * 3), "v": (OTHER, [0.1])},
         "significantly higher than every other's. Of vanilla B=90 too little is known."),
        ({"rr": (FAST, [0.0, 0.1, 0.05]), "v": (OTHER, [0.2, 0.0, 0.1])},
         "not significantly above RR; none is known to be much faster: use vanilla B=90, or run"),
    ],
)  # fmt: skip
def test_recommendation(methods: Any, says: str, tmp_path: Path) -> None:
    study(tmp_path, methods)
    if "equivalent" in says:  # the same answers, in twice the time
        for seed in (1, 2, 3):
            results = json.loads((tmp_path / f"rr{seed}" / "results.json").read_text("utf-8"))
            changed(tmp_path / f"a{seed}", **{key: results[key] for key in ("score", "tasks")})
            shutil.rmtree(tmp_path / f"a{seed}" / "predictions")
            shutil.copytree(
                tmp_path / f"rr{seed}" / "predictions", tmp_path / f"a{seed}" / "predictions"
            )
    found = Comparison(tmp_path)
    assert says in found.recommend()


def test_time_is_saved_if_seeds_agree_on_it(tmp_path: Path) -> None:
    study(tmp_path, {"rr": (FAST, [0.0] * 3), "a": (SLOW, [0.0] * 3)})
    for minutes, faster in (
        ([0.5, 0.6, 0.55], True),
        ([0.6, 1.15, 0.7], False),  # a mean of 0.82, as other work may make it
        ([0.97, 0.96, 0.97], False),  # sure, and nothing to speak of
    ):
        for seed, each in enumerate(minutes, start=1):
            changed(tmp_path / f"a{seed}", minutes_per_epoch=each)
        found = Comparison(tmp_path)
        assert found.is_faster("annealed B=90", "RR") is faster, minutes
        assert not found.is_faster("RR", "annealed B=90")
    (tmp_path / "a2" / "results.json").unlink()
    (tmp_path / "a3" / "results.json").unlink()
    assert not Comparison(tmp_path).is_faster("annealed B=90", "RR")  # one seed


def test_files_that_cannot_be_resampled_say_why(tmp_path: Path) -> None:
    study(tmp_path, {"rr": (FAST, [0.0, 0.1]), "a": (SLOW, [0.1, 0.2])})
    (tmp_path / "rr1" / "predictions" / "sst.csv").unlink()
    changed(
        tmp_path / "a2",
        tasks={t: {"metric": "accuracy", "value": 0.1, "n": n} for t, n in DEV.items()},
    )
    found = Comparison(tmp_path)
    judged = found.differences([("RR", "annealed B=90", SCORE)], named=False)
    assert judged["verdict"].tolist() == ["unknown: no interval over dev examples"]
    assert found.excluded[0] == "RR, sst: sst.csv is missing"
    assert (
        "annealed B=90, qqp: the file of a2 does not give its accuracy of 0.100" in found.excluded
    )


def test_metrics_are_known_by_their_values(tmp_path: Path) -> None:
    study(tmp_path, {"rr": (FAST, [0.0, 0.1]), "a": (SLOW, [0.1, 0.2])})
    frames = analysis.read(tmp_path)
    for run in frames.runs["run"]:
        own = frames.answers(run, "sst")
        labels, answers = own["label"].to_numpy(), own["prediction"].to_numpy()[None]
        tasks = {t: {"metric": "a", "value": v, "n": n} for t, v, n in zip(
            DEV, frames.scores.loc[frames.scores["run"] == run, "value"], DEV.values(), strict=True,
        )}  # fmt: skip
        tasks["sst"] |= {
            "value": float(whole("mcc", labels, answers)[0]),
            "metric": "my MCC",
        }
        changed(tmp_path / run, tasks=tasks)
    found = Comparison(tmp_path)
    own = found.differences([("RR", "annealed B=90", "sst")], named=False)
    assert own["examples_low"].notna().all()
    assert found.excluded == []


def test_a_gain_is_one_also_where_less_is_better(tmp_path: Path) -> None:
    c = Comparison(study(tmp_path, {
        "rr": (FAST, [0.0, 0.02]), "single": ({"sampler": "single"}, [0.1, 0.13]),
    }))  # fmt: skip
    before = c.leaderboard().set_index("method").loc["RR", "delta_m"]
    of_sts = c.frames.scores["task"] == "sts"
    ends = c.frames.scores.loc[of_sts, ["highest", "lowest"]].to_numpy()
    c.frames.scores.loc[of_sts, ["lowest", "highest"]] = ends
    base = c.values["sts"]["one encoder per task"].mean()
    change = c.values["sts"]["RR"].mean() / base - 1
    after = c.leaderboard().set_index("method").loc["RR", "delta_m"]
    assert change != 0
    assert after == pytest.approx(before - 2 * change / len(c.tasks))
