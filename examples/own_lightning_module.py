"""A LightningModule of your own on our loader and surgeon; data and net are own_loop_images.py's.

    python examples/own_lightning_module.py --epochs 6

It needs three things: manual optimization, because the surgeon updates the net; a loader that is
asked for again in every epoch, because every epoch has its own plan; and no sampler of Lightning's,
because the plan already gives each process its share. A run goes on exactly from Lightning's
checkpoints, also in the middle of an epoch. It prints the scores after training.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from mtl_bert import ARRP, PCGrad, PlanLoader, PlanStep, Surgeon
from own_loop_images import LOSS, SIZES, Net, make_images, score


class MultiTask(LightningModule):
    """Trains a net with one head for each task."""

    def __init__(self, net: Net, loader: PlanLoader) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net, self.loader = net, loader
        self.surgeon = Surgeon(net, PCGrad())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimizer for all tasks and phases."""
        return torch.optim.AdamW(self.net.parameters(), lr=2e-3)

    def train_dataloader(self) -> PlanLoader:
        """The steps of the epoch that begins; Lightning counts epochs from 0."""
        self.loader.set_epoch(self.current_epoch + 1)
        return self.loader

    def training_step(self, step: PlanStep, index: int) -> None:
        """Take one step of the plan."""
        with self.surgeon.step(self.optimizers(), step.phase):
            for task, (images, labels) in step.batches.items():
                self.surgeon.backward(task, LOSS[task](self.net(task, images), labels))
        self.log_dict({f"loss/{task}": value for task, value in self.surgeon.last.losses.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the surgeon's state; Lightning keeps the loader's."""
        checkpoint["surgeon"] = self.surgeon.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on as if there had been no stop."""
        self.surgeon.load_state_dict(checkpoint["surgeon"])


def main(argv: Sequence[str] | None = None, **trainer: Any) -> Net:
    """Train, print, and return the net; further arguments are those of Lightning's Trainer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--share", type=float, default=1.0, help="of the training images")
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    net = Net()
    train = {task: make_images(task, int(n * options.share), 0) for task, n in SIZES.items()}
    loader = PlanLoader(train, ARRP(batch_size=16, B=1000), epochs=options.epochs, seed=0)
    Trainer(
        max_epochs=options.epochs,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        **{"logger": False, "enable_checkpointing": False, **trainer},
    ).fit(MultiTask(net, loader))
    print("score", *(f"{task} {score(net, task, make_images(task, 500, 1)):.3f}" for task in SIZES))
    return net


if __name__ == "__main__":
    main()
