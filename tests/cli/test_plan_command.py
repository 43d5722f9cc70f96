"""``mtl-bert plan``: what is printed is what is trained."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtl_bert.data.batch import Batch
from mtl_bert.memory import estimate
from mtl_bert.runs.factories import make, make_sampler
from mtl_bert.sampling.epoch import rows_used
from mtl_bert.sampling.history import is_dynamic
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training import run as running
from mtl_bert.training.build import assemble
from mtl_bert.training.module import MultiTaskModule
from tests.cli.driving import SAMPLERS, SMALL, Command, program, tree
from tests.cli.test_wrong_values import refused
from tests.composing import sampler_words, settings_of

PAPER = "plan.sizes={sts: 6040, sst: 8544, qqp: 283010}"
SIZES = {"sts": 20, "sst": 43, "qqp": 301}
GIVEN = "plan.sizes={sts: 20, sst: 43, qqp: 301}"


def test_table_1_of_the_paper(tmp_path: Path) -> None:
    ended = program("plan", PAPER, "sampler=rr", "epochs=1", "batch_size=8", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert _rows(ended.out) == [
        ["1", "rr", "755", "sts", "6,040", "6,040", "100.0"],
        ["", "", "", "sst", "6,040", "6,040", "70.7"],
        ["", "", "", "qqp", "6,040", "6,040", "2.1"],
    ]
    assert tree(tmp_path) == []


def test_sizes_that_are_given_need_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from mtl_bert.plan import main; main(sys.argv[1:]);"
        "print([name for name in ('torch', 'transformers', 'lightning') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, GIVEN, "sampler=arrp"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_lines_are_the_samplers_plan(command: Command, tmp_path: Path, sampler: str) -> None:
    needed = [word for word in sampler_words(sampler, [*SIZES]) if not word.startswith("epochs=")]
    chosen = [*needed, "epochs=3", "batch_size=8", "seed=5"]
    outcome = command("plan", GIVEN, *chosen, "plan.out=steps.jsonl")
    assert outcome.code == 0, outcome.err
    lines = _lines(tmp_path / "steps.jsonl")
    plan = make_sampler(settings_of(*chosen))
    epochs = (1,) if is_dynamic(plan) else (1, 2, 3)  # later ones depend on earlier ones' scores
    expected = [
        {
            "epoch": epoch,
            "step": number,
            "phase": step.phase.name,
            "rows": {task: rows.tolist() for task, rows in step.rows.items()},
        }
        for epoch in epochs
        for number, step in enumerate(plan(SIZES, epoch, 3, 5).steps)
    ]
    assert lines == expected
    assert bool(lines) == (sampler != "random")
    for line in lines:
        assert line["rows"]
        for task, rows in line["rows"].items():
            assert rows
            assert all(0 <= row < SIZES[task] for row in rows)
    shown = _rows(outcome.out)
    for epoch in epochs:
        first = next(row for row in shown if row[0] == str(epoch))
        phases = [line["phase"] for line in lines if line["epoch"] == epoch]
        assert first[1].startswith(phases[0] if phases else "nothing")
    assert ("decided by" in outcome.out) == is_dynamic(plan)
    total = sum(len(rows) for line in lines for rows in line["rows"].values())
    assert total == sum(int(row[4].replace(",", "")) for row in shown if row[4])


def test_the_rows_begin_at_0_and_reach_the_last(command: Command, tmp_path: Path) -> None:
    assert command("plan", GIVEN, "sampler=full", "epochs=1", "plan.out=steps.jsonl").code == 0
    seen: dict[str, list[int]] = {task: [] for task in SIZES}
    for line in _lines(tmp_path / "steps.jsonl"):
        for task, rows in line["rows"].items():
            seen[task] += rows
    assert {task: sorted(rows) for task, rows in seen.items()} == {
        task: list(range(size)) for task, size in SIZES.items()
    }


@pytest.mark.parametrize(
    "sampler",
    [
        "sampler=arrp B=7",
        "sampler=annealed B=24",
        "sampler=vanilla",
        "sampler=single",
        "sampler=arrp B=7 group_by_length=2",
        "sampler=annealed B=24 group_by_length=50",
    ],
)
def test_what_is_trained_is_what_is_printed(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    chosen = [*SMALL, *sampler.split(), "epochs=2", "trainer.baseline=false"]
    monkeypatch.setattr(estimate, "forecast", lambda *_: [])  # has tests of its own
    assert command("plan", *chosen, "plan.out=steps.jsonl").code == 0
    printed = _lines(tmp_path / "steps.jsonl")

    consumed: list[PlanStep[Batch]] = []
    step_of = MultiTaskModule.training_step

    def training_step(self: MultiTaskModule, step: PlanStep[Batch], index: int) -> None:
        consumed.append(step)
        step_of(self, step, index)

    monkeypatch.setattr(MultiTaskModule, "training_step", training_step)
    settings = settings_of(*chosen)
    running.run(settings, tmp_path / "run")

    assert len(consumed) == len(printed) > 4
    encoded = assemble(settings).datamodule._train
    for step, line in zip(consumed, printed, strict=True):
        assert (step.epoch, step.number, step.phase.name) == (
            line["epoch"],
            line["step"],
            line["phase"],
        )
        assert list(step.tasks) == list(line["rows"])
        for task, batch in step.batches.items():
            part, rows = encoded[task], line["rows"][task]
            assert len(batch) == len(rows)
            assert batch.labels.numpy() == pytest.approx(part.labels[rows])
            texts = [part.tokens[part.offsets[row] : part.offsets[row + 1]] for row in rows]
            assert np.array_equal(batch.input_ids.numpy(), np.concatenate(texts))


def test_batches_of_like_length_are_said_and_have_less_padding(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [*SMALL, "sampler=full"]
    monkeypatch.setattr(estimate, "forecast", lambda *_: [])
    outcomes, padding, used = [], [], []
    encoded = assemble(settings_of(*chosen)).datamodule._train
    for name, bucket in (("off", []), ("on", ["group_by_length=4"])):
        outcomes.append(command("plan", *chosen, *bucket, f"plan.out={name}"))
        lines = _lines(tmp_path / name)
        batches = [encoded[t].lengths[rows] for line in lines for t, rows in line["rows"].items()]
        padding.append(sum(int((batch.max() - batch).sum()) for batch in batches))
        used.append(sorted(row for line in lines for rows in line["rows"].values() for row in rows))
    assert used[0] == used[1]
    assert 0 < padding[1] < padding[0] / 2
    assert _rows(outcomes[0].out) == _rows(outcomes[1].out)
    assert "bucket" not in outcomes[0].out
    assert "group_by_length=4 (examples of like length share a batch)" in " ".join(
        outcomes[1].out.split()
    )


def test_the_table_needs_no_lengths_and_the_steps_do(command: Command, tmp_path: Path) -> None:
    outcome = command("plan", GIVEN, "sampler=rr", "epochs=1", "group_by_length=4")
    assert outcome.code == 0
    assert [row[3:5] for row in _rows(outcome.out)] == [["sts", "20"], ["sst", "20"], ["qqp", "20"]]
    outcome = command("plan", GIVEN, "sampler=rr", "group_by_length=4", "plan.out=steps.jsonl")
    message = "plan.sizes: expected null|group_by_length=4 needs the lengths|found {'sts': 20"
    message += "|group_by_length=null"
    refused(outcome.code, outcome.err, message)
    assert tree(tmp_path) == []


def test_the_sizes_are_those_of_the_data(command: Command, trained: Path) -> None:
    outcome = command("plan", *SMALL, "sampler=full")
    assert outcome.code == 0
    counted = {row[3]: int(row[4].replace(",", "")) for row in _rows(outcome.out)}
    assert counted == {"sst": 43, "sts": 30}  # 0.005 of the paper's


@pytest.mark.parametrize("sizes", ["3", "{}", "{sst: 0}", "{sst: 1.5}", "{sst: many}", "[1, 2]"])
def test_sizes_that_cannot_be(command: Command, tmp_path: Path, sizes: str) -> None:
    outcome = command("plan", f"plan.sizes={sizes}", "plan.out=steps.jsonl")
    assert outcome.code == 2
    assert outcome.err.startswith("plan.sizes: expected whole numbers ≥ 1 for each task, found ")
    assert len(outcome.err.splitlines()) == 1
    assert tree(tmp_path) == []


def test_a_wrong_order_leaves_no_half_file(command: Command, tmp_path: Path) -> None:
    outcome = command("plan", GIVEN, "sampler=full", "sampler.order=[sst]", "plan.out=steps.jsonl")
    assert outcome.code == 2
    assert outcome.err.startswith("sampler.order: expected each of sts, sst, qqp once, found sst")
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", "expected a place that can be used, found 'Not a file'"),
        ("taken/plan.jsonl", "taken: expected a place that can be used, found"),
    ],
)
def test_a_place_that_cannot_be_written(
    command: Command, tmp_path: Path, out: str, message: str
) -> None:
    (tmp_path / "taken").write_text("a file, not a directory")
    outcome = command("plan", "epochs=1", "plan.sizes={sst: 3, sts: 5}", f"plan.out={out}")
    assert outcome.code == 2
    assert outcome.err.startswith("plan.out: ")
    assert message in outcome.err


def test_a_note_is_made_once_for_all_epochs(command: Command, tmp_path: Path) -> None:
    outcome = command("plan", "epochs=3", "B=9", "plan.sizes={sst: 3, sts: 5}")
    assert outcome.out.count("is capped") == 1
    assert "epochs 1-3: B=9 is capped at the 2 examples of sts that RR left" in outcome.out


def _memory(printed: str) -> dict[str, float]:
    """The estimate's items, in MiB."""
    lines = printed[printed.index("memory, estimated in MiB") :].splitlines()[1:]
    found = (re.match(r"  (.+?) {2,}([\d,.]+)", line) for line in lines)
    return {match[1]: float(match[2].replace(",", "")) for match in found if match}


