"""What is put on an encoder besides the heads, and so what of it is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from transformers import PreTrainedModel

from mtl_bert.data.batch import Batch
from mtl_bert.model.lora import SHARED, LoraPerTask, put_lora
from mtl_bert.model.pals import Shape, TaskAdapters


@dataclass(frozen=True)
class Adapter:
    """What is put on an encoder.

    Attributes:
        kind: none; pals or low_rank, for each task; lora, or lora_per_task.
        size: of a task's inner states, or LoRA's rank; None means as published.
        heads: of pals.
        layers: numbers of the layers that have it, from 0; None means all.
        alpha: LoRA's, which is by its rank the factor on the changes.
    """

    kind: str = "none"
    size: int | None = None
    heads: int = 6
    layers: tuple[int, ...] | None = None
    alpha: int = 16

    @property
    def is_lora(self) -> bool:
        """Whether it changes weights, and so leaves them as they came by itself."""
        return self.kind.startswith("lora")


class Switched(Protocol):
    """What each task has of its own within the encoder."""

    def take(self, batches: Mapping[str, Batch], packs: bool) -> None:
        """Say what goes through the encoder next."""


def put_on(
    encoders: Sequence[PreTrainedModel], tasks: Sequence[str], adapter: Adapter
) -> Switched | None:
    """Put it on all encoders; give what has to be told of the tasks that go through them.

    Raises:
        ModelError: an encoder that does not allow it, or settings that do not fit it.
    """
    if adapter.kind == "none":
        return None
    if not adapter.is_lora:
        first = encoders[0]
        shape = Shape.of(first, adapter.kind, adapter.size, adapter.heads, adapter.layers)
        return TaskAdapters(encoders, tasks, shape)
    names = [SHARED] if adapter.kind == "lora" else tasks
    for encoder in encoders:
        put_lora(encoder, names, adapter.size or 8, adapter.alpha, adapter.layers)
    return LoraPerTask(encoders) if adapter.kind == "lora_per_task" else None
