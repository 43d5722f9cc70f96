"""Conflicts, data used, costs and unequal sizes against sums over the records themselves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mtl_bert.analysis import summaries
from mtl_bert.analysis.frames import read
from mtl_bert.analysis.leaderboard import SCORE, Comparison
from mtl_bert.runs.results import EpochRecord, PhaseRecord, RunFolder
from tests.analysis.conflicting import quarrel
from tests.analysis.factory import Made, make_run

TASKS = ("sst", "qqp", "sts")
DEV = {"sst": 60, "qqp": 80, "sts": 50}
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for seed in SEEDS:
        phases = quarrel(TASKS, 3, seed)
        make_run(root / f"rr{seed}", Made(seed=seed, dev=DEV, phases=phases))
        make_run(root / f"full{seed}", Made(sampler="full", seed=seed, dev=DEV))
    return root


@pytest.fixture(scope="module")
def comparison(root: Path) -> Comparison:
    return Comparison(root)


def phases(root: Path, seed: int) -> list[PhaseRecord]:
    epochs: list[EpochRecord] = RunFolder(root / f"rr{seed}").read_results().epochs
    return [phase for epoch in epochs for phase in epoch.phases]


def weighted(items: list[tuple[float, float]]) -> float:
    return sum(value * steps for value, steps in items) / sum(steps for _, steps in items)


@pytest.mark.parametrize("seed", SEEDS)
def test_conflicts_are_means_over_joint_steps(
    root: Path, comparison: Comparison, seed: int
) -> None:
    joint = [p.conflicts for p in phases(root, seed) if p.conflicts and p.conflicts.pairs]
    steps = summaries.joint_steps(comparison.frames).set_index("seed").loc[seed]
    for name in ("conflicting", "removed"):
        assert steps[name] == pytest.approx(
            weighted([(getattr(c, name), c.several) for c in joint])
        )
    found = summaries.pairs(comparison.frames).set_index(["seed", "pair"]).loc[seed]
    assert list(found.index) == ["sst/qqp", "sst/sts", "qqp/sts"]
    for pair, row in found.iterrows():
        for name in ("cosine", "conflicting"):
            wanted = [(getattr(c.pairs[str(pair)], name), c.pairs[str(pair)].steps) for c in joint]
            assert row[name] == pytest.approx(weighted(wanted))
    own = summaries.influences(comparison.frames).set_index(["seed", "task"]).loc[seed]
    assert own["share"].sum() == pytest.approx(1)
    for task in TASKS:
        norms = [(c.tasks[task].norm, c.tasks[task].steps) for c in joint]
        assert own.loc[task, "norm"] == pytest.approx(weighted(norms))


def test_parts_and_epochs_are_looked_at_one_by_one(root: Path, comparison: Comparison) -> None:
    parts = summaries.pairs(comparison.frames, "part")
    assert set(parts["part"]) == {"embeddings", "layer 0", "layer 1", "pooler"}
    assert set(summaries.pairs(comparison.frames, "epoch")["epoch"]) == {1, 2, 3}
    first = phases(root, 1)[0].layers["pooler"]["sst/qqp"].cosine
    each = read(comparison.frames).conflicts.query("part == 'pooler' and seed == 1 and epoch == 1")
    assert each.set_index("pair").loc["sst/qqp", "cosine"] == first


def test_methods_without_joint_steps_have_no_conflicts(comparison: Comparison) -> None:
    for found in (summaries.joint_steps, summaries.pairs, summaries.influences):
        assert set(found(comparison.frames)["method"]) == {"RR"}


def test_data_used(root: Path, comparison: Comparison) -> None:
    found = summaries.usage(comparison.frames).set_index(["method", "task"])
    used = RunFolder(root / "rr1").read_results()
    for task in TASKS:
        row, own = found.loc["RR", task], used.utilisation[task]
        size = used.data.sizes[task]["train"]
        assert (row["examples"], row["unique"]) == (own.examples, own.unique)
        assert row["repeats"] == own.examples - own.unique
        assert row["fraction"] == own.unique / size
        assert row["effective_epochs"] == own.examples / size


def test_costs_are_sums_over_epochs(root: Path, comparison: Comparison) -> None:
    found = summaries.costs(comparison.frames).set_index(["method", "phase"])
    for name in ("rr", "finetune"):
        own = [p for p in phases(root, 1) if p.name == name]
        row = found.loc["RR", name]
        assert row["examples"] == sum(p.examples for p in own) / 3
        assert row["seconds"] == pytest.approx(sum(p.seconds for p in own) / 3)
        assert row["seconds_per_1000"] == pytest.approx(
            1000 * sum(p.seconds for p in own) / sum(p.examples for p in own)
        )
        assert (row["seeds"], row["seconds_sd"]) == (3, 0)


def series(root: Path, gain: Callable[[str, int], float]) -> Path:
    """Runs at three ratios of sizes; how much better ARRP and others are there."""
    for ratio in (1, 10, 100):
        for method, settings in (("rr", {}), ("arrp", {"B": 900 // ratio, "lambda_": 0.5})):
            for seed in SEEDS:
                better = gain(method, ratio) + 0.003 * seed * (1 if method == "rr" else -1)
                values = {"sst": 0.4, "qqp": 0.6, "sts": 0.5}
                made = Made(
                    sampler=method, seed=seed, dev=DEV, **settings,
                    sizes={"sst": 9000 // ratio, "qqp": 9000, "sts": 9000 // ratio},
                    accuracies={task: value + better for task, value in values.items()},
                    override={"data": {"imbalance": float(ratio)}},
                )  # fmt: skip
                make_run(root / f"{method}{ratio}-{seed}", made)
    return root


def test_imbalance_compares_settings_that_differ_in_it_alone(tmp_path: Path) -> None:
    series(tmp_path, lambda method, ratio: 0.2 * (method == "arrp") * (ratio == 100))
    make_run(tmp_path / "elsewhere", Made(dev=DEV, lr=1.0, override={"data": {"imbalance": 3.0}}))
    frames = read(tmp_path)
    found = summaries.imbalance(frames)
    assert set(found["ratio"]) == {1, 10, 100}
    assert set(found["method"]) == {"RR", "ARRP λ=0.5, any B"}
    scores = found[found["what"] == SCORE]
    assert sorted(scores["value"]) == sorted(
        frames.runs.loc[frames.runs["run"] != "elsewhere", "score"]
    )
    worst = found[found["what"] == summaries.WORST]
    assert sorted(worst["value"]) == sorted(
        frames.runs.loc[frames.runs["run"] != "elsewhere", "worst"]
    )


def test_without_a_series_nothing_is_said(root: Path) -> None:
    assert summaries.imbalance(read(root)).empty