def test_what_a_run_takes_of_memory(command: Command, tmp_path: Path) -> None:
    wide = ["model.source.settings.hidden_size=256", "B=24", "epochs=1"]
    outcome = command("plan", *SMALL, *wide)
    assert outcome.code == 0, outcome.err
    found = _memory(outcome.out)
    parts = assemble(settings_of(*SMALL, *wide))
    P = sum(p.numel() for p in parts.module.model.parameters()) * 4 / 2**20
    assert found["parameters"] == pytest.approx(P, abs=0.06)
    assert found["optimizer state"] == pytest.approx(2 * P, abs=0.06)
    assert P < found["task gradients"] < 2 * P + 0.1
    assert found["in a step, at most"] > found["parameters"] + found["optimizer state"]
    longest = {
        task: int(np.diff(encoded.offsets).max())
        for task, encoded in parts.datamodule._train.items()
    }
    told = ", ".join(f"{task} {tokens}" for task, tokens in longest.items())
    assert f"tokens of the longest texts: {told} (of" in outcome.out
    assert "CPU, 32-true" in outcome.out
    assert tree(tmp_path) == []


def test_a_model_is_estimated_without_its_weights(command: Command, tmp_path: Path) -> None:
    tiny = make(settings_of().model.source)
    tiny.tokenizer().save_pretrained(tmp_path / "encoder")
    tiny.encoder().config.save_pretrained(tmp_path / "encoder")
    chosen = [*SMALL, "epochs=1", "model.dropout=0", "sampler=single"]
    ours = command("plan", *chosen)
    theirs = command(
        "plan", *chosen, "model=local", f"model.path={tmp_path / 'encoder'}", "lr=7e-4"
    )
    assert theirs.code == 0, theirs.err
    assert _memory(theirs.out) == _memory(ours.out)


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ([*SMALL, "model=bert_base"], "model google-bert/bert-base-uncased: expected it in"),
        ([GIVEN], "with plan.sizes neither texts nor encoder are looked at"),
        ([*SMALL, "optimizer.betas=abc"], ""),
    ],
)
def test_what_cannot_be_estimated_is_one_line(
    command: Command, chosen: list[str], reason: str
) -> None:
    outcome = command("plan", *chosen, "epochs=1")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1].startswith(f"memory not estimated: {reason}")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _rows(printed: str) -> list[list[str]]:
    """The table's rows as they are shown."""
    lines = [line for line in printed.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line[1:-1].split("│")] for line in lines]


