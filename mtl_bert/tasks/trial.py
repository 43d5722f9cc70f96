"""Whether a task's head, loss and metric fit each other, found out on made-up rows.

Shapes: B examples, C classes, N numbers of the linear layer for each.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from mtl_bert.tasks.head import Head, MultiLabel


def try_head(head: Head) -> None:
    """Raise ValueError, or what the head raises, unless its answers are like its labels."""
    outputs = head.shape(_rows(head))
    answers, shape = head.predict(outputs), list(head.probabilities(outputs).shape)
    each = head.encode(answers).flatten().tolist() if head.names else []
    wrong = [reason for answer in each if (reason := head.check(answer))]
    if wrong or shape != [len(answers), len(head.names)]:
        raise ValueError(wrong[0] if wrong else f"its probabilities have the shape {shape}")


def try_loss(head: Head, loss: Any, dtype: torch.dtype) -> None:
    """Raise unless the loss is a mean over examples, and least where the head reads the labels."""
    labels, rows = head.examples(), _rows(head).to(dtype)
    if several := isinstance(head, MultiLabel):
        rows = torch.cat([rows, 2 * rows])
        given = head.predict(head.shape(rows))
    else:
        given = torch.tensor(2 * labels + labels[:1], dtype=torch.float64)  # more than classes
    target = head.encode(given).to(_label_type(head, dtype))

    def value(logits: Tensor, labels: Tensor = target) -> float:
        outputs = head.shape(logits).detach().requires_grad_()
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Using a target size")
            found = loss(outputs, labels)
        if not isinstance(found, Tensor) or found.dim():
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"it gives no number but {shape}: is reduction: mean missing?")
        torch.autograd.grad(found, outputs)
        return float(found.detach())

    if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
        raise ValueError("it has parameters, which nobody would train")
    same = rows[-1:].expand(len(given), -1)
    once, twice = value(same), value(same.repeat(2, 1), torch.cat([target, target]))
    if 1e-6 < abs(once) < math.inf and not 0.6 < abs(twice / once) < 1.9:
        raise ValueError(f"{once:.4g} becomes {twice:.4g} with each row twice: reduction: mean?")
    if several:
        least, other = value(rows), value(-rows)
        if not least < other - 1e-6:
            raise ValueError(f"it is {least:.4g} for right answers, {other:.4g} for wrong ones")
        return
    answers = head.predict(head.shape(rows))
    agrees = answers == given.to(answers.dtype)[:, None]  # [B, rows]
    if not agrees.any(1).all():  # a head of somebody's own, whose answers are never quite labels
        return
    right, single = rows[agrees.int().argmax(1)], head.outputs == 1
    least = value(right)
    margin = 1e-6 if head.names and single else -1e-4 * max(1.0, abs(least))
    for row, agree in list(zip(rows, agrees.T, strict=True))[-16:]:
        for label in labels if single else [None]:  # so few that each is tried by itself
            differ = ~agree if label is None else ~agree & (given == label)
            other = value(torch.where(differ[:, None], row, right))
            if not math.isfinite(least) or (differ.any() and other - least < margin):
                raise ValueError(f"it is {least:.4g} for right answers, {other:.4g} for wrong ones")
    if head.names and value(10 * right) < least - 2:
        raise ValueError("it falls without end as right answers grow surer")


def adds_up(head: Head, loss: Any, dtype: torch.dtype) -> bool:
    """Whether a batch's loss is the mean of its parts' losses: not where it divides by weights."""
    outputs, labels = _mixed(head, dtype)
    order = labels.argsort() if labels.dim() == 1 else labels[:, 0].argsort()
    target = head.encode(labels[order]).to(_label_type(head, dtype))
    whole = float(loss(outputs[order], target))
    sizes = [1, len(target) // 2, len(target) - 1 - len(target) // 2]
    parts = zip(torch.split(outputs[order], sizes), torch.split(target, sizes), strict=True)
    mean = sum(len(labels) * float(loss(own, labels)) for own, labels in parts) / len(target)
    return math.isfinite(whole) and math.isclose(whole, mean, rel_tol=1e-3, abs_tol=1e-6)


def reading(head: Head, metric: Callable[[], Any]) -> Callable[[Tensor], Tensor]:
    """What a metric is given: the head's ``predict``, ``probability`` or ``probabilities``.

    Torchmetrics' metrics of classes get probabilities where that makes a difference (areas under
    a curve, calibration errors, thresholds, top k); others, where they refuse predictions. Raises
    ValueError, or what the metric raises, if it takes neither, or its value is not one number.
    """
    C = len(head.names)
    outputs, target = _mixed(head)
    with warnings.catch_warnings():  # of the memory that it takes
        warnings.simplefilter("ignore")
        bases = _bases(None if isinstance(metric, Metric) else metric())
    binary = any(base.startswith("Binary") for base in bases)
    classes = 2 if binary else next(filter(None, bases.values()), C)
    if bases and (C == 0 or classes != C):
        raise ValueError(f"it is for {classes or 'some'} classes, the head has {C}")
    of_one = binary or (not bases and head.outputs == 1)
    ways = [head.predict, head.probability if of_one else head.probabilities][: 2 if C else 1]
    found: dict[Callable[[Tensor], Tensor], float] = {}
    for way in ways:
        try:
            found[way] = measure(metric, way(outputs), target)
        except Exception:  # metrics are anybody's, and so is what they raise
            if way == ways[-1] and not found:
                raise
    first, last = next(iter(found)), next(reversed(found))
    return last if bases and found[first] != found[last] else first


def measure(metric: Callable[[], Any], answers: Tensor, labels: Tensor) -> float:
    """The metric of answers on labels [B], in double precision; ValueError if it is several."""
    # In single precision the mean of equal numbers may differ from them: r would be defined.
    with warnings.catch_warnings():  # a metric that is undefined says so by its value
        warnings.simplefilter("ignore")
        made = metric().set_dtype(torch.float64)
        for part in filter(lambda part: isinstance(part, Metric), made.modules()):
            # Every process has all answers, and some may not ask at all.
            part.sync_on_compute = part._to_sync = False
        labels = labels.long() if _bases(made) else labels
        constant = any(bool(given.min() == given.max()) for given in (answers, labels))
        kinds = [base.__name__ for part in made.modules() for base in type(part).__mro__]
        if constant and any(kind.endswith("CorrCoef") for kind in kinds):
            return math.nan  # of 0 / 0 torchmetrics makes ±0.04, or what rounding leaves over
        made.update(*(x.double() if x.is_floating_point() else x for x in (answers, labels)))
        value = made.compute()
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"its value is no number but {shape}")
    return float(value)


def _bases(metric: Any) -> dict[str, int | None]:
    """Torchmetrics' metrics of classes that a metric is or wraps, each with its num_classes."""
    if not isinstance(metric, Metric):
        raise ValueError("it makes no metric of torchmetrics: is _partial_: true missing?")
    return {
        base.__name__: getattr(part, "num_labels", None) or getattr(part, "num_classes", None)
        for part in metric.modules()
        for base in type(part).__mro__
        if base.__module__.startswith("torchmetrics.classification")
    }


