"""Group DRO: weight goes to the tasks with the largest losses (Sagawa et al. 2020, Algorithm 1)."""

from dataclasses import dataclass, field

from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats, by_task, require_losses
from mtl_bert.utils.validation import number


@dataclass(frozen=True)
class GroupDRO(Method):
    """Weight the tasks by q, which grows as q_i exp(η L_i) and is normalized.

    A task that is absent from a step keeps its q; those represented share the weight 1 between
    them in proportion to theirs.

    Attributes:
        eta: η, the step of the exponentiated ascent (the paper's 0.01).
    """

    eta: float = 0.01
    _log_q: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        number("surgery.method.eta", self.eta, 0.01)

    @property
    def memory(self) -> dict[str, float]:
        """The logarithm of q of each task, up to a constant that all share."""
        return self._log_q

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: q of the represented tasks, with this step's losses, on the simplex."""
        require_losses(self, step.losses)
        log_q = by_task(self._log_q, step.tasks, 0.0) + self.eta * step.losses
        self._log_q.update(zip(step.tasks, log_q.tolist(), strict=True))
        return log_q.softmax(0)
