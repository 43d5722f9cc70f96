"""DB-MTL: losses and gradients balanced (Lin et al. 2023, Dual-Balancing for MTL)."""

from dataclasses import dataclass

from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats, divisors


@dataclass(frozen=True)
class DBMTL(Method):
    """Make the gradients of all log L_i as long as the longest of them.

    The paper smooths the gradients over steps first (its β), which the Gram matrix of a step cannot
    tell: this is β = 0. Heads should follow log L_i too: ``Surgery(DBMTL(), normalise="loss")``,
    which ``surgery=db_mtl`` is.
    """

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: max_j(|g_j| / L_j) / |g_i|."""
        norms = step.gram.diagonal().sqrt()
        return (norms / divisors(self, step)).max() / norms