def test_samplers_side_by_side(command: Command) -> None:
    told = ("batch_size=8", "epochs=2", "seed=3", "B=16", "lambda=0.5", "+sampler.temperature=1")
    outcome = command("plan", GIVEN, *told, "plan.compare=[rr,arrp,temperature]")
    assert outcome.code == 0, outcome.err
    rows = [row for row in _rows(outcome.out) if row[2] in SIZES]
    assert [row[0] for row in rows[:: len(SIZES)]] == ["rr", "arrp", "temperature"]
    for name, of_sampler in zip(
        ("rr", "arrp", "temperature"), (rows[i : i + 3] for i in (0, 3, 6)), strict=True
    ):
        own = {"arrp": ["lambda=0.5"], "temperature": ["sampler.temperature=1"]}.get(name, [])
        plan = make_sampler(settings_of(f"sampler={name}", "batch_size=8", "B=16", *own))
        epochs = [plan(SIZES, epoch, 2, 3) for epoch in (1, 2)]
        for row, task in zip(of_sampler, SIZES, strict=True):
            used = np.concatenate([rows_used(epoch.steps, task) for epoch in epochs])
            assert row[2] == task
            assert row[3] == f"{len(used) / 2:,.0f}"
            assert row[4] == f"{len(used) / 2 / SIZES[task]:.2f}"
            assert row[5] == f"{100 * len(np.unique(used)) / SIZES[task]:.1f} %"


@pytest.mark.parametrize("words", [("plan.compare=rr",), ("plan.compare=[]",),
                                   ("plan.compare=[rr]", "plan.out=x.jsonl")])  # fmt: skip
def test_a_comparison_that_cannot_be(command: Command, words: tuple[str, ...]) -> None:
    outcome = command("plan", GIVEN, *words)
    refused(outcome.code, outcome.err, "plan.compare: expected a list of samplers")
