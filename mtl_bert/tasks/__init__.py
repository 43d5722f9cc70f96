"""What a task is, as data."""

from mtl_bert.tasks.head import Binary, Head, MultiClass, MultiLabel, Regression, SoftLabels
from mtl_bert.tasks.task import MetricRange, Submission, Task, score

__all__ = ["Binary", "Head", "MetricRange", "MultiClass", "MultiLabel", "Regression"]
__all__ += ["SoftLabels", "Submission", "Task", "score"]
