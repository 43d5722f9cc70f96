"""Count the bytes of live tensors by their storages, for real tensors and fake ones alike.

Fake tensors have shapes and types, go through the same operators and the same autograd as real
ones, and have no memory: what is counted is what a real step would take, and nothing is computed.
"""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def storages(tensors: Iterable[Any]) -> dict[int, torch.UntypedStorage]:
    """The storages of some tensors, each once; a sparse tensor has two, its indices and values."""
    dense: list[Tensor] = []
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            dense += [tensor._indices(), tensor._values()] if tensor.is_sparse else [tensor]
    found = (tensor.untyped_storage() for tensor in dense)
    return {storage._cdata: storage for storage in found}


def size(tensors: Iterable[Any]) -> int:
    """Bytes of some tensors together; tensors that share a storage count once."""
    return sum(storage.nbytes() for storage in storages(tensors).values())


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that were made under it and are still alive.

    Args:
        known: tensors that existed before and do not count.

    Attributes:
        now: bytes alive at this moment.
        peak: the most bytes that were alive at once.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen = set(storages(known))

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Carry out an operator and count what it made."""
        made = func(*args, **(kwargs or {}))
        for key, storage in storages(tree_leaves(made)).items():
            if key not in self._seen:
                self._seen.add(key)
                weakref.finalize(storage, self._freed, key, storage.nbytes())
                self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        return made

    def _freed(self, key: int, count: int) -> None:
        self._seen.discard(key)
        self.now -= count
