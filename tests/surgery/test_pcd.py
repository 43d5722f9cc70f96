"""PCD against TorchJD's, and against what its problem says of a solution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import PCDWeighting

from mtl_bert.surgery import PCD
from mtl_bert.surgery.methods.base import weights_of
from tests.surgery.steps import random_rows, step

some = settings(max_examples=40, deadline=None)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@some
@given(
    seed=st.integers(0, 10_000),
    K=st.integers(1, 7),
    P=st.integers(2, 12),
    tau=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    beta=st.sampled_from([0.0, 0.9, 0.999]),
)
def test_step_after_step_it_is_torchjds(seed: int, K: int, P: int, tau: float, beta: float) -> None:
    """Also where tasks outnumber dimensions, so that often no direction serves all of them."""
    reference, method = PCDWeighting(tau=tau, beta=beta, eps=0.0), PCD("t0", tau, beta)
    for number in range(4):
        lengths = 10.0 ** random_rows(K, 1, seed + number)
        rows = random_rows(K, P, seed + 100 * number) * lengths
        found = weights_of(method, step(rows))
        close(found @ rows / rows[0].norm(), reference(rows @ rows.T) @ rows / rows[0].norm())


@some
@given(seed=st.integers(0, 10_000), K=st.integers(2, 6))
def test_every_task_makes_its_progress_and_the_length_is_the_main_tasks(seed: int, K: int) -> None:
    rows, tau = random_rows(K, 12, seed), 0.3
    weights = weights_of(PCD("t0", tau), step(rows))
    update, unit = weights @ rows, rows / rows.norm(dim=1, keepdim=True)
    close(update.norm(), rows[0].norm())
    d = update / weights[0] / rows[0].norm()  # before it was brought to that length
    assert (weights >= 0).all()
    assert (unit[1:] @ d >= tau - 1e-6).all()
    nearest = float((d - unit[0]).norm())
    others = d + 0.1 * random_rows(500, 12, seed + 1)
    allowed = others[(others @ unit[1:].T >= tau).all(1)]
    assert (allowed - unit[0]).norm(dim=1).ge(nearest - 1e-6).all()


def test_where_nobody_objects_the_main_task_is_followed() -> None:
    rows = random_rows(3, 8, 0).abs()
    close(weights_of(PCD("t1", tau=0.0), step(rows)), torch.tensor([0.0, 1.0, 0.0]).double())


def test_where_no_direction_serves_all_the_main_task_is_followed() -> None:
    a, b = random_rows(2, 8, 1)
    close(weights_of(PCD("t0"), step(torch.stack([a, b, -b]))), torch.tensor([1.0, 0, 0]).double())


def test_it_goes_by_the_name_of_the_main_task_not_by_its_place() -> None:
    rows, order = random_rows(3, 4, 2), [2, 0, 1]
    tasks = ["a", "b", "c"]
    expected = weights_of(PCD("b", 0.5), step(rows, tasks))[order]
    close(weights_of(PCD("b", 0.5), step(rows[order], [tasks[k] for k in order])), expected)


def test_without_the_main_task_the_others_are_added_up_and_remembered() -> None:
    method = PCD("elsewhere", beta=0.5)
    for _ in range(2):
        assert weights_of(method, step(torch.tensor([[2.0, 0], [0, 3]]))).tolist() == [1, 1]
    assert method.memory == pytest.approx(
        {"square t0": 3.0, "steps t0": 2, "square t1": 6.75, "steps t1": 2}
    )
