"""GradVac: bring gradients to the similarity they usually have (Wang et al. 2021, Algorithm 1)."""

import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats
from mtl_bert.utils.validation import number

TINY = 1e-15  # a target of 1 can not be reached by any turn; this one comes near


@dataclass(frozen=True)
class GradVac(Method):
    """Turn each task's gradient towards every other where their cosine is below its target.

    The targets are moving averages of the cosines seen so far, from 0, so that the first step is
    PCGrad's. As with PCGrad the turns go through the original gradients of the others in a freshly
    shuffled order, and with g_i' = Σ_j C[i, j] g_j all of it is arithmetic on the Gram matrix.

    Attributes:
        beta: weight of the newest cosine in the moving average (the paper's 1e-2).
    """

    beta: float = 0.01
    _targets: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        number("surgery.method.beta", self.beta, 0.01, most=1)

    @property
    def memory(self) -> dict[str, float]:
        """The target cosine of each ordered pair of tasks, "i j"."""
        return self._targets

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: the column sums of C."""
        gram = step.gram
        K = len(gram)
        C = torch.eye(K, dtype=torch.float64)
        for i in range(K):
            for j in torch.randperm(K, generator=generator).tolist():
                norms = math.sqrt(max(0.0, float(C[i] @ gram @ C[i])) * float(gram[j, j]))
                if j == i or norms == 0:
                    continue
                cosine = float(C[i] @ gram[:, j]) / norms
                pair = f"{step.tasks[i]} {step.tasks[j]}"
                target = self._targets.get(pair, 0.0)
                if cosine < target:
                    C[i, j] += _turn(cosine, target) * norms / gram[j, j]
                self._targets[pair] = (1 - self.beta) * target + self.beta * cosine
        return C.sum(0)


def _turn(cosine: float, target: float) -> float:
    """How much of a unit vector brings another to a cosine of ``target`` with it (equation 2)."""
    sine, target_sine = (math.sqrt(max(TINY, 1 - c * c)) for c in (cosine, target))
    return (target * sine - cosine * target_sine) / target_sine
