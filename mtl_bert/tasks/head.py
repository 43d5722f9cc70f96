"""What a task predicts: the labels it accepts, the outputs it needs and how they are read.

Shapes: B examples, C classes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Head(ABC):
    """The form of a task's answers; as it stands here, a number for each example.

    Attributes:
        names: what the C classes are called, in the order of their labels; none for a number.
        label_type: the type that the loss expects of labels [B].
        per_class: whether a label is a number for each class, labels [B, C] instead of [B].
    """

    names: Sequence[str] = ()
    label_type: ClassVar[torch.dtype] = torch.float32
    per_class: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        """How many numbers the model's linear head gives for each example."""
        return 1

    def shape(self, logits: Tensor) -> Tensor:
        """Bring the linear layer's [B, outputs] into the loss's form: [B], or of several as is."""
        return logits.squeeze(-1) if self.outputs == 1 else logits  # ONNX squeezes no other

    @abstractmethod
    def check(self, label: float) -> str | None:
        """Say what is wrong with a label, or with one of its numbers, or None."""

    def encode(self, labels: Tensor) -> Tensor:
        """Labels [B] like those of ``examples`` in the form that the loss expects."""
        return labels

    def examples(self) -> list[float]:
        """Some labels, among them every class's, to try a loss and a metric on."""
        return [float(label) for label in range(max(2, len(self.names)))]

    def targets(self, labels: Tensor) -> Tensor:
        """What metrics compare predictions with, made of labels: here themselves."""
        return labels

    def predict(self, outputs: Tensor) -> Tensor:
        """Read predictions [B], in the labels' own values, off shaped outputs: here themselves."""
        return outputs

    def called(self, prediction: Any) -> str | None:
        """What a prediction is called; None for a number."""
        return self.names[int(prediction)] if self.names else None

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The probability of each class [B, C] by shaped outputs; [B, 0] for a number."""
        return outputs.new_empty(len(outputs), 0)

    def probability(self, outputs: Tensor) -> Tensor:
        """The probability of 1, of two classes: [B]."""
        return self.probabilities(outputs)[:, 1]

    def confidence(self, outputs: Tensor) -> Tensor:
        """The probability of each prediction by its own outputs: [B]; NaN for a number."""
        nothing = outputs.new_full((len(outputs), 1), math.nan)
        return (self.probabilities(outputs) if self.names else nothing).amax(-1)


@dataclass(frozen=True)
class MultiClass(Head):
    """One of several classes, labelled 0, 1, …, in the order of their names; a logit for each."""

    names: Sequence[str]
    label_type: ClassVar[torch.dtype] = torch.int64

    def __post_init__(self) -> None:
        listed = isinstance(self.names, Sequence) and not isinstance(self.names, str)
        names = tuple(self.names) if listed else ()
        different = len({name for name in names if isinstance(name, str)})
        if different < max(2, len(names)) or (self.outputs == 1 and different > 2):
            raise ValueError(
                "head.names: expected a list of different names, of more than 2 classes only with "
                f"MultiClass, found {self.names!r}; write each in quotes, which keep YAML from "
                "reading yes, no, on, off or null: ['no', 'yes']"
            )
        object.__setattr__(self, "names", names)

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return len(self.names)

    def check(self, label: float) -> str | None:
        """Accept 0, 1, … up to the number of classes."""
        last = len(self.names) - 1
        known = "0 or 1" if last == 1 else f"one of 0 to {last}"
        return None if label in range(last + 1) else f"label {label:g} is not {known}"

    def predict(self, outputs: Tensor) -> Tensor:
        """The class of the largest logit: [B]."""
        return outputs.argmax(-1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The softmax of the logits: [B, C]."""
        return outputs.softmax(-1)


@dataclass(frozen=True)
class Binary(MultiClass):
    """Yes or no, labelled 1 or 0, from one logit; ``names`` says what 0 and 1 are called."""

    names: Sequence[str] = ("no", "yes")
    label_type: ClassVar[torch.dtype] = torch.float32
    outputs: ClassVar[int] = 1

    def predict(self, outputs: Tensor) -> Tensor:
        """Predict 1 where the logit is positive, else 0: [B]."""
        return (outputs > 0).long()

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The probabilities of 0 and of 1: [B, 2]; 1 − p would round small ones away."""
        return torch.stack([-outputs, outputs], -1).sigmoid()


@dataclass(frozen=True)
class SoftLabels(MultiClass):
    """One of several classes, labelled with a probability for each of them, as people disagree.

    Metrics compare with the most probable class. ``torch.nn.CrossEntropyLoss`` takes such labels.
    """

    label_type: ClassVar[torch.dtype] = torch.float32
    per_class: ClassVar[bool] = True

    def check(self, label: float) -> str | None:
        """Accept shares from 0 to 1 (that they add up to 1 is seen where they are read)."""
        return None if 0 <= label <= 1 else f"label {label:g} is not from 0 to 1"

    def encode(self, labels: Tensor) -> Tensor:
        """All of the probability on each class: [B, C]."""
        return nn.functional.one_hot(labels.long(), len(self.names)).to(labels.dtype)

    def targets(self, labels: Tensor) -> Tensor:
        """The most probable class: [B]."""
        return labels.argmax(-1)


@dataclass(frozen=True)
class MultiLabel(Head):
    """Any number of labels at once, each there (1) or not (0), from a logit for each."""

    names: Sequence[str]
    per_class: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", MultiClass(self.names).names)  # under the same rules

    @property
    def outputs(self) -> int:
        """One logit for each label."""
        return len(self.names)

    def shape(self, logits: Tensor) -> Tensor:
        """[B, C] as they are."""
        return logits

    def check(self, label: float) -> str | None:
        """Accept 0 and 1."""
        return None if label in (0, 1) else f"label {label:g} is not 0 or 1"

    def predict(self, outputs: Tensor) -> Tensor:
        """1 where a label's logit is positive, else 0: [B, C]."""
        return (outputs > 0).long()

    def called(self, prediction: Any) -> str:
        """The labels that are there, or none."""
        there = [name for name, one in zip(self.names, prediction, strict=True) if one]
        return ", ".join(there) or "none"

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The probability that each label is there: [B, C]; they do not add up to 1."""
        return outputs.sigmoid()

    def confidence(self, outputs: Tensor) -> Tensor:
        """The probability that all labels are as predicted, were they independent: [B]."""
        return outputs.abs().sigmoid().prod(-1)


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
        low = self.low if math.isfinite(self.low) else min(self.high - 2, 0.0)
        high = self.high if math.isfinite(self.high) else low + 2
        return [low, (low + high) / 2, high]

    def check(self, label: float) -> str | None:
        """Accept finite numbers on the scale."""
        fits = self.low <= label <= self.high and math.isfinite(label)
        return None if fits else f"label {label:g} is not between {self.low:g} and {self.high:g}"