def _mixed(head: Head, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Outputs of some 50 examples, right and wrong, and their labels."""
    labels = head.examples()
    target = torch.tensor(labels * (1 + 48 // len(labels)))
    if isinstance(head, MultiLabel):
        C = len(head.names)
        target = (torch.cos(torch.arange(float(len(target) * C))) > 0).view(-1, C).double()
    logits = 3 * torch.sin(torch.arange(1.0, len(target) * head.outputs + 1, dtype=dtype) ** 2)
    return head.shape(logits.view(len(target), -1)), target


def _label_type(head: Head, dtype: torch.dtype) -> torch.dtype:
    return dtype if head.label_type.is_floating_point else head.label_type


def _rows(head: Head) -> Tensor:
    """Numbers [., N] that the head reads as its labels, surely before hardly."""
    if isinstance(head, MultiLabel):
        return 4 * torch.cat([2 * torch.eye(head.outputs) - 1, 1 - 2 * torch.eye(head.outputs)])
    if head.outputs > 1:
        return torch.cat([4 * torch.eye(head.outputs), torch.eye(head.outputs)[:4] / 2])
    labels = head.examples()
    span = max(labels) - min(labels)
    values = [-4, 4, *labels, *(y + s * span for s in (1, -1) for y in labels), -0.5, 0.5]
    return torch.tensor(values, dtype=torch.float64)[:, None]
