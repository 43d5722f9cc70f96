"""A loss in which rare classes count for more, the alternative to dealing them more often."""

from collections.abc import Callable, Sequence
from copy import copy

import torch
from torch import Tensor, nn


class ClassWeighted(nn.Module):
    """The mean over examples of their losses times their class's weight.

    Not divided by the weights' sum, as torch's ``weight`` is: so parts of a batch, and processes,
    add up to the whole.

    Args:
        loss: with ``reduction``, as torch's losses have.
        classes: C.
        weights: [C]; None waits for ``balance``, and is 1 until then.
    """

    weights: Tensor

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        classes: int,
        weights: Sequence[float] | None,
    ) -> None:
        super().__init__()
        if not hasattr(loss, "reduction"):
            raise ValueError(
                "class_weights: expected a loss with a reduction, as torch's have, found "
                f"{type(loss).__name__}; write loss: {{_target_: torch.nn.CrossEntropyLoss}}"
            )
        if weights is not None and len(weights) != classes:
            raise ValueError(
                f"class_weights: expected a number for each of {classes} classes, found "
                f"{len(weights)}; write class_weights: balanced"
            )
        self.each, self.waits = copy(loss), weights is None
        self.each.reduction = "none"
        given = torch.ones(classes) if weights is None else torch.tensor(list(weights))
        self.register_buffer("weights", given.float())

    def balance(self, counts: Sequence[int]) -> None:
        """Weigh classes by the inverse of their training examples [C], 1 in the mean over those."""
        if self.waits:
            there = torch.tensor(counts, dtype=self.weights.dtype, device=self.weights.device)
            present = there > 0
            inverse = there.sum() / (present.sum() * there.clamp(min=1))
            self.weights.copy_(torch.where(present, inverse, torch.ones_like(inverse)))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of outputs on labels [B]."""
        of_each: Tensor = self.each(outputs, labels)
        return (of_each * self.weights[labels.long()]).mean()
