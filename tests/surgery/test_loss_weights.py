"""The methods that weight losses, against the papers' loops written out with autograd."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchjd import scalarization

from mtl_bert.surgery import (
    DBMTL,
    DWA,
    IMTLL,
    PCD,
    STCH,
    Fixed,
    GeometricMean,
    GradNorm,
    GroupDRO,
    LossError,
    Method,
    RandomWeights,
    Surgery,
    Uncertainty,
)
from mtl_bert.surgery.methods.base import weights_of
from mtl_bert.surgery.methods.gradnorm import LEAST
from tests.surgery.steps import loss_step, random_rows, seeded, step, weigh

TASKS = ["a", "b", "c"]
LOSSES = [
    {"a": 0.7, "b": 2.0, "c": 0.1},
    {"a": 0.5, "c": 0.4},
    {"b": 1.5, "a": 0.9},
    {"c": 0.2, "b": 1.1, "a": 0.3},
    {"b": 0.8},
    {"a": 0.6, "b": 0.7, "c": 0.9},
]


def by_name(method: Method, losses: dict[str, float], epoch: int = 1) -> dict[str, float]:
    """The weights of a step in which nothing but the losses matters."""
    return dict(zip(losses, weights_of(method, loss_step(losses, epoch)).tolist(), strict=True))


def test_fixed_weights_are_those_set_and_one_for_the_others() -> None:
    method = Fixed({"b": 0.25, "c": 0.0, "elsewhere": 9.0})
    for losses in LOSSES:
        assert by_name(method, losses) == {t: {"b": 0.25, "c": 0.0}.get(t, 1.0) for t in losses}


def test_a_fixed_update_is_the_gradient_of_the_weighted_loss() -> None:
    rows = random_rows(3, 7, 0)
    update = Fixed({"a": 2.0, "c": 0.5})(rows, tasks=TASKS)
    torch.testing.assert_close(update, 2 * rows[0] + rows[1] + 0.5 * rows[2])


def test_random_weights_are_the_softmax_of_normal_numbers_new_in_every_step() -> None:
    generator, reference = seeded(4), seeded(4)
    for number in range(5):
        weights = weights_of(RandomWeights(), step(random_rows(3, 5, number)), generator)
        drawn = torch.randn(3, generator=reference, dtype=torch.float64)
        torch.testing.assert_close(weights, drawn.exp() / drawn.exp().sum())


def test_random_weights_favour_no_task() -> None:
    seen, generator = step(random_rows(4, 5, 0)), seeded(0)
    weights = torch.stack([weights_of(RandomWeights(), seen, generator) for _ in range(4000)])
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(4000, dtype=torch.float64))
    assert (weights.mean(0) - 0.25).abs().max() < 0.02


def test_uncertainty_descends_its_loss_as_autograd_and_sgd_do() -> None:
    method = Uncertainty(lr=0.3)
    log_variances = {t: torch.zeros((), dtype=torch.float64, requires_grad=True) for t in TASKS}
    sgd = torch.optim.SGD(log_variances.values(), lr=0.3)
    for losses in LOSSES:
        expected = {t: math.exp(-log_variances[t].item()) for t in losses}
        assert by_name(method, losses) == pytest.approx(expected)
        sgd.zero_grad()
        total = sum(
            (-log_variances[t]).exp() * loss + log_variances[t] / 2 for t, loss in losses.items()
        )
        assert isinstance(total, Tensor)
        total.backward()
        sgd.step()
    assert method.memory == pytest.approx({t: s.item() for t, s in log_variances.items()})


def test_uncertainty_settles_at_half_the_inverse_of_the_loss() -> None:
    method, losses = Uncertainty(lr=0.1), {"a": 0.2, "b": 1.0, "c": 5.0}
    for _ in range(400):
        weights = by_name(method, losses)
    assert weights == pytest.approx({t: 1 / (2 * loss) for t, loss in losses.items()}, rel=1e-6)


def test_group_dro_is_the_exponentiated_ascent() -> None:
    method, eta = GroupDRO(eta=0.5), 0.5
    q = dict.fromkeys(TASKS, 1 / 3)
    for losses in LOSSES:
        for task, loss in losses.items():
            q[task] *= math.exp(eta * loss)
        represented = sum(q[t] for t in losses)
        assert by_name(method, losses) == pytest.approx({t: q[t] / represented for t in losses})


def test_group_dro_with_all_tasks_is_normalized_in_every_step_as_in_the_paper() -> None:
    method, eta = GroupDRO(eta=0.5), 0.5
    q = dict.fromkeys(TASKS, 1 / 3)
    for number in range(6):
        losses = {t: 0.1 + ((number + 1) * (k + 2)) % 5 for k, t in enumerate(TASKS)}
        grown = {t: q[t] * math.exp(eta * losses[t]) for t in TASKS}
        q = {t: value / sum(grown.values()) for t, value in grown.items()}
        assert by_name(method, losses) == pytest.approx(q)


def test_group_dro_prefers_the_task_with_the_largest_loss() -> None:
    method = GroupDRO(eta=0.1)
    shares = [by_name(method, {"a": 0.2, "b": 2.0, "c": 1.9})["b"] for _ in range(400)]
    assert shares == sorted(shares)
    assert 1 / 3 < shares[0] < 0.5 < 0.98 < shares[-1]


def test_group_dro_survives_losses_whose_exponentials_do_not() -> None:
    method = GroupDRO(eta=1.0)
    for _ in range(3):
        assert by_name(method, {"a": 1e4, "b": 1.0}) == {"a": 1.0, "b": 0.0}


def chen(
    weights: dict[str, float],
    firsts: dict[str, float],
    losses: dict[str, float],
    norms: Tensor,
    alpha: float,
    lr: float,
) -> dict[str, float]:
    """Weights after one step of Chen et al.'s Algorithm 1, by autograd, in units of mean(G)."""
    w = torch.tensor([weights[t] for t in losses], dtype=torch.float64, requires_grad=True)
    left = torch.tensor([loss / firsts[t] for t, loss in losses.items()], dtype=torch.float64)
    G = w * norms
    mean = G.mean().detach()
    target = mean * (left / left.mean()) ** alpha
    (slope,) = torch.autograd.grad((G - target).abs().sum() / mean, w)
    learned = (w - lr * slope).detach().clamp_min(LEAST)
    return dict(zip(losses, (learned * len(losses) / learned.sum()).tolist(), strict=True))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_gradnorm_descends_the_objective_of_the_paper(alpha: float) -> None:
    method, lr = GradNorm(alpha=alpha, lr=0.1), 0.1
    weights, firsts = dict.fromkeys(TASKS, 1.0), {"a": 0.7, "b": 2.0, "c": 0.1}
    for number, losses in enumerate(LOSSES):
        rows = random_rows(len(losses), 6, number)
        total = sum(weights[t] for t in losses)
        shared = {t: weights[t] * len(losses) / total for t in losses}
        found = weights_of(method, step(rows, list(losses), list(losses.values())))
        assert dict(zip(losses, found.tolist(), strict=True)) == pytest.approx(shared)
        learned = chen(shared, firsts, losses, rows.norm(dim=1), alpha, lr)
        # The tasks of the step share out what they had: those that are absent keep theirs.
        weights |= {t: weight * total / len(losses) for t, weight in learned.items()}
    assert method.memory == pytest.approx(
        {f"weight {t}": weights[t] for t in TASKS} | {f"first {t}": firsts[t] for t in TASKS}
    )


