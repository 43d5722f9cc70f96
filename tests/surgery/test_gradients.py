"""The gradient matrix against the dense reference, on a small network with heads."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from mtl_bert.surgery import GradientMatrix, Mean, NashMTL, PCGrad, Sum, Surgery
from mtl_bert.surgery.gradients import _Later
from tests.surgery import dense


class Net(nn.Module):
    """A trunk that all tasks share, a layer for two of three, a head for each, one for nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 6)
        self.some = nn.Linear(6, 6)
        self.heads = nn.ModuleDict({task: nn.Linear(6, 1) for task in "abc"})
        self.idle = nn.Linear(2, 2)

    def loss(self, task: str, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.trunk(x))
        if task != "c":
            hidden = hidden + torch.tanh(self.some(hidden))
        target = {"a": 1.0, "b": -1.0, "c": 0.3}[task]
        return ((self.heads[task](hidden) - target) ** 2).mean()


def make(seed: int) -> tuple[Net, dict[str, Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net().double(), {task: torch.randn(5, 4, dtype=torch.float64) for task in "abc"}


def ours(net: Net, inputs: dict[str, Tensor], tasks: str, surgery: Surgery, seed: int) -> None:
    matrix = GradientMatrix([p for p in net.parameters() if p.requires_grad])
    for task in tasks:
        matrix.add(task, net.loss(task, inputs[task]))
    matrix.combine(surgery, torch.Generator().manual_seed(seed))


def same_gradients(one: Net, other: Net) -> None:
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None and b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14, msg=name)


SETTINGS = list(itertools.product(["all", "shared"], ["sum", "mean"], [True, False]))


@pytest.mark.parametrize("tasks", ["abc", "ac", "b"])
@pytest.mark.parametrize(("scope", "reduction", "include_self"), SETTINGS)
def test_equals_the_dense_reference(
    scope: str, reduction: str, include_self: bool, tasks: str
) -> None:
    surgery = Surgery(PCGrad(include_self), scope, reduction)
    changed = 0
    for seed in range(8):
        net, inputs = make(seed)
        reference, plain = copy.deepcopy(net), copy.deepcopy(net)
        ours(net, inputs, tasks, surgery, seed)
        dense.combine(
            [reference.loss(task, inputs[task]) for task in tasks],
            list(reference.parameters()),
            torch.Generator().manual_seed(seed),
            scope=scope,
            reduction=reduction,
            include_self=include_self,
        )
        same_gradients(net, reference)
        ours(plain, inputs, tasks, Surgery(Sum(), scope, reduction), seed)
        assert net.trunk.weight.grad is not None
        assert plain.trunk.weight.grad is not None
        changed += not torch.equal(net.trunk.weight.grad, plain.trunk.weight.grad)
    if len(tasks) == 3:
        assert changed, "no seed had a conflict: the comparison proves nothing"


def test_no_surgery_is_the_gradient_of_the_summed_loss() -> None:
    net, inputs = make(0)
    reference = copy.deepcopy(net)
    ours(net, inputs, "abc", Surgery(Sum(), "all", "sum"), 0)
    torch.stack([reference.loss(task, inputs[task]) for task in "abc"]).sum().backward()
    same_gradients(net, reference)


def test_parameters_that_nobody_reaches_or_that_are_frozen_have_no_gradient() -> None:
    net, inputs = make(0)
    net.some.requires_grad_(False)
    ours(net, inputs, "ab", Surgery(PCGrad(), "all", "mean"), 0)
    without = {name for name, p in net.named_parameters() if p.grad is None}
    assert without == {
        *(f"{layer}.{part}" for layer in ("some", "heads.c", "idle") for part in ("weight", "bias"))
    }


def test_a_shared_scope_leaves_the_heads_their_own_gradient() -> None:
    net, inputs = make(3)
    reference = copy.deepcopy(net)
    ours(net, inputs, "abc", Surgery(PCGrad(), "shared", "sum"), 0)
    for task in "abc":
        reference.zero_grad()
        reference.loss(task, inputs[task]).backward()
        torch.testing.assert_close(net.heads[task].weight.grad, reference.heads[task].weight.grad)


def test_a_head_takes_its_own_gradient_in_a_step_of_its_task_alone() -> None:
    net, inputs = make(3)
    matrix, surgery = GradientMatrix(list(net.parameters())), Surgery(NashMTL(), "shared", "sum")
    for tasks in ("abc", "a"):
        for task in tasks:
            matrix.add(task, net.loss(task, inputs[task]))
        result = matrix.combine(surgery)
    (weight,) = result.weights.values()
    own, trunk = torch.autograd.grad(
        net.loss("a", inputs["a"]), [net.heads["a"].weight, net.trunk.weight]
    )
    torch.testing.assert_close(net.heads["a"].weight.grad, own)
    torch.testing.assert_close(net.trunk.weight.grad, weight * trunk)
    assert abs(weight - 1) > 0.01


def test_without_shared_parameters_gradients_are_added_up_and_reported_so() -> None:
    parameters = [nn.Parameter(torch.tensor([value])) for value in (1.0, 2.0, 3.0)]
    x, y, z = parameters
    matrix = GradientMatrix(parameters)
    for task, loss in {"a": x * y, "b": -x, "c": z * z}.items():
        matrix.add(task, loss.sum())
    result = matrix.combine(Surgery(NashMTL(), "shared", "sum"))
    assert result.weights == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert [float(p.grad) for p in parameters if p.grad is not None] == [2 - 1, 1, 6]


def test_a_loss_of_other_parameters_is_refused() -> None:
    net, inputs = make(0)
    matrix = GradientMatrix(list(net.heads["b"].parameters()))
    with pytest.raises(RuntimeError, match="expected a loss of a that depends on parameters"):
        matrix.add("a", net.loss("a", inputs["a"]))


def test_the_scale_is_taken_out_of_every_gram_matrix() -> None:
    net, inputs = make(1)
    matrix = GradientMatrix(list(net.parameters()))
    for task in "ab":
        matrix.add(task, net.loss(task, inputs[task]), scale=2.0**16)
    everything = {"all": range(len(list(net.parameters())))}
    result = matrix.combine(Surgery(Sum(), "all", "sum"), scale=2.0**16, parts=everything)
    torch.testing.assert_close(result.grams["all"], result.gram)


def test_the_gram_matrix_and_weights_are_reported() -> None:
    net, inputs = make(0)
    parameters = list(net.parameters())
    rows = [
        dense.flat_gradient(copy.deepcopy(net).loss(task, inputs[task]), parameters)[0]
        for task in "ab"
    ]
    assert all(not row.any() for row in rows), "the copies' gradients must not land in net"
    matrix = GradientMatrix(parameters)
    for task in "ab":
        matrix.add(task, net.loss(task, inputs[task]))
    combined = matrix.combine(Surgery(Sum(), "all", "sum"))
    J = torch.stack(
        [dense.flat_gradient(net.loss(task, inputs[task]), parameters)[0] for task in "ab"]
    )
    torch.testing.assert_close(combined.gram, J @ J.T)
    assert combined.weights == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_reported_by_task_and_not_mixed_in(bad: float) -> None:
    net, inputs = make(0)
    matrix = GradientMatrix(list(net.parameters()))
    matrix.add("a", net.loss("a", inputs["a"]))
    matrix.add("b", net.loss("b", inputs["b"]) * bad)
    assert matrix.combine(Surgery(PCGrad(), "all", "mean")).skipped == ("b",)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scope": "heads"}, "surgery.scope: expected all or shared, found 'heads'"),
        ({"reduction": "max"}, "surgery.reduction: expected mean or sum, found 'max'"),
    ],
)
def test_unknown_settings_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        Surgery(PCGrad(), **settings)
    assert str(refused.value).startswith(message)


