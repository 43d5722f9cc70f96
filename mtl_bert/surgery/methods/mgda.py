"""MGDA: the shortest vector in the convex hull of the gradients (Sener & Koltun 2018, eq. 3)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats

# Sums of products in float64 are exact to about this share of the largest norm².
TOLERANCE = 1e-12
MAX_ROUNDS = 10_000


@dataclass(frozen=True)
class MGDA(Method):
    """Minimize |Σ α_i g_i|² over the simplex α ≥ 0, Σ α = 1.

    Solved by pairwise Frank-Wolfe steps (Lacoste-Julien & Jaggi 2015, Algorithm 2): weight goes
    from the worst task that has some to the best one, by exact line search. Unlike the plain
    Frank-Wolfe steps of the paper's Algorithm 2 these converge linearly, so that the answer is
    nearly always exact. The duality gap, which bounds the error, ends the search; a matrix in a
    thousand, of gradients that nearly depend on each other, takes all rounds (gap 1e-6).
    """

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K] on the simplex."""
        gram, K = step.gram, len(step.gram)
        alpha = torch.full([K], 1 / K, dtype=torch.float64)
        precision = TOLERANCE * float(gram.diagonal().max())
        for _ in range(MAX_ROUNDS):
            slope = gram @ alpha
            best = int(slope.argmin())
            worst = int(slope.where(alpha > 0, -torch.inf).argmax())
            if alpha @ slope - slope[best] <= precision:
                break
            curvature = gram[best, best] + gram[worst, worst] - 2 * gram[best, worst]
            descent = slope[worst] - slope[best]
            # Rounding can make the curvature between nearly equal gradients negative.
            moved = torch.minimum(descent / curvature.clamp_min(0.0), alpha[worst])
            alpha[best] += moved
            alpha[worst] = 0.0 if moved == alpha[worst] else alpha[worst] - moved
        return alpha