def test_gradnorm_learns_nothing_from_a_step_of_one_task() -> None:
    method = GradNorm()
    method.memory.update({"weight a": 0.2, "weight b": 0.3, "weight c": 2.5})
    assert by_name(method, {"a": 0.5}) == {"a": 1.0}
    kept = {name: value for name, value in method.memory.items() if name.startswith("weight")}
    assert kept == pytest.approx({"weight a": 0.2, "weight b": 0.3, "weight c": 2.5})


def test_gradnorm_without_alpha_makes_norms_equal() -> None:
    method, norms = GradNorm(alpha=0.0, lr=0.002), torch.tensor([0.2, 1.0, 3.0])
    seen = step(norms.diag(), losses=[1.0, 1.0, 1.0])
    for _ in range(3000):
        weights = weights_of(method, seen)
    weighted = weights * norms
    assert weighted.std() / weighted.mean() < 0.02
    assert float(weights.sum()) == pytest.approx(3)


def test_gradnorm_gives_more_to_the_task_that_lags() -> None:
    method = GradNorm(alpha=1.5, lr=0.01)
    for left in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
        weights = by_name(method, {"slow": 3.0, "quick": 0.2 * left})
    assert weights["slow"] > weights["quick"]


def test_gradnorm_never_trains_a_task_backwards() -> None:
    method = GradNorm(alpha=1.5, lr=10.0)
    for number in range(20):
        weights = weights_of(
            method, step(random_rows(3, 5, number) * torch.tensor([[1e-3], [1], [1e3]]))
        )
        assert (weights > 0).all()
        assert weights.isfinite().all()


