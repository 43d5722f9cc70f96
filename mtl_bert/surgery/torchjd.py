"""The methods of the field that TorchJD keeps, an extra: pip install 'mtl-bert[torchjd]'."""

import warnings
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torchjd import Stateful
from torchjd.aggregation import NashMTL as NashMTLAggregator
from torchjd.aggregation import Weighting

from mtl_bert.surgery.checks import number
from mtl_bert.surgery.method import GramMethod


@dataclass(frozen=True)
class TorchJD(GramMethod):
    """Ask one of TorchJD's Gram-matrix weightings.

    Attributes:
        weighting: [K, K] -> [K], for any K; none that remembers, because what TorchJD's weightings
            remember goes by a task's place in the step, and which tasks a step has changes.
    """

    weighting: Weighting[Tensor]

    def __post_init__(self) -> None:
        """Check the settings."""
        if isinstance(self.weighting, Stateful):
            raise ValueError(
                f"surgery.method.weighting: expected one without a memory, found "
                f"{type(self.weighting).__name__}; write for example surgery=upgrad"
            )

    def weights(self, gram: Tensor, generator: Generator | None = None) -> Tensor:
        """Weights [K]."""
        return self.weighting(gram)


@dataclass(frozen=True)
class NashMTL(GramMethod):
    """Nash-MTL (Navon et al. 2022, Algorithm 1): weights α > 0 with Gα = 1/α, every step anew.

    Attributes:
        rounds: of the sequence of convex problems that approaches the solution.
    """

    rounds: int = 20

    def __post_init__(self) -> None:
        """Check the settings."""
        number("surgery.method.rounds", self.rounds, 20, least=1)

    def weights(self, gram: Tensor, generator: Generator | None = None) -> Tensor:
        """Weights [K]; TorchJD wants gradients, and any square root of the Gram matrix will do."""
        K = len(gram)
        solver = NashMTLAggregator(
            n_tasks=K, max_norm=0.0, update_weights_every=1, optim_niter=self.rounds
        ).weighting
        values, vectors = torch.linalg.eigh(gram)
        root = vectors * values.clamp_min(0).sqrt()
        with warnings.catch_warnings():  # the solver's remarks on speed, again in every step
            warnings.simplefilter("ignore")
            return torch.as_tensor(solver(root), dtype=torch.float64)
