"""Counting bytes by the storages that tensors stand in, real tensors and fake ones alike.

Fake tensors have shapes and types, go through the same operators and the same autograd as real
ones, and have no memory: what is counted is what a real step would take, and nothing is computed.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def storages(tensors: Iterable[Any]) -> dict[int, torch.UntypedStorage]:
    """The memory of some tensors, each once however many of them stand in it."""
    found = (part.untyped_storage() for tensor in tensors for part in _strided(tensor))
    return {storage._cdata: storage for storage in found}


def size(tensors: Iterable[Any]) -> int:
    """Bytes of some tensors together; what is no tensor has none."""
    return sum(storage.nbytes() for storage in storages(tensors).values())


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that were made under it and are still there.

    Args:
        known: tensors that were there before.

    Attributes:
        now: at this moment.
        peak: at most so far.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = frozenset(storages(known))
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Carry out an operator and count what it made."""
        made = func(*args, **(kwargs or {}))
        for place, storage in storages(tree_leaves(made)).items():
            if place not in self._seen and place not in self._known:
                self._seen.add(place)
                weakref.finalize(storage, self._freed, place, storage.nbytes())
                self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        return made

    def _freed(self, place: int, count: int) -> None:
        self._seen.discard(place)
        self.now -= count


def _strided(tensor: Any) -> Iterator[Tensor]:
    if not isinstance(tensor, Tensor):
        return
    if tensor.is_sparse:
        yield tensor._indices()
        yield tensor._values()
    else:
        yield tensor
