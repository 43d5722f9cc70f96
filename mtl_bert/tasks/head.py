"""What a task predicts: the labels it accepts, the outputs it needs and how they are read.

Shapes: B examples, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Head(Protocol):
    """The form of a task's answers."""

    @property
    def names(self) -> Sequence[str]:
        """What the C classes are called, in the order of their labels; none for a number."""
        ...

    @property
    def outputs(self) -> int:
        """Numbers that the model's linear head gives per example."""
        ...

    @property
    def label_type(self) -> torch.dtype:
        """The type that the loss expects of labels [B]."""
        ...

    def check(self, label: float) -> str | None:
        """Say what is wrong with a label, or None."""
        ...

    def shape(self, logits: Tensor) -> Tensor:
        """Bring the linear layer's [B, outputs] into the form that the loss expects."""
        ...

    def predict(self, outputs: Tensor) -> Tensor:
        """Read predictions [B], in the labels' own values, off shaped outputs."""
        ...

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The probability of each class [B, C] by shaped outputs."""
        ...

    def confidence(self, outputs: Tensor) -> Tensor:
        """The probability that each prediction has by its own outputs [B]; NaN for a number."""
        ...


@dataclass(frozen=True)
class MultiClass:
    """One of several classes, labelled 0, 1, …

    Attributes:
        names: what the classes are called, in the order of their labels.
    """

    names: Sequence[str]

    def __post_init__(self) -> None:
        """Check the settings."""
        if len(self.names) < 2:
            raise ValueError(
                f"head.names: expected at least 2 class names, found {list(self.names)}; "
                "write for example names: [negative, positive]"
            )
        _check_different(self.names)

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return len(self.names)

    @property
    def label_type(self) -> torch.dtype:
        """Class numbers."""
        return torch.int64

    def check(self, label: float) -> str | None:
        """Accept 0, 1, … up to the number of classes."""
        if label in range(len(self.names)):
            return None
        return f"label {label:g} is not one of 0 to {len(self.names) - 1}"

    def shape(self, logits: Tensor) -> Tensor:
        """[B, classes], as it is."""
        return logits

    def predict(self, outputs: Tensor) -> Tensor:
        """The class of the largest logit: [B]."""
        return outputs.argmax(-1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The softmax of the logits: [B, C]."""
        return outputs.softmax(-1)

    def confidence(self, outputs: Tensor) -> Tensor:
        """The largest probability: [B]."""
        return self.probabilities(outputs).amax(-1)


@dataclass(frozen=True)
class Binary:
    """Yes or no, labelled 1 or 0, from one logit.

    Attributes:
        names: what 0 and 1 are called.
    """

    names: Sequence[str] = ("no", "yes")

    def __post_init__(self) -> None:
        """Check the settings."""
        if len(self.names) != 2:
            raise ValueError(
                f"head.names: expected what 0 and 1 are called, found {list(self.names)}; "
                "write for example names: [no, yes]"
            )
        _check_different(self.names)

    @property
    def outputs(self) -> int:
        """One logit."""
        return 1

    @property
    def label_type(self) -> torch.dtype:
        """Probabilities."""
        return torch.float32

    def check(self, label: float) -> str | None:
        """Accept 0 and 1."""
        return None if label in (0, 1) else f"label {label:g} is not 0 or 1"

    def shape(self, logits: Tensor) -> Tensor:
        """[B, 1] to [B]."""
        return logits.squeeze(-1)

    def predict(self, outputs: Tensor) -> Tensor:
        """1 where the logit is positive: [B]."""
        return (outputs > 0).long()

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Those of 0 and 1: [B, 2]; 1 − p would round small ones away."""
        return torch.stack([-outputs, outputs], -1).sigmoid()

    def confidence(self, outputs: Tensor) -> Tensor:
        """p, or 1 − p where 0 is predicted: [B]."""
        return outputs.abs().sigmoid()


@dataclass(frozen=True)
class Regression:
    """A number on a scale.

    Attributes:
        low: the smallest label.
        high: the largest label.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the settings."""
        if not self.low < self.high:
            raise ValueError(
                f"head: expected low < high, found low={self.low} and high={self.high}; "
                "write for example low: 0 and high: 5"
            )

    @property
    def names(self) -> Sequence[str]:
        """There are no classes."""
        return ()

    @property
    def outputs(self) -> int:
        """The number itself."""
        return 1

    @property
    def label_type(self) -> torch.dtype:
        """Numbers."""
        return torch.float32

    def check(self, label: float) -> str | None:
        """Accept finite numbers on the scale."""
        if math.isfinite(label) and self.low <= label <= self.high:
            return None
        return f"label {label:g} is not between {self.low:g} and {self.high:g}"

    def shape(self, logits: Tensor) -> Tensor:
        """[B, 1] to [B]."""
        return logits.squeeze(-1)

    def predict(self, outputs: Tensor) -> Tensor:
        """The outputs themselves: [B]."""
        return outputs

    def probabilities(self, outputs: Tensor) -> Tensor:
        """There are none: [B, 0]."""
        return outputs.new_empty(len(outputs), 0)

    def confidence(self, outputs: Tensor) -> Tensor:
        """A number says nothing of how sure it is: NaN, [B]."""
        return torch.full_like(outputs, math.nan)


def _check_different(names: Sequence[str]) -> None:
    """Results count and name classes: no two may be called alike."""
    if len(set(names)) < len(names):
        raise ValueError(
            f"head.names: expected different names, found {list(names)}; call no two classes alike"
        )
