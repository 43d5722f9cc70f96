"""One encoder, pooled, with a linear head for each task (docs/paper.md, 11).

Shapes: B examples, D features.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mtl_bert.data.batch import Batch
from mtl_bert.model.encoder import EncoderSource, ModelError
from mtl_bert.model.packing import pack, pooled_packed, pooled_padded
from mtl_bert.tasks import Task

LARGE_TABLE = 4096  # rows; a batch touches most of a smaller one


class MultiTaskModel(nn.Module):
    """The model that is trained; parameters are named ``encoder.…`` and ``heads.TASK.…``.

    Args:
        cross_encode: a pair is one sequence; else each text is encoded alone and the head sees
            (u, v, |u − v|) as in Reimers and Gurevych 2019, section 3.
        encoder_per_task: every task has an encoder of its own, ``encoders.TASK.…``.

    Attributes:
        features: D, the numbers in a state of the encoder.
        packs: whether sequences go through the encoder end to end, without padding.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        source: EncoderSource,
        *,
        cross_encode: bool = True,
        dropout: float = 0.1,
        encoder_per_task: bool = False,
    ) -> None:
        super().__init__()
        self.tasks, self.packs = {task.name: task for task in tasks}, False
        encoder = source.encoder()
        features = getattr(getattr(encoder, "config", None), "hidden_size", None)
        if not isinstance(features, int):
            raise ModelError(
                f"model: expected an encoder with a config.hidden_size, found {source.name} "
                f"({type(encoder).__name__}) without; write another model.path"
            )
        if encoder_per_task:  # all start from the same weights, pretrained or random
            self.encoders = nn.ModuleDict({task.name: copy.deepcopy(encoder) for task in tasks})
        else:
            self.encoder = encoder
        self.dropout, self.features, self.heads = nn.Dropout(dropout), features, nn.ModuleDict()
        for task in tasks:
            parts = 3 if task.pair and not cross_encode else 1
            self.heads[task.name] = nn.Linear(parts * features, task.head.outputs)
        # Pretrained encoders come in evaluation mode; left so, they would train without dropout.
        self.train()

    def forward(self, task: str, batch: Batch) -> Tensor:
        """The outputs of a task's head, in the form that its loss expects: [B, …]."""
        return self.answers(task, batch, self.pooled(task, batch))

    def together(self, batches: Mapping[str, Batch]) -> dict[str, Tensor]:
        """The same for several tasks that share the encoder, in one pass through it."""
        pooled = self.pooled_together(batches)
        return {task: self.answers(task, batch, pooled[task]) for task, batch in batches.items()}

    def of_all(self, tasks: Sequence[str], batch: Batch) -> dict[str, Tensor]:
        """What several tasks say of the same batch, in one pass where they share the encoder."""
        if hasattr(self, "encoders"):
            return {task: self(task, batch) for task in tasks}
        pooled = self.pooled(tasks[0], batch)
        return {task: self.answers(task, batch, pooled) for task in tasks}

    def pooled_together(self, batches: Mapping[str, Batch]) -> dict[str, Tensor]:
        """One vector for each sequence of each task, in one pass: [S, D] each."""
        pooled = self.pooled(next(iter(batches)), Batch.joined(list(batches.values())))
        parts = torch.split(pooled, [batch.sequences for batch in batches.values()])
        return dict(zip(batches, parts, strict=True))

    def sizes(self, batches: Mapping[str, Batch]) -> tuple[dict[str, int], dict[str, int] | None]:
        """What the encoder sees of each task in ``together``: sequences, and tokens end to end."""
        sequences = {task: batch.sequences for task, batch in batches.items()}
        tokens = {task: len(batch.input_ids) for task, batch in batches.items()}
        return sequences, tokens if self.packs else None

    def answers(self, task: str, batch: Batch, pooled: Tensor) -> Tensor:
        """What a task's head says of its sequences, which were pooled to [S, D]."""
        if batch.per_example == 2:
            u, v = pooled[0::2], pooled[1::2]
            pooled = torch.cat([u, v, (u - v).abs()], dim=-1)
        head, features = self.heads[task], self.dropout(pooled)
        with torch.autocast(features.device.type, enabled=False):
            return self.tasks[task].head.shape(head(features.to(head.weight.dtype)))

    def reaches(self, task: str, name: str) -> bool:
        """Whether a task's loss can depend on the parameter of that name."""
        part, _, rest = name.partition(".")
        return part == "encoder" or rest.partition(".")[0] == task

    def pack(self) -> bool:
        """Leave padding out from now on, if the encoder allows it; say whether it does."""
        self.packs = all(map(pack, {self.encoder_of(task) for task in self.tasks}))
        return self.packs

    def set_sparse_gradients(self, sparse: bool) -> None:
        """Let large embeddings' gradients come as the rows that a batch touched, or as tables."""
        for part in self.modules():
            if isinstance(part, nn.Embedding) and part.num_embeddings > LARGE_TABLE:
                part.sparse = sparse

    def encoder_of(self, task: str) -> PreTrainedModel:
        """The encoder that a task's texts go through: all tasks' or its own."""
        own = hasattr(self, "encoders")
        return cast(PreTrainedModel, self.encoders[task] if own else self.encoder)

    def pooled(self, task: str, batch: Batch) -> Tensor:
        """One vector for each sequence: [S, D]."""
        return (pooled_packed if self.packs else pooled_padded)(self.encoder_of(task), batch)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast the model, and with it what the tasks' losses hold."""
        for task in self.tasks.values():
            task.apply(fn)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self
