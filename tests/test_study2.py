"""The second study's sweeps are what its page says: cells, equal work, rates that were tried."""

import importlib.util
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mtl_bert.config.settings import Settings
from mtl_bert.runs.factories import make_planner
from tests.composing import settings_of

FILE = Path(__file__).parents[1] / "experiments" / "study2.py"
SIZES = {"sst": 8544, "qqp": 52_191, "sts": 6040}  # of the files at hand


@pytest.fixture(scope="module")
def study() -> Any:
    spec = importlib.util.spec_from_file_location("study2", FILE)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def jobs(words: list[str]) -> list[tuple[str, ...]]:
    """The runs of a multirun: commas outside of brackets separate values."""
    choices = []
    for word in words:
        key, _, value = word.partition("=")
        values = [value] if value.startswith("{") else value.split(",")
        choices.append([f"{key}={one}" for one in values])
    return [*itertools.product(*choices)]


def composed(job: tuple[str, ...]) -> Settings:
    return settings_of("data=cs224n", "model=local", *job)


def rates(study: Any) -> dict[tuple[str, str], str]:
    return {(a, b): "1e-4" for a in study.SAMPLERS for b in study.SURGERIES}


def test_every_cell_sees_the_same_number_of_examples(study: Any) -> None:
    (_, words), *more = study.tuning()
    found = jobs(words)
    assert not more
    assert len(found) == 42
    for settings in map(composed, found[::3]):  # rates change no step
        plan = make_planner(settings, SIZES)
        total = sum(step.examples for epoch in (1, 2) for step in plan(epoch).steps)
        assert abs(total - 45_000) <= 24, settings.sampler
        assert (settings.epochs, settings.batch_size, settings.data.select) == (2, 8, 0.5)
        assert (settings.model.pooling, settings.model.layers) == ("mean", 2)


def test_the_numbers_of_runs_are_those_of_the_page(study: Any) -> None:
    page = FILE.with_suffix(".md").read_text("utf-8")
    total = 42
    assert set(study.PARTS) == {"factorial", "frontier", "lambda", "freeze", "ladder", "single"}
    for name, part in study.PARTS.items():
        sweeps = [jobs(words) for _, words in part(rates(study))]
        runs = sum(map(len, sweeps))
        start = {"lambda": "λ × B", "freeze": "F"}.get(name, name)
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {start} |"))
        assert row.endswith(f"| {runs} |"), row
        total += runs
        for job in {job[:-1]: job for jobs_ in sweeps for job in jobs_}.values():
            assert composed(job).seed >= 11  # each is one that can be run; seeds are alike
    assert f"{total} runs" in page


def test_the_rate_is_the_best_by_the_examples_that_choose(study: Any) -> None:
    def run(sampler: str, surgery: str, lr: float, scores: list[float]) -> Any:
        method = {"none": "mtl_bert.surgery.Sum", "pcgrad_paper": "mtl_bert.surgery.PCGrad"}[
            surgery
        ]
        config = {
            "sampler": {"name": sampler.replace("proportional", "vanilla")},
            "surgery": {"method": {"_target_": method}},
            "lr": lr,
        }
        return SimpleNamespace(config=config, epochs=[SimpleNamespace(score=s) for s in scores])

    cells = [(a, b) for a in study.SAMPLERS for b in study.SURGERIES]
    runs = [run(*cell, float(rate), [0.1, 0.2]) for cell in cells for rate in study.RATES]
    runs[4].epochs[0].score = 0.9  # the second cell's second rate
    assert study.chosen_rates(runs)[cells[1]] == study.RATES[1]
    with pytest.raises(ValueError, match="tuning: expected"):
        study.chosen_rates(runs[1:])
