"""A loss of one's own for a task: a function or module (outputs, labels) -> mean over examples.

A task's file names it: ``loss: {_target_: losses.FocalLoss, gamma: 2}``. Those of torch need no
code: ``loss: {_target_: torch.nn.CrossEntropyLoss, label_smoothing: 0.1}``.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


class FocalLoss(nn.Module):
    """−(1 − p)^γ log p, p being the probability of the right class (Lin et al. 2017, equation 4).

    Examples that are learned count less. γ = 0 is the cross entropy.

    Args:
        gamma: γ ≥ 0.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean over examples: a logit each [B] with labels 0 or 1, or C of them [B, C]."""
        several = outputs.dim() > labels.dim()
        each = cross_entropy if several else binary_cross_entropy_with_logits
        surprise = each(outputs, labels, reduction="none")  # −log p
        return ((1 - torch.exp(-surprise)) ** self.gamma * surprise).mean()
