"""The frames give the numbers of the first study's tables, which another engine made."""

import csv
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtl_bert.analysis import claims, paper, summaries
from mtl_bert.analysis.frames import Frames, read
from mtl_bert.analysis.leaderboard import SCORE, Comparison
from mtl_bert.analysis.methods import NAMES, PAPER_SURGERY, Method

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
VERDICTS = {"real, higher": 1, "real, lower": -1, "not shown": 0}


def records(name: str) -> list[dict[str, str]]:
    with (RESULTS / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(text: str, value: Any) -> bool:
    if not text:
        return value is None or bool(np.isnan(value))
    return float(text) == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(RESULTS / "runs.tar.xz") as tar:
        tar.extractall(place, filter="data")
    return read(place)


@pytest.fixture(scope="module", params="ABCD")
def comparison(request: pytest.FixtureRequest, frames: Frames) -> Comparison:
    return Comparison(frames, request.param)


def names(comparison: Comparison) -> dict[str, str]:
    """Names of then -> names of today."""
    return {then(kind): m for m, kind in comparison.kinds.items()}


def then(m: Method) -> str:
    """What the other engine called a method."""
    parts = [NAMES[m.sampler]]
    if m.lambda_ is not None:
        parts += ["F=1" if m.frozen else "F=0", f"λ={m.lambda_:g}"]
    if m.B is not None:
        parts.append(f"B={m.B:,}" + (f" × {m.B_scale:g} = {m.drawn:,}" if m.B_scale != 1 else ""))
    on = "" if m.lambda_on == "loss" else f", λ on the {m.lambda_on}"
    surgery = "" if m.surgery in ("", PAPER_SURGERY) else f", surgery {m.surgery}"
    return " ".join(parts) + on + surgery


def test_runs(frames: Frames) -> None:
    found = frames.runs.set_index("run")
    values = frames.scores.set_index(["run", "task"])["value"]
    for letter in "abcd":
        for line in records(f"{letter}-cs224n-runs"):
            run = found.loc[line["run"]]
            assert (letter.upper(), int(line["seed"]), int(line["epochs"])) == (
                run["setting"], run["seed"], run["epochs"])  # fmt: skip
            assert int(line["best_epoch"]) == run["best_epoch"]
            assert (line["device"], line["commit"]) == (run["device"], run["commit"])
            for then, now in (("score", "score"), ("last_score", "last_score"),
                              ("minutes_per_epoch", "minutes")):  # fmt: skip
                assert same(line[then], run[now])
            assert all(
                same(line[task], values[line["run"], task]) for task in ("sst", "qqp", "sts")
            )


def test_differences(comparison: Comparison) -> None:
    now, seen = names(comparison), 0
    for line in records(f"{comparison.about['slug']}-differences"):
        d = comparison.difference(now[line["method"]], now[line["minus"]], line["in"])
        assert same(line["difference"], d.mean)
        assert same(line["examples_low"], d.examples.low)
        assert same(line["examples_high"], d.examples.high)
        assert same(line["seeds_low"], d.seeds.interval.low)
        assert same(line["seeds_high"], d.seeds.interval.high)
        assert int(line["common_seeds"]) == d.seeds.n
        assert VERDICTS[line["verdict"]] == d.sign()
        seen += 1
    assert seen == 4 * len(now) * (len(now) - 1) / 2


def test_paper_tables(frames: Frames) -> None:
    main, first = Comparison(frames, "A"), Comparison(frames, "A", 1)
    for number in (2, 3, 4):
        then = {line["experiment"]: line for line in records(f"a-cs224n-table{number}")}
        for row in claims.table(first if number == 3 else main, number).to_dict("records"):
            line = then[row["experiment"]]
            assert int(line["n"]) == row["seeds"]
            for name in [paper.PARAPHRASE] if number == 3 else [*main.tasks, SCORE]:
                assert same(line[name], row[name])
                assert same(line[f"{name}_sd"], row[f"{name}_sd"]) if number != 3 else True
            minutes = "extra_minutes" if number == 3 else "minutes"
            assert same(line[minutes], row["minutes"])
            assert (
                same(line["minutes_to_rr"], row["minutes_ratio"]) or row["experiment"] == "random"
            )
    for line in records("a-cs224n-proportions"):
        (row,) = (r for r in paper.ROWS if r.table != 3 and r.label == line["method"]
                  and r.minutes == float(line["minutes_paper"]))  # fmt: skip
        method = claims.run_of(main, row)
        assert method is not None
        minutes = claims.papers_minutes(main, method)
        assert minutes is not None
        assert same(line["minutes"], minutes.mean())
    for line in records("a-cs224n-table1"):
        (own,) = (r for r in claims.sizes(main).to_dict("records") if r["task"] == line["task"])
        assert (int(line["train"]), int(line["dev"])) == (own["train"], own["dev"])
        assert same(line["used"], 100 * own["fraction"])


def test_conflicts(comparison: Comparison) -> None:
    joint = summaries.joint_steps(comparison.frames).groupby("method", observed=True)
    pairs = summaries.pairs(comparison.frames).groupby(["method", "pair"], observed=True)
    parts = summaries.influences(comparison.frames).groupby(["method", "task"], observed=True)
    now = names(comparison)
    for line in records(f"{comparison.about['slug']}-conflicts"):
        method = now[line["method"]]
        if line["n"] == "0":
            assert method not in joint.groups
            continue
        for name in ("conflicting", "removed"):
            assert same(line[name], joint[name].mean()[method])
            assert same(line[f"{name}_sd"], joint[name].std()[method])
        for pair in ("sst/qqp", "sst/sts", "qqp/sts"):
            for name in ("cosine", "conflicting"):
                assert same(line[f"{pair}_{name}"], pairs[name].mean()[method, pair])
        for task in comparison.tasks:
            assert same(line[f"{task}_part"], parts["share"].mean()[method, task])


def test_costs_and_data_used(comparison: Comparison) -> None:
    now, slug = names(comparison), comparison.about["slug"]
    costs = summaries.costs(comparison.frames).set_index(["method", "phase"])
    for line in records(f"{slug}-costs"):
        own = costs.loc[now[line["method"]], line["phase"]]
        for then, name in (("examples_per_epoch", "examples"), ("seconds_per_epoch", "seconds"),
                           ("seconds_per_1000_examples", "seconds_per_1000")):  # fmt: skip
            assert same(line[then], own[name])
            assert same(line[f"{then}_sd"], own[f"{name}_sd"])
        assert int(line["n"]) == own["seeds"]
    whole = summaries.usage(comparison.frames).set_index(["method", "task"])
    each = summaries.usage(comparison.frames, "epoch").set_index(["method", "epoch", "task"])
    for line in records(f"{slug}-ledger"):
        method, task = now[line["method"]], line["task"]
        at_end = line["epoch"] == "all"
        own = whole.loc[method, task] if at_end else each.loc[method, int(line["epoch"]), task]
        assert all(same(line[name], own[name]) for name in summaries.USED)


def test_imbalance(frames: Frames) -> None:
    found = summaries.imbalance(frames).groupby(["method", "ratio", "what"])["value"]
    for line in records("imbalance-scores"):
        method = line["method"].replace(" F=0", "")
        method = method.replace("vanilla, surgery Sum, all, sum", "vanilla (Sum, all, sum)")
        for what in ("score", "worst task", "sst", "qqp", "sts"):
            assert same(line[what], found.mean()[method, float(line["ratio"]), what])
            assert same(line[f"{what}_sd"], found.std()[method, float(line["ratio"]), what])
