"""Hugging Face's Trainer on our loader and surgeon; data and net are text_tasks.py's.

    python examples/huggingface_trainer.py --epochs 3

Trainer keeps its optimizer, schedule, log, callbacks and devices; the plan says what each step
sees, and the surgeon makes one gradient of the tasks'. It prints Trainer's log and the dev scores.
Trainer needs accelerate.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from mtl_bert import ARRP, PCGrad, PlanLoader, Surgeon
from mtl_bert.surgery import Method
from text_tasks import LOSS, Net, load, read, score


class Steps(PlanLoader):
    """A plan's steps as Trainer wants them: each in a dict, and epochs counted from 0."""

    def set_epoch(self, epoch: int, step: int | None = None) -> None:
        """Choose the epoch whose steps come next."""
        super().set_epoch(epoch + 1, step)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The epoch's steps."""
        return ({"step": step} for step in super().__iter__())


class MultiTaskTrainer(Trainer):
    """A Trainer whose steps have several tasks; it clips and updates as it always does."""

    def __init__(self, model: Net, args: TrainingArguments, steps: Steps, method: Method) -> None:
        super().__init__(model, args)
        self.steps = steps
        self.surgeon = Surgeon(model, method)

    def get_train_dataloader(self) -> Steps:
        """The plan's steps."""
        return self.steps

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *_: Any) -> Tensor:
        """Take one step of the plan, and return its mean loss."""
        self.model.train()
        step = inputs["step"].to(self.args.device)
        with self.surgeon.step(None, step.phase):  # fills .grad; Trainer's optimizer does the rest
            for task, batch in step.batches.items():
                # Not `model`: with several processes that is DDP, which averages after surgery.
                self.surgeon.backward(task, self.model.loss(task, batch))
        return torch.tensor(mean(self.surgeon.last.losses.values()), device=self.args.device)


def main(argv: Sequence[str] | None = None) -> Net:
    """Train, print, and return the net."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", metavar="DIR", help="the course's files; else made-up text")
    parser.add_argument("--encoder", help="name or folder; else a small random one")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--B", type=int, default=24_000, help="of the second phase, at most")
    options = parser.parse_args(argv)

    torch.manual_seed(0)
    net, collate = load(options.encoder)
    train = {task: read(options.data, task, "train") for task in LOSS}
    sampler = ARRP(batch_size=8, B=options.B)
    steps = Steps(train, sampler, epochs=options.epochs, seed=1, collate_fn=collate)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=options.epochs,
            learning_rate=2e-5 if options.encoder else 7e-4,
            logging_steps=100,
            save_strategy="no",
            report_to="none",
        )
        MultiTaskTrainer(net, arguments, steps, PCGrad()).train()
    for task in LOSS:
        dev = DataLoader(read(options.data, task, "dev"), 64, collate_fn=collate)
        print(f"{task} {score(net, task, dev):.3f}")
    return net


if __name__ == "__main__":
    main()
