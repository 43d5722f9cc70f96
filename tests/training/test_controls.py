"""What each parameter learns with, and when a run ends."""

import math
import os
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import nn

from mtl_bert import Run
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.inference.transformers_export import export
from mtl_bert.model import MultiTaskModel
from mtl_bert.runs.factories import make, make_tasks
from mtl_bert.runs.results import Results, RunFolder
from mtl_bert.training import adamw, schedule
from mtl_bert.training import run as running
from mtl_bert.training.build import assemble
from mtl_bert.utils.errors import UserError
from tests.cli.driving import SMALL, train_here
from tests.composing import settings_of
from tests.factories import TINY, assert_tells
from tests.forking import in_a_fork


def model_of(*overrides: str) -> tuple[MultiTaskModel, Any, Settings]:
    settings = settings_of("task=[sst,sts]", *overrides)
    model = MultiTaskModel(make_tasks(settings), TINY)
    made = make(settings.optimizer, "optimizer")(list(model.named_parameters()))
    return model, made, settings


def rates(model: MultiTaskModel, optimizer: Any) -> dict[str, tuple[float, float]]:
    """Each parameter's learning rate and weight decay; each is in one group."""
    names = {id(p): name for name, p in model.named_parameters()}
    found = [
        (names[id(p)], (group["lr"], group["weight_decay"]))
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert sorted(name for name, _ in found) == sorted(names.values())
    return dict(found)


def test_biases_and_norms_do_not_decay_and_the_papers_do() -> None:
    found = rates(*model_of()[:2])
    for name, (_, decay) in found.items():
        vector = name.endswith("bias") or "LayerNorm" in name
        assert decay == (0.0 if vector else 0.01), name
    assert {decay for _, decay in rates(*model_of("optimizer=paper")[:2]).values()} == {0.01}
    assert settings_of("+experiment/table2=rr").optimizer["_target_"] == "torch.optim.AdamW"


def test_heads_and_layers_have_rates_of_their_own() -> None:
    model, optimizer, settings = model_of("optimizer.head_lr=0.5", "optimizer.layer_decay=0.5")
    lr = settings.lr
    for name, (rate, _) in rates(model, optimizer).items():
        steps_down = (
            3 if "embeddings" in name else 2 if "layer.0" in name else 1 if "layer.1" in name else 0
        )
        assert rate == pytest.approx(0.5 if name.startswith("heads.") else lr * 0.5**steps_down)
    assert optimizer.param_groups[0]["lr"] == lr  # the one that is logged


def test_one_group_is_torchs_own_optimizer_bit_for_bit() -> None:
    nets = [nn.Linear(3, 2) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    ours = adamw(nets[0].named_parameters(), lr=0.1, weight_decay=0.3)
    theirs = torch.optim.AdamW(nets[1].parameters(), lr=0.1, weight_decay=0.3)
    for step in range(5):
        for net, optimizer in zip(nets, (ours, theirs), strict=True):
            net(torch.full((1, 3), float(step))).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(nets[0].weight, nets[1].weight)
    assert torch.equal(nets[0].bias, nets[1].bias)


@pytest.mark.parametrize("wrong", [{"layer_decay": 0.0}, {"layer_decay": 1.5}, {"head_lr": -1.0}])
def test_rates_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a number"):
        adamw(nn.Linear(1, 1).named_parameters(), lr=0.1, weight_decay=0, **wrong)  # type: ignore[arg-type]


def test_a_warm_up_longer_than_a_stage_is_refused_at_the_start() -> None:
    stages = "sampler=two_stage", "sampler.then=rr", "B=64", "epochs=2", "scheduler=linear"
    steps = assemble(settings_of(*SMALL, *stages)).datamodule.stage_steps(2)
    assemble(settings_of(*SMALL, *stages, f"scheduler.warmup_steps={steps}"))
    with pytest.raises(ConfigError, match=rf"from 0 to the {steps} steps .* or of its shorter"):
        assemble(settings_of(*SMALL, *stages, f"scheduler.warmup_steps={steps + 1}"))


def test_the_rate_rises_over_steps_or_over_a_share_of_them() -> None:
    def rise(**settings: Any) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        made = schedule(optimizer, 20, name="constant_with_warmup", **settings)
        found = []
        for _ in range(6):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            made.step()
        return found

    assert rise(warmup_ratio=0.2) == rise(warmup_ratio=0.9, warmup_steps=4)
    assert rise(warmup_ratio=0.9, warmup_steps=4) == [0, 0.25, 0.5, 0.75, 1, 1]
    with pytest.raises(
        ValueError, match=r"scheduler\.warmup_steps: expected .* 20 steps of the run"
    ):
        rise(warmup_ratio=0.0, warmup_steps=21)


def test_a_run_ends_where_its_score_rises_no_more_and_stays_ended(tmp_path: Path) -> None:
    """With lr=0 no epoch is better than the first."""
    still = ("sampler=rr", "B=8", "lr=0", "epochs=6", "trainer.patience=2")
    found = train_here(tmp_path / "a", *still)
    assert (found.last_epoch, found.best_epoch, len(found.epochs)) == (3, 1, 3)
    assert "trainer.patience=2: ended after epoch 3" in found.notes
    # The same, killed after the last checkpoint and before the results.
    (tmp_path / "a" / "results.json").unlink()
    again = train_here(tmp_path / "a", *still)
    assert [e.score for e in again.epochs] == [e.score for e in found.epochs]


class Noted(lightning.Callback):
    """A callback of a user's own."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_end(self, *_: Any) -> None:
        with self.path.open("a") as file:
            file.write("a step\n")


def test_callbacks_of_ones_own_and_label_smoothing(tmp_path: Path) -> None:
    own, steps = "tests.training.test_controls.Noted", tmp_path / "steps"
    settings = settings_of(
        *SMALL, "sampler=rr", "B=16", f"+callbacks.noted._target_={own}",
        f"+callbacks.noted.path={steps}", "callbacks=[time_limit]",
        "+tasks.sst.loss.label_smoothing=0.1",
    )  # fmt: skip
    running.run(settings, tmp_path / "a")
    found = Results.model_validate_json((tmp_path / "a" / "results.json").read_text())
    assert len(steps.read_text().splitlines()) == 2
    assert found.epochs[0].losses["sst"] > 0
    (sst,) = (task for task in make_tasks(settings) if task.name == "sst")
    sure = 30 * torch.eye(5)
    assert sst.loss(sure, torch.arange(5)) == pytest.approx(0.1 * 30 * 4 / 5, abs=1e-4)
    assert not math.isnan(found.score)


def test_texts_and_heads_of_a_tasks_own(tmp_path: Path) -> None:
    """A limit of tokens, a hidden layer, and any layers, from training to answers and files."""
    settings = settings_of(
        *SMALL, "sampler=rr", "B=16", "+tasks.sst.max_length=6", "+tasks.sst.hidden=5",
        "+tasks.sts.module._target_=tests.training.test_controls.Bilinear",
        "+tasks.sts.module._partial_=true",
    )  # fmt: skip
    running.run(settings, tmp_path / "a")
    run = Run.open(tmp_path / "a", trust=tmp_path / "a")
    cut, whole = run.results.data.truncated["sst"], run.results.data.truncated["sts"]
    assert cut > 0 == whole
    model = run.predictor.model
    shapes = {n: list(p.shape) for n, p in model.named_parameters() if "heads.s" in n}
    D = model.features
    assert shapes == {
        "heads.sst.0.weight": [5, D], "heads.sst.0.bias": [5], "heads.sst.3.weight": [5, 5],
        "heads.sst.3.bias": [5], "heads.sts.layer.weight": [1, D],
    }  # fmt: skip
    text = "a fine plot and a dull end with more words than any limit allows"
    cut_by_hand = run.predictor.tokenize.tokenizer.decode(
        run.predictor.tokenize.tokenizer(text)["input_ids"][1:5]
    )
    both = run.predict("sst", [text, cut_by_hand])["confidence"]
    assert both[0] == pytest.approx(both[1], abs=1e-6)
    assert run.predict("sts", [(text, text)])["prediction"].notna().all()
    with pytest.raises(UserError, match=r"to: expected heads of one linear layer each, found sst"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Bilinear(torch.nn.Module):
    """Layers of a user's own."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(features, outputs, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x * x.tanh())


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        (("+tasks.sst.max_length=4000",), ("tasks.sst.max_length: expected", "found 4000")),
        (("+tasks.sst.hidden=0",), ("tasks.sst.hidden: expected a whole number", "found 0")),
        (
            ("+tasks.sst.module._target_=torch.nn.Identity", "+tasks.sst.module._partial_=true"),
            ("tasks.sst.module: expected", "to [2, 5]", "found [2, "),
        ),
    ],
)
def test_limits_and_layers_that_cannot_be(
    wrong: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        running.run(settings_of(*SMALL, *wrong), tmp_path / "a")
    assert_tells(error.value, *parts)
    assert not (tmp_path / "a").exists()


OWN_BEST = ("sampler=rr", "B=24", "epochs=4", "lr=0.0003", "seed=2", "trainer.best_per_task=true")


def test_each_tasks_best_epoch_is_kept_and_can_be_used(tmp_path: Path) -> None:
    found = train_here(tmp_path / "a", *OWN_BEST)
    plain = train_here(tmp_path / "b", *OWN_BEST[:-1])
    assert [e.tasks for e in found.epochs] == [e.tasks for e in plain.epochs]
    assert not list((tmp_path / "b" / "checkpoints").glob("best-*"))
    for task, best in found.best_of_tasks.items():
        values = [epoch.tasks[task].value for epoch in found.epochs if epoch.tasks]
        assert best.tasks[task].value == max(values)
        assert best.epoch == 1 + values.index(max(values))
        run = Run.open(tmp_path / "a", checkpoint=task)
        dev = Run.open(tmp_path / "a").predictions(task)
        columns = [dev[c] for c in ("text", "text2") if c in dev]
        texts = list(zip(*columns, strict=True))
        answers = torch.tensor(run.predict(task, texts)["prediction"].to_numpy())
        (made,) = (t for t in make_tasks(run.settings) if t.name == task)
        value, _ = made.evaluate(answers, torch.tensor(dev["label"].to_numpy()).to(answers.dtype))
        assert value == pytest.approx(best.tasks[task].value, abs=1e-6)
    assert set(found.best_of_tasks) == set(found.tasks)
    assert len({best.epoch for best in found.best_of_tasks.values()}) > 1  # or this shows little
    with pytest.raises(UserError, match=r"--checkpoint: expected best or last, found 'sst'"):
        Run.open(tmp_path / "b", checkpoint="sst")
    RunFolder(tmp_path / "a").prune("best")
    assert len(list((tmp_path / "a" / "checkpoints").glob("best*"))) == 3
    RunFolder(tmp_path / "a").prune("none")
    assert not list((tmp_path / "a" / "checkpoints").glob("*.ckpt"))


def test_killed_before_it_removed_checkpoints_it_does_so_when_asked_again(tmp_path: Path) -> None:
    words, folder = (*SMALL, "epochs=1", "trainer.keep=best"), RunFolder(tmp_path / "a")

    def killed(*_: object) -> None:
        os._exit(9)

    def work() -> None:
        RunFolder.prune = killed  # type: ignore[method-assign]
        running.run(settings_of(*words), folder.path)

    assert in_a_fork(work) == 9
    assert folder.checkpoint("last").exists()
    assert folder.results.exists()
    running.run(settings_of(*words), folder.path)
    assert not folder.checkpoint("last").exists()
    assert folder.checkpoint("best").exists()
