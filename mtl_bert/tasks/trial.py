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
MOST = 16  # rows of wrong answers that a loss is tried on


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
    given = torch.tensor(chosen, dtype=torch.float64)
    target = given.to(dtype if head.label_type.is_floating_point else head.label_type)
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
        if isinstance(found, Tensor):
            which = f"which gives {list(found.shape)} numbers for {len(labels)} examples"
            raise refuse(which, "write reduction: mean")
        raise refuse(f"which gives no tensor but {type(found).__name__}")

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
    if 1e-6 < abs(once) < math.inf and not 0.6 < abs(twice / once) < 1.9:
        found = f"which gives {once:.4g} for some examples and {twice:.4g} for the same ones twice"
        raise refuse(found, "write reduction: mean")
    agrees = predicted == given.to(predicted.dtype)[:, None]  # [B, rows]
    if not agrees.any(1).all():  # a head of somebody's own, whose answers are never quite labels
        return
    right = rows[agrees.int().argmax(1)]
    least = value(right)
    if not math.isfinite(least):
        raise refuse(f"which is {least} for right answers")
    single = head.outputs == 1  # so few labels that each is tried by itself
    margin = 1e-6 if head.names and single else -1e-4 * max(1.0, abs(least))
    for row, agree in list(zip(rows, agrees.T, strict=True))[-MOST:]:
        for label in labels if single else chosen[:1]:
            differ = ~agree & ((given == label) | (not single))
            other = value(torch.where(differ[:, None], row, right))
            if differ.any() and other - least < margin:
                found = f"which is {least:.4g} for right answers and {other:.4g} for wrong ones"
                raise refuse(found)
    if head.names and value(10 * right) < least - 2:
        raise refuse("which falls without end as right answers grow surer")


def reading(name: str, head: Head, metric: Callable[[], Any]) -> str:
    """What a metric is given: "predictions", the "probability" of 1, or all "probabilities".

    Those of torchmetrics for classes are given probabilities if that makes a difference (areas
    under a curve, calibration errors, thresholds, top k); others if they refuse predictions.

    Raises:
        TaskError: a metric that takes neither, or whose value is not one number.
    """
    C, labels, kind = len(head.names), head.examples(), getattr(metric, "func", metric)
    target = torch.tensor(list(islice(cycle(labels), len(labels) + 48)))
    logits = 3 * torch.sin(torch.arange(1.0, len(target) * head.outputs + 1) ** 2)
    outputs = head.shape(logits.view(len(target), -1))
    found: dict[str, float] = {}
    try:
        bases = _bases(_make(metric))
        binary = any(base.startswith("Binary") for base in bases)
        classes = 2 if binary else next(filter(None, bases.values()), C)
        if bases and (C == 0 or classes != C):
            raise ValueError(f"it is for {classes or 'any number of'} classes, the head has {C}")
        one = C == 2 and (head.outputs == 1 if not bases else binary)
        ways = ["predictions", "probability" if one else "probabilities"][: 2 if C else 1]
        for way in ways:
            try:
                found[way] = measure(metric, read(head, way, outputs), target)
            except Exception:  # metrics are anybody's, and so is what they raise
                if way == ways[-1] and not found:
                    raise
    except Exception as error:
        raise TaskError(
            f"tasks.{name}.metric: expected one that makes a number of a {type(head).__name__} "
            f"head's answers, found {getattr(kind, '__name__', type(kind).__name__)}, which does "
            f"not ({first_line(error)}); choose another, or mend its settings"
        ) from error
    first, last = next(iter(found)), next(reversed(found))
    return last if bases and found[first] != found[last] else first


def _bases(metric: Metric) -> dict[str, int | None]:
    """Torchmetrics' metrics of classes that a metric is or wraps, each with its num_classes."""
    return {
        base.__name__: getattr(part, "num_classes", None)
        for part in metric.modules()
        for base in type(part).__mro__
        if base.__module__.startswith(CLASSIFICATION)
    }


def read(head: Head, way: str, outputs: Tensor) -> Tensor:
    """Read shaped outputs in a way that ``reading`` names: [B], or [B, C] probabilities."""
    if way == "predictions":
        return head.predict(outputs)
    probabilities = head.probabilities(outputs)
    return probabilities[:, 1] if way == "probability" else probabilities


def measure(metric: Callable[[], Any], answers: Tensor, labels: Tensor) -> float:
    """The metric of answers on labels [B], computed in double precision.

    Raises:
        ValueError: a metric that is none, or has several values.
    """
    # In single precision the mean of equal numbers may differ from them: r would be defined.
    made = _make(metric).set_dtype(torch.float64)
    labels = labels.long() if _bases(made) else labels
    with warnings.catch_warnings():  # a metric that is undefined says so by its value
        warnings.simplefilter("ignore")
        made.update(*(x.double() if x.is_floating_point() else x for x in (answers, labels)))
        value = made.compute()
    if not isinstance(value, Tensor) or value.numel() != 1:
        several = f"of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value)
        raise ValueError(f"its value is no single number but {several}")
    return float(value)


def _make(metric: Callable[[], Any]) -> Metric:
    with warnings.catch_warnings():  # of the room that it takes
        warnings.simplefilter("ignore")
        made = None if isinstance(metric, Metric) else metric()
    if not isinstance(made, Metric):
        raise ValueError("it is nothing that makes a metric of torchmetrics: say _partial_: true")
    return made


def _rows(head: Head, labels: list[float]) -> Tensor:
    """Logits [., N] that are read as each of the labels, surely before hardly."""
    if head.outputs > 1:
        return torch.cat([4 * torch.eye(head.outputs), torch.eye(head.outputs)[:4] / 2])
    span = max(labels) - min(labels)
    values = [-4, 4, *labels, *(y + s * span for s in (1, -1) for y in labels), -0.5, 0.5]
    return torch.tensor(values, dtype=torch.float64)[:, None]
