"""Encoders of well-known sizes with random weights, and batches of the tasks' usual lengths."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryAccuracy
from transformers import BertConfig, BertModel

from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel, Tiny
from mtl_bert.tasks import Binary, Task

SIZES = {
    "tiny": BertConfig(
        hidden_size=96, num_hidden_layers=1, num_attention_heads=8, intermediate_size=96
    ),
    "minilm": BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    ),
    "base": BertConfig(),
}

MEAN_TOKENS = (25, 30, 28)  # of SST, QQP pairs and STS pairs


@dataclass(frozen=True)
class RandomEncoder(Tiny):
    """An encoder of some size, from torch's generator; no tokenizer fits it, and none is needed."""

    config: BertConfig = field(default_factory=BertConfig)
    name: str = "random"

    def encoder(self) -> BertModel:
        """A new encoder."""
        return BertModel(copy.deepcopy(self.config))  # packing writes into a model's configuration


def model(size: str, K: int, **settings: Any) -> MultiTaskModel:
    """A model with K binary tasks, the same each time; settings are the model's."""
    torch.manual_seed(0)
    tasks = [
        Task(f"task{k}", False, Binary(), nn.BCEWithLogitsLoss(), "accuracy", BinaryAccuracy)
        for k in range(K)
    ]
    return MultiTaskModel(tasks, RandomEncoder(config=SIZES[size]), **settings)


def batches(K: int, examples: int, seed: int) -> dict[str, Batch]:
    """One batch for each of K tasks."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"task{k}": _batch(examples, MEAN_TOKENS[k % len(MEAN_TOKENS)], generator) for k in range(K)
    }


def _batch(examples: int, mean: int, generator: torch.Generator) -> Batch:
    spread = torch.rand(examples, generator=generator) + torch.rand(examples, generator=generator)
    lengths = (spread * mean).long().clamp_min(3)
    tokens = torch.randint(1000, 30_000, [int(lengths.sum())], generator=generator).numpy()
    labels = torch.randint(2, (examples,), generator=generator).float()
    types = np.zeros_like(tokens)
    return Batch.of(lengths.numpy(), tokens, types, labels, np.arange(examples))


def losses(net: MultiTaskModel, step: dict[str, Batch]) -> Iterator[tuple[str, Tensor]]:
    """Each task's loss, the next one's graph made when it is asked for."""
    for task, batch in step.items():
        assert batch.labels is not None
        yield task, net.tasks[task].loss(net(task, batch).float(), batch.labels)
