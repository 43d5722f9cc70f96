"""What every method is: a map from the K×K Gram matrix to K weights."""

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.gram import gram_matrix


class Method(ABC):
    """A gradient-surgery method; the update is the weighted sum of the K task gradients."""

    @abstractmethod
    def weights(self, gram: Tensor, generator: Generator | None = None) -> Tensor:
        """Map the Gram matrix [K, K] (float64, host) to the weights [K] (float64, host).

        Args:
            gram: G[i, j] = g_i · g_j over the represented tasks.
            generator: the source of whatever randomness the method has; None is torch's default.
        """

    def __call__(self, matrix: Tensor, generator: Generator | None = None) -> Tensor:
        """Combine the rows of a gradient matrix [K, P] into one update [P]."""
        if matrix.ndim != 2 or not matrix.is_floating_point():
            raise ValueError(
                f"expected a float matrix [K, P] with a task's gradient in each row, found "
                f"{matrix.dtype} of shape {list(matrix.shape)}; write torch.stack([g1, g2, ...])"
            )
        weights = self.weights(gram_matrix([list(matrix)], len(matrix)), generator)
        with torch.autocast(matrix.device.type, enabled=False):
            return weights.to(matrix) @ matrix
