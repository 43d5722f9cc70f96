"""A profile says where the time goes and changes nothing."""

import json
import logging
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mtl_bert.machine.signals import EXIT_CODE
from mtl_bert.training import run as running
from mtl_bert.training.callbacks.profiler import summary
from tests.composing import settings_of
from tests.forking import in_a_fork
from tests.training.test_interruption import RUN, at_step, bits, send

# 24 steps of both tasks and 15 of the largest alone: 5 of each go by and 10 are recorded; after 9
# there are as many left.
LONG = (
    "data.scale=0.05",
    "data.limit={sst: 312, sts: 192}",
    "B=120",
    "trainer.save_steps=null",
    "batch_size=8",
)


def run(directory: Path, *overrides: str, hook: Any = lambda: None) -> int:
    chosen = settings_of(*RUN, *LONG, "trainer.passes=per_task", *overrides)

    def work() -> None:
        hook()
        running.run(chosen, directory)

    return in_a_fork(work)


@cache
def trace_in(directory: Path, phase: str) -> list[dict[str, Any]]:
    return json.loads((directory / "profile" / f"trace-{phase}.json").read_text())["traceEvents"]


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("profiled") / "run"
    heard = lambda: logging.getLogger().setLevel(logging.INFO)  # noqa: E731
    assert run(directory, "trainer.profile=true", hook=heard) == 0
    return directory


def named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [e for e in events if e["name"] == name and e.get("cat") == "user_annotation"]


@pytest.mark.parametrize(
    ("phase", "parts"),
    [
        ("rr", ["forward sst", "backward sts", "forward sts", "backward sts", "surgery"]),
        ("finetune", ["forward sst", "backward sst"]),  # the largest task's alone
    ],
)
def test_the_trace_has_the_parts_of_a_phase(profiled: Path, phase: str, parts: list[str]) -> None:
    events = trace_in(profiled, phase)
    for part in (*parts, "optimizer"):
        assert len(named(events, part)) == 10, part
    assert bool(named(events, "surgery")) == ("surgery" in parts)
    steps = [e for e in events if e["name"].startswith("ProfilerStep#") and e.get("dur")]
    assert len({e["ts"] for e in steps if e.get("cat") == "user_annotation"}) == 10


def test_the_parts_stand_in_their_step_and_in_their_order(profiled: Path) -> None:
    events = trace_in(profiled, "rr")
    order = ["forward sst", "backward sst", "forward sts", "backward sts", "surgery", "optimizer"]
    firsts = [min(named(events, name), key=lambda e: e["ts"]) for name in order]
    for earlier, later in pairwise(firsts):
        assert earlier["ts"] + earlier["dur"] <= later["ts"] + 1
    # Operators of the encoder go on inside the forward label.
    first = firsts[0]
    inside = [
        e for e in events
        if e.get("cat") == "cpu_op" and first["ts"] <= e["ts"] < first["ts"] + first["dur"]
    ]  # fmt: skip
    assert any(e["name"] == "aten::addmm" for e in inside)


def test_the_summary_adds_up(profiled: Path) -> None:
    text = (profiled / "profile" / "summary.txt").read_text("utf-8")
    assert text.count("# of Calls") == 2  # torch's table of operators, for each phase
    rr, finetune = (f"phase {phase}" for phase in text.split("phase ")[1:])
    assert rr.startswith("phase rr: 10 steps of epoch 1, after 5; ")
    assert finetune.startswith("phase finetune: 10 steps of epoch 1, after 5; ")
    for phase in (rr, finetune):
        parts = phase.partition("\n\n")[0].splitlines()[1:]
        shares = {p[:34].strip(): float(p.split("%")[0].split()[-1]) for p in parts if p[2] != " "}
        assert list(shares) == ["data", "forward", "backward", "surgery", "optimizer", "rest"]
        assert sum(shares.values()) == pytest.approx(100, abs=0.4)
        assert all(share >= 0 for share in shares.values())
    assert "forward sts" in rr
    assert "forward sts" not in finetune


def test_it_changes_no_bit_and_records_the_first_epoch_alone(
    profiled: Path, tmp_path: Path
) -> None:
    assert run(tmp_path / "run") == 0
    assert not (tmp_path / "run" / "profile").exists()
    ours, theirs = (
        torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)
        for place in (profiled, tmp_path / "run")
    )
    for part in ("state_dict", "optimizer"):
        for a, b in zip(tensors(ours[part]), tensors(theirs[part]), strict=True):
            assert bits(a) == bits(b)
    log = (profiled / "train.log").read_text("utf-8")
    assert log.count("profile in ") == 1
    assert "open a trace in ui.perfetto.dev" in log
    assert sorted(p.name for p in (profiled / "profile").iterdir()) == [
        "summary.txt", "trace-finetune.json", "trace-rr.json",
    ]  # fmt: skip


def tensors(node: Any) -> list[torch.Tensor]:
    if isinstance(node, torch.Tensor):
        return [node]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return [tensor for child in children for tensor in tensors(child)]


def test_a_phase_that_is_short_is_recorded_in_part(tmp_path: Path) -> None:
    # One step of the largest task alone.
    assert run(tmp_path / "run", "data.scale=0.0067", "B=8", "trainer.profile=true") == 0
    text = (tmp_path / "run" / "profile" / "summary.txt").read_text("utf-8")
    assert "phase finetune: 1 steps of epoch 1, after 0; " in text


def test_phases_that_take_turns_are_recorded_together(tmp_path: Path) -> None:
    turns = "sampler=tiers", "sampler.growth=1", "sampler.interleave=true", "trainer.profile=true"
    assert run(tmp_path / "run", *turns) == 0
    text = (tmp_path / "run" / "profile" / "summary.txt").read_text("utf-8")
    assert text.startswith("phase rr+finetune: 10 steps of epoch 1, after 5; ")
    assert text.count("phase ") == 1


def test_a_run_that_is_stopped_meanwhile_goes_on(tmp_path: Path) -> None:
    stop = at_step(8, send(15))
    assert run(tmp_path / "run", "trainer.profile=true", hook=stop) == EXIT_CODE
    assert not (tmp_path / "run" / "profile").exists()
    assert run(tmp_path / "run", "trainer.profile=true") == 0
    text = (tmp_path / "run" / "profile" / "summary.txt").read_text("utf-8")
    assert text.startswith("phase rr: 10 steps of epoch 1, after 5; ")


def test_shares_are_of_the_steps() -> None:
    class Averages(list[Any]):
        def table(self, sort_by: str, **_: Any) -> str:
            return f"by {sort_by}"

    def event(key: str, total: float) -> SimpleNamespace:
        return SimpleNamespace(key=key, count=2, cpu_time_total=total)

    events = Averages([
        event("ProfilerStep*", 10_000.0), event("data", 1_000.0), event("forward x", 2_000.0),
        event("forward y", 1_000.0), event("backward x", 2_500.0), event("surgery", 500.0),
        event("optimizer", 1_000.0), event("aten::mm", 3_000.0),
    ])  # fmt: skip
    lines = [" ".join(line.split()) for line in summary(events, "phase p").splitlines()]
    assert lines == [
        "phase p; 5.00 ms a step", "data 10.0 % 0.50 ms", "forward 30.0 % 1.50 ms",
        "forward x 20.0 % 1.00 ms", "forward y 10.0 % 0.50 ms", "backward 25.0 % 1.25 ms",
        "surgery 5.0 % 0.25 ms", "optimizer 10.0 % 0.50 ms", "rest 20.0 % 1.00 ms", "",
        "operators", "by self_cpu_time_total",
    ]  # fmt: skip
