"""Each example, run small, against a loop written by hand: no loader, no surgeon, dense PCGrad."""

import csv
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.utils.data import default_collate
from transformers import BertConfig, BertModel

from mtl_bert import ARRP, PlanLoader
from mtl_bert.model import Tiny
from tests.surgery import dense

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PLAIN = {"scope": "shared", "reduction": "sum", "include_self": False}
PAPER = {"scope": "all", "reduction": "mean", "include_self": True}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports an example as if its folder were where Python was started, in double precision."""
    monkeypatch.syspath_prepend(EXAMPLES)
    torch.set_default_dtype(torch.float64)
    yield importlib.import_module
    torch.set_default_dtype(torch.float32)


def walk(
    net: nn.Module,
    loss_of: Callable[[str, Any], Tensor],
    data: Mapping[str, Any],
    sampler: ARRP,
    optimizer: AdamW,
    *,
    epochs: int,
    seed: int,
    collate: Callable[[Any], Any] = default_collate,
    clip: float | None = None,
    rate: Callable[[int], float] | None = None,
    **surgery: Any,
) -> nn.Module:
    """Train step by step along the plan, gradients of a step combined as long dense vectors.

    The order of projections is drawn as the surgeon documents it: by its seed, 0, and the step.
    """
    sizes = {task: len(dataset) for task, dataset in data.items()}
    parameters = list(net.parameters())
    steps = [s for epoch in range(1, epochs + 1) for s in sampler(sizes, epoch, epochs, seed).steps]
    assert {step.phase.surgery for step in steps} == {True, False}
    for number, step in enumerate(steps):
        losses = [
            step.phase.lambda_ * loss_of(task, collate([data[task][row] for row in rows.tolist()]))
            for task, rows in step.rows.items()
        ]
        order = torch.Generator().manual_seed(number)
        dense.combine(losses, parameters, order, **surgery, surgery=step.phase.surgery)
        if clip is not None:
            clip_grad_norm_(parameters, clip)
        if rate is not None:
            optimizer.param_groups[0]["lr"] = rate(number) * optimizer.defaults["lr"]
        optimizer.step()
    return net


def assert_same(trained: nn.Module, by_hand: nn.Module) -> None:
    pairs = zip(trained.state_dict().items(), by_hand.state_dict().values(), strict=True)
    for (name, a), b in pairs:
        torch.testing.assert_close(
            a, b, rtol=0, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}"
        )


def images_by_hand(images: ModuleType, share: float, B: int) -> nn.Module:
    torch.manual_seed(0)
    net = images.Net()
    data = {task: images.make_images(task, int(n * share), 0) for task, n in images.SIZES.items()}

    def loss_of(task: str, batch: Sequence[Tensor]) -> Tensor:
        return images.LOSS[task](net(task, batch[0]), batch[1])

    optimizer = AdamW(net.parameters(), lr=2e-3)
    sampler = ARRP(16, B=B, lambda_=0.5)
    return walk(net, loss_of, data, sampler, optimizer, epochs=2, seed=0, **PLAIN)


def test_own_loop_on_images(example: Callable[[str], ModuleType]) -> None:
    images = example("own_loop_images")
    trained = images.main(["--epochs", "2", "--B", "40", "--share", "0.1"])
    assert_same(trained, images_by_hand(images, share=0.1, B=40))


def test_own_lightning_module(example: Callable[[str], ModuleType]) -> None:
    module = example("own_lightning_module")
    trained = module.main(
        ["--epochs", "2", "--share", "0.05"], enable_progress_bar=False, enable_model_summary=False
    )
    assert_same(trained, images_by_hand(example("own_loop_images"), share=0.05, B=1000))


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")  # no callback needed
@pytest.mark.parametrize("steps", [3, 13, 20])
def test_own_lightning_module_goes_on_after_any_step(
    example: Callable[[str], ModuleType], tmp_path: Path, steps: int
) -> None:
    """Within the first epoch, at its end, within the second; an epoch has 13 steps."""
    module, images = example("own_lightning_module"), example("own_loop_images")
    train = {task: images.make_images(task, n // 20, 0) for task, n in images.SIZES.items()}

    def trained(most: int, *callbacks: Callback, checkpoint: Path | None = None) -> nn.Module:
        torch.manual_seed(0)
        loader = PlanLoader(train, ARRP(2, B=16), epochs=2)
        net = images.Net()
        Trainer(
            max_epochs=2,
            max_steps=most,
            reload_dataloaders_every_n_epochs=1,
            callbacks=list(callbacks),
            enable_checkpointing=False,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module.MultiTask(net, loader), ckpt_path=checkpoint, weights_only=False)
        return net

    class Saving(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == steps:
                trainer.save_checkpoint(tmp_path / "there.ckpt")

    trained(steps, Saving())
    assert_same(trained(-1, checkpoint=tmp_path / "there.ckpt"), trained(-1))


def text_by_hand(
    tasks: ModuleType, arguments: Mapping[str, Any], B: int, lr: float, decay: float, **how: Any
) -> nn.Module:
    torch.manual_seed(0)
    net, collate = tasks.load(arguments["encoder"])
    data = {task: tasks.read(arguments["data"], task, "train") for task in tasks.LOSS}
    optimizer = AdamW(net.parameters(), lr=lr, weight_decay=decay)
    sampler = ARRP(8, B=B, lambda_=0.5)
    return walk(net, net.loss, data, sampler, optimizer, epochs=2, seed=1, collate=collate, **how)


def test_minimal_arrp_on_the_courses_files(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    minimal, tasks = example("minimal_arrp"), example("text_tasks")
    for task, count in {"sst": 24, "qqp": 60, "sts": 20}.items():
        write_files(tmp_path, tasks, task, count)
    save_encoder(tmp_path / "encoder", tasks.TINY)
    given = {"data": str(tmp_path), "encoder": str(tmp_path / "encoder")}
    trained = minimal.main(
        ["--data", given["data"], "--encoder", given["encoder"], "--epochs", "2", "--B", "20"]
    )
    assert_same(trained, text_by_hand(tasks, given, B=20, lr=2e-5, decay=0.01, **PAPER))


def write_files(folder: Path, tasks: ModuleType, task: str, count: int) -> None:
    """Files as the course's, one row without its label."""
    file, label = tasks.FILES[task]
    make, _ = tasks.MADE_UP[task]
    for split in ("train", "dev"):
        examples = make(count, np.random.default_rng(0))
        texts = ["sentence"] if task == "sst" else ["sentence1", "sentence2"]
        with (folder / file.format(split)).open("w", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines, delimiter="\t")
            writer.writerow(["", "id", *texts, label])
            writer.writerow([0, "x", *texts, ""])
            writer.writerows([n, n, *row, y] for n, (row, y) in enumerate(examples, 1))


