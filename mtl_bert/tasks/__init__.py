"""What a task is, as data.

Everything here is imported when it is first asked for: heads need torch, and reports, which want
:mod:`~mtl_bert.tasks.resampled_metrics` alone, do not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl_bert.tasks.head import Binary, Head, MultiClass, MultiLabel, Regression, SoftLabels
    from mtl_bert.tasks.task import MetricRange, Submission, Task, score

__all__ = ["Binary", "Head", "MetricRange", "MultiClass", "MultiLabel", "Regression"]
__all__ += ["SoftLabels", "Submission", "Task", "score"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    home = "task" if name in ("MetricRange", "Submission", "Task", "score") else "head"
    return getattr(import_module(f"mtl_bert.tasks.{home}"), name)
