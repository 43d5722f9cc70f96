"""What surgery costs where little is trained: python -m benchmarks.adapters [--size minilm].

For full fine-tuning, PALs and LoRA, each with its own model, side by side in one run: the numbers
that are trained, the bytes of the tasks' rows of gradients, the CPU time of a step (K forward and
backward passes, PCGrad, AdamW), and of combining the rows by itself.
"""

import argparse
import time
from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import Parameter

from benchmarks.encoders import batches, losses, model
from benchmarks.measure import MEBI, Work, as_it_is, interleaved, machine
from benchmarks.rows import EXAMPLES, PAPER
from benchmarks.surgery import forget
from mtl_bert.model.adapters import Adapter
from mtl_bert.surgery import GradientMatrix

KINDS: Mapping[str, dict[str, Any]] = {
    "all of the encoder": {},
    "all of it, and PALs": {"adapter": Adapter("pals")},
    "PALs alone": {"adapter": Adapter("pals"), "freeze_encoder": True},
    "LoRA, shared": {"adapter": Adapter("lora")},
    "LoRA of each task": {"adapter": Adapter("lora_per_task")},
}


class Parts(NamedTuple):
    """A model's step, and its rows without combining them."""

    step: Work
    rows: Work
    matrix: GradientMatrix
    trained: list[Parameter]


def parts(size: str, K: int, how: dict[str, Any]) -> Parts:
    """Of a packed model with something put on it."""
    net, step = model(size, K, **how), batches(K, EXAMPLES, 0)
    net.pack()
    net.set_sparse_gradients(True)
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer, matrix = torch.optim.AdamW(trained, fused=True), GradientMatrix(trained)

    def rows() -> None:
        for task, loss in losses(net, step):
            matrix.add(task, loss)

    def whole() -> None:
        rows()
        matrix.combine(PAPER)
        optimizer.step()

    return Parts(whole, rows, matrix, trained)


def held(made: Parts) -> int:
    """Bytes of a step's rows."""
    made.rows()
    entries = [entry for row in made.matrix.take().rows for entry in row if entry is not None]
    return sum((e._values() if e.is_sparse else e).nbytes for e in entries)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="minilm")
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    made = {kind: parts(wanted.size, wanted.tasks, how) for kind, how in KINDS.items()}

    def combining(its: Parts) -> Work:
        its.rows()
        return lambda: forget(its.matrix.combine(PAPER))

    works = {kind: partial(as_it_is, its.step) for kind, its in made.items()}
    alone = {kind: partial(combining, its) for kind, its in made.items()}
    whole = interleaved(works, wanted.rounds, time.process_time)
    combined = interleaved(alone, wanted.rounds, time.process_time)
    table = Table("trained", "numbers", "rows", "step", "of it combining", title=machine())
    for kind, its in made.items():
        count, milliseconds = sum(p.numel() for p in its.trained), 1e3 * median(combined[kind])
        table.add_row(
            kind,
            f"{count:,}",
            f"{held(its) / MEBI:,.1f} MiB",
            f"{median(whole[kind]) * 1e3:,.0f} ms",
            f"{milliseconds:,.1f} ms",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
