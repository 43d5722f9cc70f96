"""Whether a task's head, loss and metric fit each other, found out on made-up rows.

Shapes: B examples, C classes, N logits of the linear layer.
"""

import math
import warnings
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from mtl_bert.tasks.head import Head
from mtl_bert.utils.errors import UserError, first_line

CLASSIFICATION = "torchmetrics.classification"


class TaskError(UserError):
    """Parts of a task that do not fit each other."""


def try_loss(name: str, head: Head, loss: Any, dtype: torch.dtype) -> None:
    """Try a loss with the head that it is to train.

    It has to be one number, the mean over examples, that gradients flow from, and least where the
    head's reading of the outputs agrees with the labels.

    Args:
        name: the task's.
        head: what reads the outputs.
        loss: (outputs, labels [B]) -> the mean loss.
        dtype: of the outputs.

    Raises:
        TaskError: it is something else.
    """
    labels = head.examples()
    chosen = list(islice(cycle(labels), 2 * len(labels) + 1))  # so many are not taken for classes
    target = torch.tensor(chosen).to(dtype if head.label_type.is_floating_point else torch.int64)
    rows = _rows(head, labels).to(dtype)

    def refuse(found: str, advice: str = "choose a loss for such a head") -> TaskError:
        kind = getattr(loss, "__name__", type(loss).__name__)
        return TaskError(
            f"tasks.{name}.loss: expected the mean loss of examples for a {type(head).__name__} "
            f"head, found {kind}, {found}; {advice}"
        )

    def value(logits: Tensor, labels: Tensor = target) -> float:
        outputs = head.shape(logits).detach().requires_grad_()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="Using a target size")
                found = loss(outputs, labels)
            if isinstance(found, Tensor) and found.dim() == 0:
                torch.autograd.grad(found, outputs)
                return float(found.detach())
        except Exception as error:  # losses are anybody's, and so is what they raise
            raise refuse(f"which fails ({first_line(error)})") from error
        what = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise refuse(f"which gives {what} for {len(labels)} examples", "write reduction: mean")

    if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
        raise refuse("whose own parameters nobody trains", "give it buffers, or take another")
    try:
        predicted = head.predict(head.shape(rows))
        wrong = [w for y in predicted.tolist() if head.names and (w := head.check(y))]
        shape = list(head.probabilities(head.shape(rows)).shape)
        if wrong or shape != [len(rows), len(head.names)]:
            raise ValueError(wrong[0] if wrong else f"probabilities of shape {shape}")
    except Exception as error:
        raise TaskError(
            f"tasks.{name}.head: expected answers like its labels from {head.outputs} outputs, "
            f"found a {type(head).__name__} head that gives others ({first_line(error)}); "
            "mend its outputs and how it reads them"
        ) from error
    same = rows[-1:].expand(len(chosen), -1)
    once, twice = value(same), value(same.repeat(2, 1), target.repeat(2))
    if abs(twice - once) > 0.4 * abs(once) + 1e-6:
        found = f"which gives {once:.4g} for some examples and {twice:.4g} for the same ones twice"
        raise refuse(found, "write reduction: mean")
    agrees = predicted == torch.tensor(chosen)[:, None]  # [B, rows]
    if not agrees.any(1).all():  # a head of somebody's own, whose answers are never quite labels
        return
    right = rows[agrees.int().argmax(1)]
    least = value(right)
    pairs = zip(rows, agrees.T, strict=True)
    others = [value(torch.where(agree[:, None], right, row)) for row, agree in pairs]
    if not math.isfinite(least) or min(others) < least - 1e-4 * max(1.0, abs(least)):
        raise refuse(f"which is {least:.4g} for right answers and {min(others):.4g} for wrong ones")
    if head.names and value(10 * right) < least - 2:
        raise refuse("which falls without end as right answers grow surer")


def reading(name: str, head: Head, metric: Callable[[], Any]) -> str:
    """What a metric is given: "predictions", the "probability" of 1, or all "probabilities".

    Classes are given as predictions, unless the metric refuses them or is one of torchmetrics' that
    says something else of probabilities (an area under a curve, a calibration error, top k).

    Raises:
        TaskError: a metric that takes neither, or whose value is not one number.
    """
    labels = head.examples()
    B = 16 * len(labels)
    target = torch.tensor(list(islice(cycle(labels), B)))
    logits = 3 * torch.sin(torch.arange(1.0, B * head.outputs + 1) ** 2).view(B, -1)
    outputs, found, reason = head.shape(logits), {}, ""
    ways = ["predictions"]
    if head.names:
        ways += ["probability", "probabilities"][:: 1 if head.outputs == 1 else -1]
    for way in ways:
        try:
            found[way] = measure(metric, read(head, way, outputs), target, head)
        except Exception as error:  # metrics are anybody's, too
            reason = reason or first_line(error)
    if not found:
        kind = getattr(metric, "func", metric)
        raise TaskError(
            f"tasks.{name}.metric: expected one that makes a number of a {type(head).__name__} "
            f"head's answers, found {getattr(kind, '__name__', type(kind).__name__)}, which fails "
            f"({reason}); choose another, or mend its settings"
        )
    first, *others = found
    asks = any(
        base.__module__.startswith(CLASSIFICATION)
        for part in metric().modules()
        for base in type(part).__mro__
    )
    differs = (way for way in others if asks and found[way] != found[first])
    return next(differs, first)


def read(head: Head, way: str, outputs: Tensor) -> Tensor:
    """Read shaped outputs in a way that ``reading`` names: [B], or [B, C] probabilities."""
    if way == "predictions":
        return head.predict(outputs)
    probabilities = head.probabilities(outputs)
    return probabilities[:, 1] if way == "probability" else probabilities


def measure(metric: Callable[[], Any], answers: Tensor, labels: Tensor, head: Head) -> float:
    """The metric of answers on labels [B], computed in double precision.

    Raises:
        ValueError: a metric that is none, or has several values.
    """
    made = metric()
    if not isinstance(made, Metric):
        raise ValueError(f"{type(made).__name__} is no torchmetrics metric made by _partial_: true")
    made = made.set_dtype(torch.float64)
    # In single precision the mean of equal numbers may differ from them: r would be defined.
    answers = answers.double() if answers.is_floating_point() else answers
    with warnings.catch_warnings():  # a metric that is undefined says so by its value
        warnings.simplefilter("ignore")
        made.update(answers, labels.long() if head.names else labels.double())
        value = made.compute()
    if not isinstance(value, Tensor) or value.numel() != 1:
        several = f"of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value)
        raise ValueError(f"its value is no single number but {several}")
    return float(value)


def _rows(head: Head, labels: list[float]) -> Tensor:
    """Logits [., N] that are read as each of the labels, surely before hardly."""
    if head.outputs > 1:
        return torch.cat([4 * torch.eye(head.outputs), torch.eye(head.outputs) / 2])
    span = max(labels) - min(labels)
    values = [-4, 4, *labels, *(y + s * span for s in (1, -1) for y in labels), -0.5, 0.5]
    return torch.tensor(values, dtype=torch.float64)[:, None]