class Aliases(nn.Module):
    """Parameters whose gradients autograd hands out as one tensor, or as views of one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        self.c, self.d = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
        self.spread = nn.Parameter(torch.ones(4))

    def loss(self, x: float) -> Tensor:
        one_tensor = (self.a + self.b).square().sum()
        views = torch.cat([self.c, self.d]).pow(3).sum()
        return x * (one_tensor + views) + self.spread.sum() * x


def test_gradients_that_share_memory_are_not_scaled_twice() -> None:
    net, reference = Aliases(), Aliases()
    matrix = GradientMatrix(list(net.parameters()))
    for task, x in (("up", 1.0), ("down", 3.0)):
        matrix.add(task, net.loss(x))
    matrix.combine(Surgery(Mean(), "all", "sum"))
    ((reference.loss(1.0) + reference.loss(3.0)) / 2).backward()
    for a, b in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0)


def test_rows_do_not_stay_for_the_next_step() -> None:
    net, inputs = make(0)
    matrix = GradientMatrix(list(net.parameters()))
    for _ in range(2):
        for task in "abc":
            matrix.add(task, net.loss(task, inputs[task]))
        combined = matrix.combine(Surgery(Sum(), "all", "sum"))
    assert combined.tasks == ("a", "b", "c")
    matrix.add("b", net.loss("b", inputs["b"]))
    assert matrix.combine(Surgery(Sum(), "all", "sum")).gram.shape == (1, 1)


def test_a_failed_step_leaves_nothing_behind() -> None:
    net, inputs = make(0)
    matrix = GradientMatrix(list(net.parameters()))
    matrix.add("a", net.loss("a", inputs["a"]) * math.inf)
    assert matrix.combine(Surgery(Sum(), "all", "sum")).skipped == ("a",)
    matrix.add("b", net.loss("b", inputs["b"]))
    assert matrix.combine(Surgery(Sum(), "all", "sum")).tasks == ("b",)


def test_methods_are_told_names_and_losses() -> None:
    net, inputs = make(0)
    matrix = GradientMatrix(list(net.parameters()))
    losses = {task: net.loss(task, inputs[task]) for task in "cab"}
    for task, loss in losses.items():
        matrix.add(task, loss)
    seen = matrix.combine(Surgery(Sum(), "all", "sum"))
    assert seen.tasks == ("c", "a", "b")
    assert seen.losses == {task: loss.item() for task, loss in losses.items()}


def test_an_autocast_around_it_changes_nothing() -> None:
    grads = []
    for enabled in (False, True):
        net, inputs = make(0)
        net.float()
        matrix = GradientMatrix(list(net.parameters()))
        for task in "abc":
            matrix.add(task, net.loss(task, inputs[task].float()))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            matrix.combine(Surgery(PCGrad(), "all", "mean"), torch.Generator().manual_seed(1))
        grads.append([p.grad for p in net.parameters() if p.grad is not None])
    for plain, inside in zip(*grads, strict=True):
        torch.testing.assert_close(plain, inside, rtol=0, atol=0)


SHARED_MEMORY = {
    "one tensor for two parameters": lambda a, b: (a + b).square().sum(),
    "views of one tensor": lambda a, b: torch.cat([a, b]).square().sum(),
    "one number seen many times": lambda a, b: a.sum() + b.sum(),
}


@pytest.mark.parametrize("form", SHARED_MEMORY)
@pytest.mark.parametrize("alone", [True, False])
def test_gradients_that_share_memory_are_scaled_once(form: str, alone: bool) -> None:
    """Autograd hands them out so; written in place, one would scale or overwrite the other."""
    make_loss, scale = SHARED_MEMORY[form], 4.0
    parameters = [nn.Parameter(torch.arange(3.0) + k) for k in (1, 2)]
    expected = torch.autograd.grad(make_loss(*parameters), parameters)
    matrix = GradientMatrix(parameters)
    tasks = ["a"] if alone else ["a", "b"]
    matrix.start(tasks)
    for task in tasks:
        matrix.add(task, make_loss(*parameters), scale=scale)
    if alone:
        matrix.alone(scale)
    else:
        matrix.combine(Surgery(Mean(), "all", "sum"), scale=scale)
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)


def test_sums_that_are_done_together_are_those_done_one_by_one() -> None:
    """What a GPU gets in a few launches."""
    sums = {(0.5, 2.0, -1.0): 3, (1.0, 3.0): 2}
    later = _Later({f: [list(torch.randn(len(f), 4)) for _ in range(sums[f])] for f in sums})
    expected = [
        sum(factor * entry for factor, entry in zip(factors, entries, strict=True))
        for factors, columns in later.sums.items()
        for entries in columns
    ]
    later.add_up()
    found = [entries[0] for columns in later.sums.values() for entries in columns]
    torch.testing.assert_close(found, expected)