def test_gradnorm_endures_losses_of_zero() -> None:
    method = GradNorm()
    for losses in ({"a": 0.0, "b": 1.0}, {"a": 0.0, "b": 0.0}, {"a": 0.5, "b": 0.0}):
        assert all(0 < weight < 2 for weight in by_name(method, losses).values())


def slopes(scalarize: Callable[[Tensor], Tensor], losses: dict[str, float]) -> dict[str, float]:
    """By how much a function of the losses grows with each."""
    values = torch.tensor(list(losses.values()), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(scalarize(values), values)
    return dict(zip(losses, slope.tolist(), strict=True))


@pytest.mark.parametrize("losses", LOSSES)
def test_imtl_l_is_the_scale_at_which_its_objective_is_least(losses: dict[str, float]) -> None:
    objective = scalarization.IMTLL(len(losses)).double()
    values = torch.tensor(list(losses.values()), dtype=torch.float64)
    objective.log_scale.data = -values.log()
    (slope,) = torch.autograd.grad(objective(values), objective.log_scale)
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    assert by_name(IMTLL(), losses) == pytest.approx(slopes(objective, losses))
    assert by_name(IMTLL(), losses) == pytest.approx(slopes(lambda x: x.log().sum(), losses))


@pytest.mark.parametrize("losses", LOSSES)
def test_geometric_descends_the_geometric_mean(losses: dict[str, float]) -> None:
    expected = slopes(scalarization.GeometricMean(), losses)
    assert by_name(GeometricMean(), losses) == pytest.approx(expected)
    expected = slopes(lambda x: x.prod() ** (1 / len(x)), losses)
    assert by_name(GeometricMean(), losses) == pytest.approx(expected)


def losses_of(epoch: int, number: int) -> dict[str, float]:
    """Losses of all tasks in a step, some of which fall from epoch to epoch."""
    return {t: (0.3 + k) ** epoch + 0.1 * ((number + k) % 3) for k, t in enumerate(TASKS)}


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_dwa_weights_by_how_the_means_of_epochs_fell(temperature: float) -> None:
    method, reference = DWA(temperature), scalarization.DWA(temperature)
    for epoch in range(1, 6):
        for number in range(4):
            losses = losses_of(epoch, number)
            expected = slopes(reference, losses)
            assert by_name(method, losses, epoch) == pytest.approx(expected)
            assert sum(expected.values()) == pytest.approx(3)
            assert epoch < 3 or max(expected.values()) > 1.05
        reference.step()


def test_dwa_counts_the_epochs_that_a_task_was_in() -> None:
    method = DWA(1.0)
    for epoch, loss in ((1, 4.0), (2, 2.0), (4, 6.0)):
        assert by_name(method, {"b": 1.0}, epoch)["b"] == 1.0
        found = by_name(method, {"a": loss, f"only in {epoch}": 1.0}, epoch)
    rates = torch.tensor([2.0 / 4.0, 1.0], dtype=torch.float64)  # the other is new
    assert list(found.values()) == pytest.approx((2 * rates.softmax(0)).tolist())
    for number in range(2):  # the same weights all through an epoch, whatever its losses are
        rates[0] = 6.0 / 2.0
        found = by_name(method, {"a": 1.0 + number, "b": 1.0}, 7)
        assert list(found.values()) == pytest.approx((2 * rates.softmax(0)).tolist())


@pytest.mark.parametrize("mu", [0.1, 1.0])
@pytest.mark.parametrize("warmup", [1, 2])
def test_stch_is_a_smooth_maximum_of_logarithms_after_its_warm_up(mu: float, warmup: int) -> None:
    method, smooth = STCH(mu, warmup), scalarization.STCH(mu, torch.ones(3).double())
    last = [losses_of(warmup, number) for number in range(4)]
    z = torch.tensor([sum(step[t] for step in last) / 4 for t in TASKS], dtype=torch.float64)
    for epoch in range(1, 5):
        for number in range(4):
            losses = losses_of(epoch, number)
            expected = slopes(lambda x: x.log().sum(), losses)
            if epoch > warmup:
                expected = slopes(lambda x: 3 * smooth((x / z).log()), losses)
            assert by_name(method, losses, epoch) == pytest.approx(expected)


def test_stch_takes_the_first_loss_where_there_was_no_warm_up() -> None:
    for method, first in ((STCH(warmup=0), 1), (STCH(warmup=1), 2)):
        assert by_name(method, {"a": 0.5, "b": 4.0}, first) == {"a": 2.0, "b": 0.25}
        found = by_name(method, {"a": 0.5, "b": 1.0}, first + 1)  # b is at a quarter
        assert found == pytest.approx({"a": 2 * 0.8 / 0.5, "b": 2 * 0.2 / 1.0})


@pytest.mark.parametrize("make", [DWA, STCH])
def test_a_method_that_looks_at_epochs_asks_for_them(make: Callable[[], Method]) -> None:
    message = rf"{make.__name__}: expected the number of the epoch, found none; write .*epoch="
    with pytest.raises(ValueError, match=message):
        make()(random_rows(2, 3, 0), losses=[1.0, 2.0])


DIVIDING: list[Callable[[], Method]] = [IMTLL, GeometricMean, DWA, STCH, DBMTL]


@pytest.mark.parametrize("make", DIVIDING)
def test_a_loss_of_zero_has_a_weight_and_one_below_is_refused(make: Callable[[], Method]) -> None:
    found = by_name(make(), {"a": 0.0, "b": 1.0})
    assert all(0 <= weight < math.inf for weight in found.values())
    message = rf"^surgery: expected losses ≥ 0, by which {make.__name__} .* found -0.5 of b; write"
    with pytest.raises(LossError, match=message) as error:
        by_name(make(), {"a": 1.0, "b": -0.5})
    assert "\n" not in str(error.value)


def test_normalising_refuses_a_negative_loss_too() -> None:
    with pytest.raises(LossError, match=r"by which Surgery divides, found -0.5 of b"):
        Surgery(Fixed(), normalise="loss").weights(loss_step({"a": 1.0, "b": -0.5}))


@pytest.mark.parametrize("make", [Uncertainty, GradNorm, GroupDRO, *DIVIDING])
def test_a_method_that_weights_losses_asks_for_them(make: Callable[[], Method]) -> None:
    message = rf"{make.__name__}: expected the tasks' losses, found none; write .*losses="
    with pytest.raises(ValueError, match=message):
        make()(random_rows(2, 3, 0))
    assert make()(random_rows(2, 3, 0), losses=[1.0, 2.0], epoch=1).shape == (3,)


@pytest.mark.parametrize(
    "given",
    [{"losses": [1.0]}, {"tasks": ["a"]}, {"tasks": ["a", "b", "c"]}, {"losses": torch.ones(2, 1)}],
)
def test_a_name_and_a_loss_for_each_row_are_asked_for(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected a loss and a name .* found .*; leave tasks="):
        Fixed()(random_rows(2, 3, 0), **given)  # type: ignore[arg-type]


WRONG: list[tuple[Callable[[], Method], str]] = [
    (lambda: Fixed({"sst": -1.0}), r"task_weights\.sst: expected .* ≥ 0"),
    (lambda: Fixed({"sst": math.inf}), r"task_weights\.sst: expected a finite"),
    (lambda: Fixed({"sst": "much"}), r"task_weights\.sst: expected"),  # type: ignore[dict-item]
    (lambda: Fixed({"sst": True}), r"task_weights\.sst: expected"),
    (lambda: Uncertainty(lr=-0.1), r"lr: expected .* ≥ 0"),
    (lambda: GradNorm(alpha=-1.0), r"alpha: expected .* ≥ 0"),
    (lambda: GradNorm(lr=math.nan), r"lr: expected a finite"),
    (lambda: GroupDRO(eta=-0.01), r"eta: expected .* ≥ 0"),
    (lambda: DWA(temperature=0.0), r"temperature: expected .* > 0"),
    (lambda: STCH(mu=0.0), r"mu: expected .* > 0"),
    (lambda: STCH(warmup=-1), r"warmup: expected a whole number ≥ 0"),
    (lambda: STCH(warmup=0.5), r"warmup: expected a whole number ≥ 0"),  # type: ignore[arg-type]
    (lambda: PCD(None), r"main: expected the task that leads"),  # type: ignore[arg-type]
    (lambda: PCD("a", tau=1.5), r"tau: expected .* ≤ 1"),
    (lambda: PCD("a", beta=1.0), r"beta: expected .* ≤ 1"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_a_wrong_setting_is_refused(make: Callable[[], Method], message: str) -> None:
    with pytest.raises(
        ValueError, match=rf"surgery\.method\.{message}.* found .*; write .*="
    ) as error:
        make()
    assert "\n" not in str(error.value)


def test_weights_follow_the_losses_they_were_told_of_not_the_gradients() -> None:
    for method in (Uncertainty(), GroupDRO()):
        weigh(method, random_rows(3, 5, 0))
        told = dict(method.memory)
        other = type(method)()
        weigh(other, 100 * random_rows(3, 5, 1))
        assert other.memory == told
