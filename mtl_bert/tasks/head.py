"""What a task predicts: the labels it accepts, the outputs it needs and how they are read.

Shapes: B examples, C classes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor


class Head(ABC):
    """The form of a task's answers; as it stands here, one output for each example.

    Attributes:
        names: what the C classes are called, in the order of their labels; none for a number.
        label_type: the type that the loss expects of labels [B].
    """

    names: Sequence[str] = ()
    label_type: ClassVar[torch.dtype] = torch.float32

    @property
    def outputs(self) -> int:
        """How many numbers the model's linear head gives for each example."""
        return 1

    def shape(self, logits: Tensor) -> Tensor:
        """Bring the linear layer's [B, outputs] into the form that the loss expects: here [B]."""
        return logits.squeeze(-1)

    @abstractmethod
    def check(self, label: float) -> str | None:
        """Say what is wrong with a label, or None."""

    def examples(self) -> list[float]:
        """Some labels, among them every class's, to try a loss and a metric on."""
        return [float(label) for label in range(max(2, len(self.names)))]

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Read predictions [B], in the labels' own values, off shaped outputs."""

    @abstractmethod
    def probabilities(self, outputs: Tensor) -> Tensor:
        """The probability of each class [B, C] by shaped outputs; [B, 0] for a number."""

    def confidence(self, outputs: Tensor) -> Tensor:
        """The probability of each prediction by its own outputs: [B]."""
        return self.probabilities(outputs).amax(-1)


@dataclass(frozen=True)
class _Classes(Head):
    """One of several classes, labelled 0, 1, …, in the order of their names."""

    names: Sequence[str]
    _expected: ClassVar[str] = "at least 2 class names"

    def __post_init__(self) -> None:
        names = texts("head.names", self.names)
        object.__setattr__(self, "names", names)
        if len(names) < 2 or (self.outputs == 1 and len(names) > 2):
            raise ValueError(
                f"head.names: expected {self._expected}, found {list(names)}; "
                "write for example names: ['no', 'yes']"
            )
        if len(set(names)) < len(names):  # results count and name classes by them
            raise ValueError(
                f"head.names: expected different names, found {list(names)}; "
                "call no two classes alike"
            )

    def check(self, label: float) -> str | None:
        """Accept 0, 1, … up to the number of classes."""
        if label in range(len(self.names)):
            return None
        last = len(self.names) - 1
        return f"label {label:g} is not {'0 or 1' if last == 1 else f'one of 0 to {last}'}"


class MultiClass(_Classes):
    """One of several classes; a logit for each."""

    label_type: ClassVar[torch.dtype] = torch.int64

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return len(self.names)

    def shape(self, logits: Tensor) -> Tensor:
        """The logits [B, C], as they are."""
        return logits

    def predict(self, outputs: Tensor) -> Tensor:
        """The class of the largest logit: [B]."""
        return outputs.argmax(-1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The softmax of the logits: [B, C]."""
        return outputs.softmax(-1)


@dataclass(frozen=True)
class Binary(_Classes):
    """Yes or no, labelled 1 or 0, from one logit; ``names`` says what 0 and 1 are called."""

    names: Sequence[str] = ("no", "yes")
    _expected: ClassVar[str] = "what 0 and 1 are called"

    def predict(self, outputs: Tensor) -> Tensor:
        """Predict 1 where the logit is positive, else 0: [B]."""
        return (outputs > 0).long()

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The probabilities of 0 and of 1: [B, 2]; 1 − p would round small ones away."""
        return torch.stack([-outputs, outputs], -1).sigmoid()


@dataclass(frozen=True)
class Regression(Head):
    """A number on a scale from the smallest label, ``low``, to the largest, ``high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(
                f"head: expected low < high, found low={self.low} and high={self.high}; "
                "write for example low: 0 and high: 5"
            )

    def examples(self) -> list[float]:
        """The ends of the scale and its middle; of a scale without an end, some numbers near."""
        low, high = self.low, self.high
        if math.isinf(low):
            low = high - 2 if math.isfinite(high) else 0.0
        if math.isinf(high):
            high = low + 2
        return [low, (low + high) / 2, high]

    def check(self, label: float) -> str | None:
        """Accept finite numbers on the scale."""
        if self.low <= label <= self.high and math.isfinite(label):
            return None
        return f"label {label:g} is not between {self.low:g} and {self.high:g}"

    def predict(self, outputs: Tensor) -> Tensor:
        """The outputs themselves: [B]."""
        return outputs

    def probabilities(self, outputs: Tensor) -> Tensor:
        """A number has none: [B, 0]."""
        return outputs.new_empty(len(outputs), 0)

    def confidence(self, outputs: Tensor) -> Tensor:
        """A number does not say how sure it is: NaN, [B]."""
        return torch.full_like(outputs, math.nan)


def texts(setting: str, values: Any) -> tuple[str, ...]:
    """A list of texts, whole numbers among them as they are written.

    Raises:
        ValueError: something else, such as the true that YAML makes of a yes without quotes.
    """
    listed = isinstance(values, Sequence) and not isinstance(values, str)
    if not listed or not all(isinstance(v, str | int) and v is not bool(v) for v in values):
        raise ValueError(
            f"{setting}: expected a list of texts, found {values!r}; write them in quotes, which "
            f"keep YAML from reading yes, no, on, off or null: {setting}: ['no', 'yes']"
        )
    return tuple(map(str, values))
