"""One encoder, pooled, with a head for each task (docs/explanation/paper.md, 11).

Shapes: B examples, D features.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mtl_bert.data.batch import Batch
from mtl_bert.model.adapters import Adapter, put_on
from mtl_bert.model.encoder import EncoderSource, ModelError, keep_first_layers
from mtl_bert.model.head_layers import head_layers
from mtl_bert.model.packing import pack, pooled_packed, pooled_padded
from mtl_bert.model.pals import TaskAdapters
from mtl_bert.model.pooling import choose
from mtl_bert.sampling.epoch import Rows
from mtl_bert.tasks import Task

LARGE_TABLE = 4096  # rows; a batch touches most of a smaller one


class MultiTaskModel(nn.Module):
    """The model that is trained; its parameters are named ``encoder.…`` and ``heads.TASK.…``.

    Args:
        cross_encode: a pair is one sequence; else each text is encoded alone and the head sees
            (u, v, |u − v|) as in Reimers and Gurevych 2019, section 3.
        encoder_per_task: every task has an encoder of its own, ``encoders.TASK.…``.
        pooling: how a sequence's states become one vector; auto is what the encoder was trained
            with, and a pooler that is not used is left out.
        layers: of the encoder, the first ones, that are used; None means all.
        adapter: what is put on the encoder, ``adapters.TASK.…`` or LoRA's within ``encoder.…``.
        freeze_encoder: train heads and adapters alone; None means with LoRA.
        gradient_checkpointing: compute the encoder's layers again in the backward pass, and keep
            less in memory meanwhile.

    Attributes:
        features: D, the numbers in a state of the encoder.
        pooling: the way, and why.
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
        pooling: str = "auto",
        layers: int | None = None,
        adapter: Adapter | None = None,
        freeze_encoder: bool | None = None,
        gradient_checkpointing: bool = False,
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
        if layers is not None:
            keep_first_layers(encoder, layers)
        self.pooling = choose(pooling, encoder, getattr(source, "path", None))
        if self.pooling.kind != "pooler" and hasattr(encoder, "pooler"):
            encoder.pooler = nn.Identity()
        if encoder_per_task:  # all start from the same weights, pretrained or random
            self.encoders = nn.ModuleDict({task.name: copy.deepcopy(encoder) for task in tasks})
        else:
            self.encoder = encoder
        self.dropout, self.features, self.heads = nn.Dropout(dropout), features, nn.ModuleDict()
        for task in tasks:
            parts = 3 if task.pair and not cross_encode else 1
            self.heads[task.name] = head_layers(task, parts * features, dropout)
        self._put_on(adapter or Adapter(), freeze_encoder, gradient_checkpointing)
        # Pretrained encoders come in evaluation mode; left so, they would train without dropout.
        self.train()

    def _put_on(self, adapter: Adapter, frozen: bool | None, recomputes: bool) -> None:
        """After the heads are made, so that these are the same whatever stands below them."""
        encoders = list({id(e): e for e in map(self.encoder_of, self.tasks)}.values())
        frozen = adapter.is_lora if frozen is None else frozen
        came = {id(p) for e in encoders for p in e.parameters() if p.requires_grad and not frozen}
        self.adapter, self.switched = adapter, put_on(encoders, [*self.tasks], adapter)
        for encoder in encoders:
            for name, parameter in encoder.named_parameters():
                parameter.requires_grad_(".lora_" in name or id(parameter) in came)
            if recomputes and not getattr(encoder, "supports_gradient_checkpointing", False):
                raise ModelError(
                    "model.gradient_checkpointing: expected an encoder that allows it, found "
                    f"{type(encoder).__name__}; write model.gradient_checkpointing=false"
                )
            if recomputes:
                encoder.config.use_cache = False  # of decoders, but transformers warns of it
                old = getattr(encoder, "gradient_checkpointing_enable")  # noqa: B009 - before 5.20
                getattr(encoder, "activation_checkpointing_enable", old)({"use_reentrant": False})
        if isinstance(self.switched, TaskAdapters):
            self.adapters = self.switched.modules

    @property
    def trunk(self) -> nn.Module:
        """What several tasks go through at once."""
        return self.switched.trunk if isinstance(self.switched, TaskAdapters) else self.encoder

    def forward(self, task: str, batch: Batch) -> Tensor:
        """The outputs of a task's head, in the form that its loss expects: [B, …]."""
        return self.answers(task, batch, self.pooled(task, batch))

    def together(
        self, batches: Mapping[str, Batch], texts: Mapping[str, Rows] | None = None
    ) -> dict[str, Tensor]:
        """The same for several tasks that share the encoder, in one pass through it.

        Of labels of the same texts ``texts`` has the number of each example's text, [B] each: then
        a text goes through once, whichever tasks it is of.
        """
        pooled = self.pooled_together(batches) if texts is None else self._once(batches, texts)
        return {task: self.answers(task, batch, pooled[task]) for task, batch in batches.items()}

    @property
    def encodes_alike(self) -> bool:
        """Whether a text's vector is the same for all tasks."""
        return not hasattr(self, "encoders") and self.switched is None

    def of_all(self, tasks: Sequence[str], batch: Batch) -> dict[str, Tensor]:
        """What several tasks say of the same batch, in one pass where they share the encoder."""
        if not self.encodes_alike:
            return {task: self(task, batch) for task in tasks}
        pooled = self.pooled(tasks[0], batch)
        return {task: self.answers(task, batch, pooled) for task in tasks}

    def pooled_together(self, batches: Mapping[str, Batch]) -> dict[str, Tensor]:
        """One vector for each sequence of each task, in one pass: [S, D] each."""
        pooled = self._pooled(batches, Batch.joined(list(batches.values())))
        parts = torch.split(pooled, [batch.sequences for batch in batches.values()])
        return dict(zip(batches, parts, strict=True))

    def _once(self, batches: Mapping[str, Batch], texts: Mapping[str, Rows]) -> dict[str, Tensor]:
        """The vectors of each task's sequences, each text's made once: [S, D] each."""
        whole, places = Batch.once(list(batches.values()), [texts[task] for task in batches])
        pooled = self._pooled(batches, whole)
        chosen = (pooled if at is None else pooled[torch.from_numpy(at)] for at in places)
        return dict(zip(batches, chosen, strict=True))

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
            own = next(head.parameters(), features)  # in full precision whatever the encoder has
            return self.tasks[task].head.shape(head(features.to(own.dtype)))

    def reaches(self, task: str, name: str) -> bool:
        """Whether a task's loss can depend on the parameter of that name."""
        part, _, rest = name.partition(".")
        if ".lora_" in name and self.adapter.kind == "lora_per_task":
            return f".{task}." in name
        return part == "encoder" or rest.partition(".")[0] == task

    def pack(self) -> bool:
        """Leave padding out from now on, if the encoder allows it; say whether it does."""
        if isinstance(self.switched, TaskAdapters):
            self.switched.parts = ()  # the encoder is tried by itself
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

    def pooled(self, task: str, batch: Batch, kind: str | None = None) -> Tensor:
        """One vector for each sequence, pooled as the model does or in another way: [S, D]."""
        return self._pooled({task: batch}, batch, kind)

    def _pooled(
        self, batches: Mapping[str, Batch], joined: Batch, kind: str | None = None
    ) -> Tensor:
        if self.switched is not None:
            self.switched.take(batches, self.packs)
        way = pooled_packed if self.packs else pooled_padded
        return way(self.encoder_of(next(iter(batches))), joined, kind or self.pooling.kind)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast the model, and with it what the tasks' losses hold."""
        for task in self.tasks.values():
            task.apply(fn)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self
