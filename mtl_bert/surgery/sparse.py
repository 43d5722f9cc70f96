"""The gradient of an embedding: zero but for the rows that a step touched.

A batch touches a few hundred of an embedding's tens of thousands of rows. Kept dense, the
gradients of K tasks would fill K tables with zeros, multiply them and add them up.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class TouchedRows:
    """One parameter's combined gradient [V, D], written to in few rows and used again every step.

    Args:
        parameter: the embedding's table [V, D].
    """

    def __init__(self, parameter: Tensor) -> None:
        self._gradient = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
        self._touched = torch.empty(0, dtype=torch.int64, device=parameter.device)
        self._rows = self._touched

    def reduce(self, entries: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Bring the tasks' sparse gradients to the rows that any of them touched: [U, D] each."""
        sparse = [None if entry is None else entry.coalesce() for entry in entries]
        touched = [entry.indices()[0] for entry in sparse if entry is not None]
        self._rows = torch.cat(touched).unique()  # type: ignore[no-untyped-call]
        return [None if entry is None else self._compact(entry) for entry in sparse]

    def _compact(self, entry: Tensor) -> Tensor:
        values = entry.values()
        compact = values.new_zeros(len(self._rows), *values.shape[1:])
        place = torch.searchsorted(self._rows, entry.indices()[0])
        return compact.index_copy_(0, place, values)

    def expand(self, combined: Tensor) -> Tensor:
        """The dense gradient [V, D] of a combination [U, D], until the next call."""
        self._gradient.index_fill_(0, self._touched, 0.0)
        self._gradient.index_copy_(0, self._rows, combined)
        self._touched = self._rows
        return self._gradient
