"""Three image tasks of very unequal size, in a training loop of your own.

It shows the two things that go into a loop that you have already: a ``PlanLoader``, which says what
each step sees, and a ``Surgeon``, which makes one update of the tasks' gradients. The images are
made here; nothing is needed but torch, numpy and mtl_bert:

    python examples/own_loop_images.py --epochs 6 --B 1000

It prints for each epoch the mean loss of each task, in how many of the joint steps gradients
conflicted, and the scores on images that were not trained on.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from mtl_bert import ARRP, PCGrad, PlanLoader, Surgeon

SIZES = {"shape": 4000, "radius": 400, "side": 200}
LOSS = {
    "shape": F.cross_entropy,  # disc, square or cross?
    "radius": F.mse_loss,  # how large is it?
    "side": F.binary_cross_entropy_with_logits,  # is it on the right?
}


def make_images(task: str, count: int, seed: int) -> TensorDataset:
    """Draw one white figure on noise; the task says which of its properties is the label."""
    rng = np.random.default_rng(seed)
    shape, radius = rng.integers(3, size=count), rng.uniform(2, 5, count)
    x, y = rng.uniform(4, 12, (2, count))
    dx = np.abs(np.arange(16)[None, None, :] - x[:, None, None])
    dy = np.abs(np.arange(16)[None, :, None] - y[:, None, None])
    near, far = np.minimum(dx, dy), np.maximum(dx, dy)
    distances = [np.hypot(dx, dy), far, np.where(near < 1, far, np.inf)]
    white = np.choose(shape[:, None, None], distances) < radius[:, None, None]
    images = white[:, None] + rng.normal(0, 0.3, (count, 1, 16, 16))
    label = {"shape": shape, "radius": radius - 3.5, "side": x > 8}[task]
    number = torch.get_default_dtype()
    labels = torch.tensor(label, dtype=torch.long if task == "shape" else number)
    return TensorDataset(torch.tensor(images, dtype=number), labels)


class Net(nn.Module):
    """A small conv net that the tasks share, and a head for each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU()),
        )
        outputs = {"shape": 3, "radius": 1, "side": 1}
        self.heads = nn.ModuleDict({task: nn.Linear(64, n) for task, n in outputs.items()})

    def forward(self, task: str, images: Tensor) -> Tensor:
        """A task's outputs: [B, 3] for the shape, [B] for the others."""
        return self.heads[task](self.body(images)).squeeze(-1)


def score(net: Net, task: str, data: TensorDataset) -> float:
    """Accuracy; for the radius the correlation with the true one."""
    images, labels = data.tensors
    with torch.inference_mode():
        outputs = net(task, images)
    if task == "radius":
        return torch.corrcoef(torch.stack([outputs, labels]))[0, 1].item()
    predicted = outputs.argmax(1) if task == "shape" else (outputs > 0).to(labels.dtype)
    return (predicted == labels).double().mean().item()


def main(argv: Sequence[str] | None = None) -> Net:
    """Train, print, and return the net."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--B", type=int, default=1000, help="shapes of an epoch's second phase")
    parser.add_argument("--share", type=float, default=1.0, help="of the training images")
    options = parser.parse_args(argv)

    torch.manual_seed(0)
    net = Net()
    train = {task: make_images(task, int(n * options.share), 0) for task, n in SIZES.items()}
    dev = {task: make_images(task, 500, 1) for task in SIZES}

    # Each epoch first takes as many images of every task as the smallest one has, then B more of
    # the largest, whose loss counts half (lambda_).
    sampler = ARRP(batch_size=16, B=options.B, lambda_=0.5)
    loader = PlanLoader(train, sampler, epochs=options.epochs, seed=0)
    surgeon = Surgeon(net, PCGrad())
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)

    for epoch in range(1, options.epochs + 1):
        loader.set_epoch(epoch)
        losses, conflicts = defaultdict(list), []
        for step in loader:
            with surgeon.step(optimizer, step.phase):  # on leaving: combine, update
                for task, (images, labels) in step.batches.items():
                    surgeon.backward(task, LOSS[task](net(task, images), labels))
            for task, loss in surgeon.last.losses.items():
                losses[task].append(loss)
            if step.phase.surgery:
                conflicts.append(bool(surgeon.last.conflicts))
        print(
            f"epoch {epoch}: loss",
            *(f"{task} {mean(values):.3f}" for task, values in losses.items()),
            f"| conflicts in {sum(conflicts)} of {len(conflicts)} joint steps | score",
            *(f"{task} {score(net, task, data):.3f}" for task, data in dev.items()),
        )
    return net


if __name__ == "__main__":
    main()
