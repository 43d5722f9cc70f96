"""PCGrad: project conflicting gradients (Yu et al. 2020, Gradient Surgery for MTL, Algorithm 1)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats


@dataclass(frozen=True)
class PCGrad(Method):
    """Project each task's gradient off every other that it conflicts with; add the results up.

    The projections of a task go through the *original* gradients of the others in a freshly
    shuffled order. With g_i^PC = Σ_j C[i, j] g_j every step of the algorithm is arithmetic on the
    Gram matrix: g_i^PC · g_j = C[i] · G[:, j].

    Attributes:
        include_self: also project a task's gradient against its own original, as the reference
            implementation used by Ricci does (Tseng 2020; docs/explanation/paper.md, 8). It acts
            only where earlier projections have turned the gradient against itself, which takes
            three tasks.
    """

    include_self: bool = False

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: the column sums of C."""
        gram, K = step.gram, len(step.gram)
        C = torch.eye(K, dtype=torch.float64)
        for i in range(K):
            for j in torch.randperm(K, generator=generator).tolist():
                if j == i and not self.include_self:
                    continue
                conflict = C[i] @ gram[:, j]
                if conflict < 0 and gram[j, j] > 0:
                    C[i, j] -= conflict / gram[j, j]
        return C.sum(0)
