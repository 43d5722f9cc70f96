"""Uncertainty weighting: learned task noise (Kendall et al. 2018, equation 10)."""

from dataclasses import dataclass, field

from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats, by_task, require_losses
from mtl_bert.utils.validation import number


@dataclass(frozen=True)
class Uncertainty(Method):
    """Weight task i by exp(-s_i), where s_i = log σ_i² minimizes exp(-s_i) L_i + s_i / 2.

    The s_i start at 0, all weights at 1, and each takes a plain gradient step whenever its task is
    represented. In balance a task's weight is 1 / (2 L_i).

    Attributes:
        lr: learning rate of the s_i.
    """

    lr: float = 0.01
    _log_variances: dict[str, float] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check the settings."""
        number("surgery.method.lr", self.lr, 0.01)

    @property
    def memory(self) -> dict[str, float]:
        """The learned s_i = log σ_i² of each task."""
        return self._log_variances

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: exp(-s) as it was before this step."""
        require_losses(self, step.losses)
        s = by_task(self._log_variances, step.tasks, 0.0)
        weights = (-s).exp()
        s = s - self.lr * (0.5 - weights * step.losses)
        self._log_variances.update(zip(step.tasks, s.tolist(), strict=True))
        return weights
