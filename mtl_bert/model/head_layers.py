"""What stands between a text's features and a task's outputs: a linear layer, or more."""

import torch
from torch import nn

from mtl_bert.model.encoder import ModelError
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import first_line


def head_layers(task: Task, features: int, dropout: float) -> nn.Module:
    """A fresh head of a task: [B, features] to [B, outputs].

    Raises:
        ModelError: a module of somebody's own that is none, or gives something else.
    """
    outputs = task.head.outputs
    if task.module is None:
        if task.hidden is None:
            return nn.Linear(features, outputs)
        first, last = nn.Linear(features, task.hidden), nn.Linear(task.hidden, outputs)
        return nn.Sequential(first, nn.GELU(), nn.Dropout(dropout), last)
    try:
        made = task.module(features, outputs)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = f"{list(made(torch.zeros(2, features)).shape)}"
    except Exception as error:  # modules are anybody's, and so is what they raise
        made, found = None, first_line(error)
    if isinstance(made, nn.Module) and found == f"[2, {outputs}]":
        return made
    raise ModelError(
        f"tasks.{task.name}.module: expected what makes a module from [2, {features}] to "
        f"[2, {outputs}], of the numbers of features and outputs, found {found}; mend it, or write "
        f"tasks.{task.name}.hidden=128"
    )
