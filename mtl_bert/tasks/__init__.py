"""What a task is, as data."""

from mtl_bert.tasks.head import Binary, Head, MultiClass, Regression
from mtl_bert.tasks.task import MetricRange, Submission, Task, score

__all__ = ["Binary", "Head", "MetricRange", "MultiClass", "Regression"]
__all__ += ["Submission", "Task", "score"]
