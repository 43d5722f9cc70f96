"""What is read off the Gram matrix, against the vectors themselves."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cosine_similarity

from mtl_bert.surgery import PCGrad, Sum
from mtl_bert.surgery.diagnostics import Diagnosis, diagnose
from mtl_bert.surgery.methods.base import Method, StepStats, weights_of
from mtl_bert.surgery.result import cosines_of


def diagnosed(J: Tensor, method: Method | None = None) -> Diagnosis:
    """Of gradients that are the rows of a matrix [K, P]."""
    names = tuple("abcdefgh"[: len(J)])
    seen = StepStats(names, J @ J.T, torch.zeros(len(J), dtype=torch.float64))
    weights = weights_of(method or Sum(), seen, torch.Generator().manual_seed(0))
    return diagnose(seen, weights)


def at_angles(*degrees: float, lengths: tuple[float, ...] | None = None) -> Tensor:
    """Gradients in a plane."""
    lengths = lengths or (1.0,) * len(degrees)
    angles = [math.radians(degree) for degree in degrees]
    rows = [[r * math.cos(a), r * math.sin(a)] for r, a in zip(lengths, angles, strict=True)]
    return torch.tensor(rows, dtype=torch.float64)


def test_known_angles_give_the_known_cosines() -> None:
    found = diagnosed(at_angles(0, 60, 180, lengths=(1, 2, 3)))
    expected = [[1, 0.5, -1], [0.5, 1, -0.5], [-1, -0.5, 1]]
    torch.testing.assert_close(found.cosines, torch.tensor(expected, dtype=torch.float64))
    assert found.norms.tolist() == pytest.approx([1, 2, 3])


def test_a_dominated_task_shows_as_dominated() -> None:
    found = diagnosed(at_angles(0, 90, lengths=(10, 1)))
    assert found.shares.tolist() == pytest.approx([100 / 101, 1 / 101])
    assert found.before.tolist() == pytest.approx([10 / math.sqrt(101), 1 / math.sqrt(101)])


def test_what_pcgrad_does_to_two_opposed_gradients() -> None:
    """At 120° each is projected to 30° off the other's normal: both then agree with the update."""
    found = diagnosed(at_angles(0, 120), PCGrad())
    assert found.before.tolist() == pytest.approx([0.5, 0.5])
    assert found.after.tolist() == pytest.approx([0.5, 0.5])  # the sum's direction stays
    # Each is √3/2 long after it, 60° apart: 2 · √3/2 · cos 30° = 3/2, where the plain sum is 1.
    assert found.removed == pytest.approx(-0.5)
    assert found.shares.tolist() == pytest.approx([0.5, 0.5])


def test_what_pcgrad_takes_off() -> None:
    """A long gradient against a short one: the sum leans to the long, the update less so."""
    found = diagnosed(at_angles(0, 170, lengths=(10, 1)), PCGrad())
    assert found.before[1] < -0.9
    assert found.after[1] > found.before[1]
    assert found.removed != 0


@given(seed=st.integers(0, 10**6), K=st.integers(1, 6))
def test_against_the_vectors(seed: int, K: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    J = torch.randn(K, 9, dtype=torch.float64, generator=generator)
    seen = StepStats(tuple("abcdef"[:K]), J @ J.T, torch.zeros(K, dtype=torch.float64))
    weights = weights_of(PCGrad(), seen, torch.Generator().manual_seed(seed))
    found, update, plain = diagnose(seen, weights), weights @ J, J.sum(0)
    torch.testing.assert_close(found.norms, J.norm(dim=1))
    torch.testing.assert_close(found.after, cosine_similarity(J, update[None]))
    torch.testing.assert_close(found.before, cosine_similarity(J, plain[None]))
    torch.testing.assert_close(found.cosines, cosine_similarity(J[:, None], J[None], dim=-1))
    torch.testing.assert_close(found.shares, weights * (J @ update) / update.square().sum())
    assert float(found.shares.sum()) == pytest.approx(1)
    assert found.removed == pytest.approx(1 - float(update.norm() / plain.norm()))


@given(seed=st.integers(0, 10**6), K=st.integers(1, 5))
def test_where_some_parameters_are_averaged_and_others_summed(seed: int, K: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shared, heads = torch.randn(2, K, 7, dtype=torch.float64, generator=generator)
    heads = heads * torch.eye(K, 7, dtype=torch.float64)  # each task has one of its own
    J, D = torch.cat([shared, heads], 1), torch.tensor([1 / K] * 7 + [1.0] * 7).double()
    seen = StepStats(tuple("abcde"[:K]), J @ J.T, torch.zeros(K, dtype=torch.float64))
    weights = weights_of(PCGrad(), seen, torch.Generator().manual_seed(seed))
    found = diagnose(seen, weights, heads @ heads.T)
    update, plain = D * (weights @ J), D * J.sum(0)
    torch.testing.assert_close(found.after, cosine_similarity(J, update[None]))
    torch.testing.assert_close(found.before, cosine_similarity(J, plain[None]))
    torch.testing.assert_close(found.shares, weights * (J * D @ update) / update.square().sum())
    assert float(found.shares.sum()) == pytest.approx(1)
    assert found.removed == pytest.approx(1 - float(update.norm() / plain.norm()))
    torch.testing.assert_close(found.cosines, diagnose(seen, weights).cosines)


def test_what_is_undefined_is_nothing() -> None:
    found = diagnosed(torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64))
    assert found.cosines.tolist() == [[0, 0], [0, 1]]
    assert found.after.tolist() == [0, 1]
    opposed = diagnosed(at_angles(0, 180))
    assert opposed.removed == pytest.approx(0, abs=1e-6)
    assert not any(part.isnan().any() for part in opposed[1:6])


def test_cosines_of_a_gram_matrix_alone() -> None:
    J = at_angles(0, 45, lengths=(2, 5))
    assert float(cosines_of(J @ J.T)[0, 1]) == pytest.approx(math.sqrt(0.5))
