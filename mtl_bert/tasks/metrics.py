"""Metrics by name: torchmetrics' own names, and the short ones that people use."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torchmetrics
from torchmetrics import Metric

from mtl_bert.tasks.head import Head, MultiLabel

NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy": ("Accuracy", {}),
    "balanced_accuracy": ("Accuracy", {"average": "macro"}),
    "f1": ("F1Score", {}),
    "f1_macro": ("F1Score", {"average": "macro"}),
    "f1_micro": ("F1Score", {"average": "micro"}),
    "precision": ("Precision", {}),
    "recall": ("Recall", {}),
    "mcc": ("MatthewsCorrCoef", {}),
    "kappa": ("CohenKappa", {}),
    "auroc": ("AUROC", {}),
    "average_precision": ("AveragePrecision", {}),
    "exact_match": ("ExactMatch", {}),
    "pearson": ("PearsonCorrCoef", {}),
    "spearman": ("SpearmanCorrCoef", {}),
    "mse": ("MeanSquaredError", {}),
    "rmse": ("MeanSquaredError", {"squared": False}),
    "mae": ("MeanAbsoluteError", {}),
    "r2": ("R2Score", {}),
}
"""Short name -> torchmetrics' class and its settings, where they are not its own."""

BY_CLASS = ("F1Score", "Precision", "Recall")
"""Metrics that are the mean over classes where there are more than two, and no average is said."""


def by_name(name: str, head: Head) -> Callable[[], Metric]:
    """What makes a metric of that name for a head's answers.

    ``f1``, ``precision`` and ``recall`` are those of the second of two classes, of several labels
    over all of them (micro), and of more classes the mean over these (macro). ``f1_macro``,
    ``f1_micro`` and ``balanced_accuracy`` are over all classes, also where there are two.

    Raises:
        ValueError: torchmetrics has no such metric for classes, or for numbers.
    """
    wanted, settings = NAMES.get(name, (name, {}))
    made = getattr(torchmetrics, wanted, None)
    kind = _kind(head)
    if not (isinstance(made, type) and issubclass(made, Metric)):
        raise ValueError(
            f"metrics: expected names of torchmetrics, or of {', '.join(NAMES)}, found {name!r}; "
            "write for example metrics: [accuracy, f1]"
        )
    of_classes = "task" in inspect.signature(made.__new__).parameters
    if of_classes != bool(kind):
        raise ValueError(
            f"metrics: expected metrics of {'classes' if kind else 'numbers'}, found {name!r}; "
            f"write for example metrics: [{'accuracy, f1' if kind else 'pearson, mse'}]"
        )
    if name == "balanced_accuracy" and isinstance(head, MultiLabel):
        raise ValueError(
            "metrics: expected metrics of several labels, found 'balanced_accuracy', which is one "
            "of classes; write for example metrics: [f1_macro]"
        )
    if kind.get("task") == "multiclass" and wanted in BY_CLASS:
        settings = {"average": "macro"} | settings
    if kind.get("task") == "binary" and "average" in settings:  # over both, not of the second
        kind = {"task": "multiclass", "num_classes": 2}
    return partial(made, **kind, **settings)


def _kind(head: Head) -> dict[str, Any]:
    """What torchmetrics has to know of a head's classes; nothing of a number."""
    n = len(head.names)
    if isinstance(head, MultiLabel):
        return {"task": "multilabel", "num_labels": n}
    if n > 2:
        return {"task": "multiclass", "num_classes": n}
    return {"task": "binary"} if n else {}
