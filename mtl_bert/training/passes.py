"""Whether a step's tasks go through the encoder together or one after another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl_bert.config.settings import TrainerSettings
from mtl_bert.machine.hardware import on_gpu
from mtl_bert.model import MultiTaskModel
from mtl_bert.model.packing import sample
from mtl_bert.surgery import GradientMatrix
from mtl_bert.surgery.one_pass import obstacle
from mtl_bert.surgery.rows import Row

# Tokens of a task's batch up to which one pass was measured to be faster on CPUs: the activations
# of all tasks are still in the cache. On a GPU, which waits for launches, it was at every size.
MOST_TOKENS = 160
# What one pass costs, by a pass for each: on CPUs up to so many tokens, and on GPUs the least that
# was measured (0.44 to 0.81), as nobody has compared it there with each text going through once.
COST, COST_ON_GPU = 0.88, 0.44
TOLERANCE = 1e-3  # of a gradient's length; what is not one pass's to give is far off


@dataclass
class Passes:
    """How steps with several tasks go through the encoder."""

    one: bool  # all tasks together; else one after another
    why: str
    chosen: bool = False  # by the program, as the settings leave it open
    cost: float = 1.0  # of one pass, by a pass for each

    def state(self) -> tuple[bool, float]:
        """What ``resume`` is given."""
        return self.one, self.cost

    def resume(self, one: bool, cost: float) -> None:
        """Keep to the way that a run went so far, where the program may choose."""
        self.cost = cost
        if self.chosen and one != self.one:
            self.one, self.why = one, "as the run began"

    def of_labels(self, tasks: Sequence[str]) -> str:
        """A line of the log on tasks that are labels of the same texts."""
        once = "each text goes through the encoder once where that costs less"
        if self.one and self.cost <= 2 / 3:  # no number of labels saves more
            once = "one pass for all tasks is what GPUs take"
        return f"{', '.join(tasks)} are labels of the same texts: {once}"

    def __str__(self) -> str:
        """A line of the log."""
        return f"{'one pass for all tasks' if self.one else 'a pass for each task'} ({self.why})"


def passes(trainer: TrainerSettings, model: MultiTaskModel, tokens: float) -> Passes:
    """Choose by what is the same in every run of one command: never by a stopwatch.

    Dropout draws other masks in one pass than in several, so the choice decides numbers. A task's
    batch has so many ``tokens``, in the mean over tasks.
    """
    if trainer.passes == "per_task":
        return Passes(False, "trainer.passes=per_task")
    if hasattr(model, "encoders"):
        return Passes(False, "each task has an encoder of its own")
    if model.adapter.kind == "lora_per_task":
        return Passes(False, "each task has weights of its own within the encoder")
    if layer := obstacle(model.trunk):
        return Passes(False, f"no rule takes encoder.{layer} in one pass")
    if not _same_rows(model):
        return Passes(False, "in one pass this encoder's gradients would be others")
    gpu, few = on_gpu(trainer.accelerator), tokens <= MOST_TOKENS
    cost = COST_ON_GPU if gpu else COST if few else 1.0
    if trainer.passes == "one":
        return Passes(True, "trainer.passes=one", cost=cost)
    if gpu:
        return Passes(True, "it is faster on GPUs", chosen=True, cost=cost)
    count = f"{tokens:.0f} tokens per batch on average; one pass is faster up to {MOST_TOKENS}"
    return Passes(model.packs and few, count, chosen=True, cost=cost)


def _same_rows(model: MultiTaskModel) -> bool:
    """Whether the encoder's gradients in one pass are those of two, tried on a small sample."""
    encoder, training = model.encoder, model.training
    parameters = [p for p in model.trunk.parameters() if p.requires_grad]
    if not parameters or parameters[0].is_meta or len(model.tasks) == 1:
        return True
    first, second, *_ = model.tasks
    ways = [GradientMatrix(parameters) for _ in range(2)]
    model.eval()
    try:
        batches = {first: sample(encoder, (7, 3)), second: sample(encoder, (5,))}
        for task, batch in batches.items():
            ways[0].add(task, model.pooled(task, batch).square().sum())
        with ways[1].one_pass(model.trunk, *model.sizes(batches)):
            pooled = model.pooled_together(batches)
            losses = {task: part.square().sum() for task, part in pooled.items()}
            ways[1].add_together(losses, dict.fromkeys(losses, 1.0))
        each, one = (way.take().rows for way in ways)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False
    finally:
        model.train(training)

    def flat(row: Row) -> Tensor:
        return torch.cat([entry.flatten() for entry in row if entry is not None])

    return all(
        [entry is None for entry in row] == [entry is None for entry in other]
        and (flat(row) - flat(other)).norm() <= TOLERANCE * flat(row).norm()
        for row, other in zip(each, one, strict=True)
    )
