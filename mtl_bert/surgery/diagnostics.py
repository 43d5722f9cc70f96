"""What a step's Gram matrix and weights say about the tasks: who conflicts, who dominates.

With G the Gram matrix [K, K] of the gradients g_i and w the weights [K] of a method, the update is
u = Σ w_i g_i and the plain sum s = Σ g_i; every length and angle between them is arithmetic on G,
K² numbers that are on the host already:

    cos(g_i, g_j) = G_ij / √(G_ii G_jj)        |u|² = wᵀ G w        |s|² = 1ᵀ G 1
    cos(g_i, u)   = (G w)_i / (|g_i| |u|)      cos(g_i, s) = (G 1)_i / (|g_i| |s|)

A factor that all of u has changes none of what is said here. Where parameters that all tasks reach
are averaged and the others (heads) are summed, u and s are D Σ w_i g_i and D Σ g_i with 1/K or 1
on D's diagonal; with H the Gram matrix of what is summed, G becomes (G − H) / K + H in the products
with a gradient, and (G − H) / K² + H in the lengths.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mtl_bert.surgery.methods.base import StepStats
from mtl_bert.surgery.result import StepResult, cosines_of, ratio


class Diagnosis(NamedTuple):
    """A step in which K tasks are represented. What is undefined (a zero gradient's) is 0."""

    tasks: tuple[str, ...]
    cosines: Tensor  # between the gradients: [K, K] float64
    norms: Tensor  # of the gradients: [K]
    shares: Tensor  # of the update, w_i D g_i · u / |u|²; they add up to 1: [K]
    before: Tensor  # cosine between each gradient and the plain sum, all weights being 1: [K]
    after: Tensor  # cosine between each gradient and the update: [K]
    removed: float  # 1 − |u| / |s|: what the method took off the plain sum's length


def diagnose(
    stats: StepStats | StepResult, weights: Tensor, summed: Tensor | None = None
) -> Diagnosis:
    """Read a step off its Gram matrix.

    Args:
        stats: of the K tasks, none of whose gradients is infinite or undefined.
        weights: of their gradients in the update: [K] float64.
        summed: the part of the Gram matrix whose parameters are summed where the others are
            averaged over tasks: [K, K]; None where all of them are treated alike.
    """
    gram, plain, K = stats.gram, torch.ones_like(weights), len(weights)
    once = twice = gram
    if summed is not None:
        once, twice = ((gram - summed) / factor + summed for factor in (K, K**2))
    norms = gram.diagonal().sqrt()
    along, along_plain = once @ weights, once @ plain
    # Rounding may leave a length of exactly nothing a little below it.
    squared, squared_plain = (float((w @ twice @ w).clamp_min(0)) for w in (weights, plain))
    update, plain_sum = squared**0.5, squared_plain**0.5
    return Diagnosis(
        stats.tasks,
        cosines_of(gram),
        norms,
        ratio(weights * (twice @ weights), torch.tensor(squared)),
        ratio(along_plain, norms * plain_sum),
        ratio(along, norms * update),
        1 - update / plain_sum if plain_sum else 0.0,
    )