def save_encoder(folder: Path, settings: Mapping[str, Any]) -> None:
    tokenizer = Tiny().tokenizer()
    BertModel(BertConfig(vocab_size=len(tokenizer), **settings)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_huggingface_trainer(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, tasks = example("huggingface_trainer"), example("text_tasks")
    small = {task: (make, size // 20) for task, (make, size) in tasks.MADE_UP.items()}
    monkeypatch.setattr(tasks, "MADE_UP", small)
    trained = trainer.main(["--epochs", "2", "--B", "20"])
    steps = 2 * (3 + 3)  # 20 examples of each task, then 20 of the largest, in batches of 8
    by_hand = text_by_hand(
        tasks,
        {"data": None, "encoder": None},
        B=20,
        lr=7e-4,
        decay=0.0,
        clip=1.0,
        rate=lambda number: 1 - number / steps,
        **PLAIN,
    )
    assert_same(trained, by_hand)


WITHOUT = """
import runpy, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ImportError(f"{name} is not needed here")

sys.meta_path.insert(0, Missing())
path, *sys.argv[1:] = sys.argv[2:]
runpy.run_path(path, run_name="__main__")
"""


def test_images_need_torch_and_numpy_alone() -> None:
    refused = "transformers,lightning,hydra,omegaconf,pandas,rich,pydantic,scipy,torchmetrics"
    small = ["--epochs", "1", "--B", "16", "--share", "0.05"]
    script = EXAMPLES / "own_loop_images.py"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, refused, str(script), *small],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("epoch 1: loss shape ")
