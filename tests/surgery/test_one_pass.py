"""One pass for all tasks against a pass for each, which plain autograd takes."""

import copy
from collections.abc import Callable, Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.utils.checkpoint import checkpoint

from mtl_bert.surgery import GradientMatrix, PCGrad, Surgeon, Surgery
from mtl_bert.surgery.one_pass import obstacle

T, D = 5, 6


class Trunk(nn.Module):
    """Every type of layer that one pass knows, one of them called twice, and a table used twice."""

    def __init__(self, sparse: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(11, D, padding_idx=0, sparse=sparse)
        self.places = nn.Embedding(T, D)
        self.norm = nn.LayerNorm(D)
        self.again = nn.Linear(D, D, bias=False)
        self.root = nn.RMSNorm(D)
        self.wide = nn.LayerNorm([T, D], bias=False)
        self.tied = nn.Linear(D, 11)
        self.tied.weight = self.words.weight
        self.drop = nn.Dropout(0.0)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.norm(self.words(ids) + self.places(torch.arange(T)[None]))
        x = x + torch.tanh(self.again(torch.tanh(self.again(x))))
        x = self.drop(self.wide(self.root(x)))
        return torch.cat([x[:, 0], self.tied(x[:, 1:]).mean(1)], dim=-1)


class Net(nn.Module):
    """A trunk, a head for each task and a parameter of all heads."""

    def __init__(self, tasks: str = "abc", *, sparse: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = Trunk(sparse)
        self.heads = nn.ModuleDict({task: nn.Linear(D + 11, 1) for task in tasks})
        self.offset = nn.Parameter(torch.ones(1))

    def loss(self, task: str, features: Tensor) -> Tensor:
        return (self.heads[task](features) + self.offset - ord(task) / 100).square().mean()


def texts(sizes: Mapping[str, int], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {task: torch.randint(0, 11, (n, T), generator=generator) for task, n in sizes.items()}


def each(net: Net, matrix: GradientMatrix, x: Mapping[str, Tensor], share: float = 1.0) -> None:
    for task, ids in x.items():
        matrix.add(task, net.loss(task, net.trunk(ids)), share, 8.0)


def together(net: Net, matrix: GradientMatrix, x: Mapping[str, Tensor], share: float = 1.0) -> None:
    sizes = {task: len(ids) for task, ids in x.items()}
    with matrix.one_pass(net.trunk, sizes):
        features = net.trunk(torch.cat(list(x.values())))
        parts = zip(x, torch.split(features, list(sizes.values())), strict=True)
        losses = {task: net.loss(task, part) for task, part in parts}
        matrix.add_together(losses, dict.fromkeys(x, share), dict.fromkeys(x, 8.0))


Way = Callable[..., None]


def rows(net: Net, way: Way, *parts: Mapping[str, Tensor]) -> dict[str, list[Tensor | None]]:
    matrix = GradientMatrix([p for p in net.parameters() if p.requires_grad])
    matrix.start(list(parts[0]))
    for x in parts:
        way(net, matrix, x, 1 / len(parts))
    taken = matrix.take()
    rows = [[None if e is None else e.to_dense() for e in row] for row in taken.rows]
    return dict(
        zip(
            taken.tasks,
            ([*row, loss] for row, loss in zip(rows, taken.losses, strict=True)),
            strict=True,
        )
    )


def assert_same(one: dict[str, list[Tensor | None]], other: dict[str, list[Tensor | None]]) -> None:
    assert one.keys() == other.keys()
    for task, row in one.items():
        for a, b in zip(row, other[task], strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 6), min_size=1),
    parts=st.integers(1, 3),
    sparse=st.booleans(),
    frozen=st.lists(
        st.sampled_from(["words", "places", "norm", "again", "root", "wide", "tied.bias", "heads"]),
        unique=True,
    ),
)
def test_rows_are_those_of_a_pass_for_each_task(
    sizes: dict[str, int], parts: int, sparse: bool, frozen: list[str]
) -> None:
    net = Net("abcdefgh", sparse=sparse).double()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not any(part in name for part in frozen))
    given = [texts(sizes, seed) for seed in range(parts)]
    assert_same(rows(net, together, *given), rows(net, each, *given))
    assert all("forward" not in vars(layer) for layer in net.modules())


def test_the_memory_of_rows_is_kept_and_nothing_of_the_step_before() -> None:
    net = Net().double()
    matrix, where = GradientMatrix(list(net.parameters())), set()
    for seed in range(3):
        matrix.start("abc")
        together(net, matrix, x := texts(dict(zip("abc", (4, 2, 3), strict=True)), seed))
        matrix.combine(Surgery(PCGrad(), "all", "mean"), torch.Generator().manual_seed(0), 8.0)
        assert net.trunk.again.weight.grad is not None
        where.add(net.trunk.again.weight.grad.data_ptr())
    other = copy.deepcopy(net)
    fresh = GradientMatrix(list(other.parameters()))
    each(other, fresh, x)
    fresh.combine(Surgery(PCGrad(), "all", "mean"), torch.Generator().manual_seed(0), 8.0)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12)
    assert len(where) == 1


def test_layers_that_see_tokens_end_to_end_are_told_by_their_number() -> None:
    """Four tokens of a, six of b; and one number for each of two and three texts."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(1, 10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([1, 3, 2, 2, 2])

    def losses(parts: list[slice]) -> list[Tensor]:
        tokens = net[1](net[0](x))[0]
        ends = lengths.cumsum(0) - 1
        answers = net[2](tokens[ends])
        return [answers[part].square().mean() for part in parts]

    parameters, parts = list(net.parameters()), [slice(0, 2), slice(2, 5)]
    expected = [torch.autograd.grad(losses(parts)[k], parameters) for k in range(2)]
    matrix = GradientMatrix(parameters)
    matrix.start("ab")
    with matrix.one_pass(net, {"a": 2, "b": 3}, {"a": 4, "b": 6}):
        matrix.add_together(dict(zip("ab", losses(parts), strict=True)), {"a": 1.0, "b": 1.0})
    for row, reference in zip(matrix.take().rows, expected, strict=True):
        for a, b in zip(row, reference, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_trained_parameters_before_the_trunk_get_their_gradients_through_it() -> None:
    """Each task's way to them leads through the trunk once more, which is not to count."""
    before, net = nn.Linear(4, D).double(), Net().double()
    trunk, x = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D + 11)).double(), {}
    for task, n in {"a": 3, "b": 1, "c": 2}.items():
        x[task] = torch.randn(n, 4, dtype=torch.float64)
    found = []
    for one in (True, False):
        matrix = GradientMatrix([*before.parameters(), *trunk.parameters(), *net.parameters()])
        matrix.start(list(x))
        if one:
            with matrix.one_pass(trunk, {task: len(of) for task, of in x.items()}):
                parts = trunk(before(torch.cat(list(x.values())))).split([3, 1, 2])
                losses = {t: net.loss(t, part) for t, part in zip(x, parts, strict=True)}
                matrix.add_together(losses, dict.fromkeys(x, 1.0))
        else:
            for task, of in x.items():
                matrix.add(task, net.loss(task, trunk(before(of))))
        taken = matrix.take()
        found.append({task: list(row) for task, row in zip(taken.tasks, taken.rows, strict=True)})
    assert_same(*found)


def test_checkpointed_layers_give_the_same_rows() -> None:
    class Checkpointed(Trunk):
        def forward(self, ids: Tensor) -> Tensor:
            found: Tensor = checkpoint(super().forward, ids, use_reentrant=False)
            return found

    net = Net().double()
    x = texts({"a": 3, "b": 2})
    expected = rows(net, each, x)
    net.trunk.__class__ = Checkpointed
    assert_same(rows(net, together, x), expected)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_under_autocast_rows_are_as_far_off_as_autograds(half: torch.dtype) -> None:
    net = Net()
    x = texts({"a": 4, "b": 3, "c": 6})
    exact = rows(copy.deepcopy(net).double(), each, x)
    found = []
    for way in (each, together):
        with torch.autocast("cpu", half):
            found.append(rows(net, way, x))
        off = [
            (a - b).norm() / b.norm()
            for task, row in exact.items()
            for a, b in zip(found[-1][task], row, strict=True)
            if a is not None and b is not None and b.norm() > 1e-3
        ]
        assert max(off) < 0.05
    for task, row in found[0].items():
        types = [None if e is None else e.dtype for e in row]
        assert types == [None if e is None else e.dtype for e in found[1][task]]


def step(surgeon: Surgeon, net: Net, optimizer: torch.optim.Optimizer, number: int) -> None:
    x = texts({"a": 4, "b": 3, "c": 2}, number)
    sizes = {task: len(ids) for task, ids in x.items()}
    with surgeon.step(optimizer), surgeon.one_pass(net.trunk, sizes):
        parts = torch.split(net.trunk(torch.cat(list(x.values()))), list(sizes.values()))
        surgeon.backward({task: net.loss(task, part) for task, part in zip(x, parts, strict=True)})


@pytest.mark.filterwarnings("ignore:.*torch.cuda:UserWarning")
@pytest.mark.parametrize("scaled", [True, False])
def test_a_surgeon_takes_the_same_steps(scaled: bool) -> None:
    nets = [Net().double() for _ in range(2)]
    scaler = GradScaler("cpu", init_scale=2.0**12) if scaled else None
    surgeons = [Surgeon(nets[0], PCGrad(), scaler=scaler), Surgeon(nets[1], PCGrad())]
    optimizers = [torch.optim.AdamW(net.parameters(), lr=0.05) for net in nets]
    for number in range(4):
        step(surgeons[0], nets[0], optimizers[0], number)
        with surgeons[1].step(optimizers[1]):
            for task, ids in texts({"a": 4, "b": 3, "c": 2}, number).items():
                surgeons[1].backward(task, nets[1].loss(task, nets[1].trunk(ids)))
        assert surgeons[0].last.losses == pytest.approx(surgeons[1].last.losses)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_the_task_that_is_not_finite_is_named_and_no_other() -> None:
    net = Net().double()
    with torch.no_grad():
        net.heads["b"].bias.fill_(torch.nan)
    surgeon = Surgeon(net, PCGrad())
    step(surgeon, net, torch.optim.AdamW(net.parameters()), 0)
    assert surgeon.last.skipped == ("b",)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))


class Subclass(nn.Linear):
    """May do anything."""


def hooked() -> nn.Module:
    layer = nn.Linear(2, 2)
    layer.weight.register_hook(lambda g: 2 * g)
    return layer


def replaced() -> nn.Module:
    layer = nn.Linear(2, 2)
    vars(layer)["forward"] = lambda x: x
    return layer


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Own(), "1 (Own)"),
        (Subclass(2, 2), "1 (Subclass)"),
        (nn.BatchNorm1d(2, affine=False), "1 (BatchNorm1d)"),
        (nn.Conv1d(1, 1, 1), "1 (Conv1d)"),
        (nn.Embedding(3, 2, max_norm=1.0), "1 (Embedding)"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "1 (ParametrizedLinear)"),
        (hooked(), "1 (Linear)"),
        (replaced(), "1 (Linear)"),
    ],
)  # fmt: skip
def test_a_layer_without_a_rule_is_named(layer: nn.Module, name: str) -> None:
    net = nn.Sequential(nn.Linear(2, 2), layer)
    assert (obstacle(net) or "").startswith(name)
    surgeon = Surgeon(net, PCGrad())
    with (
        pytest.raises(ValueError, match=r"one_pass: expected layers of .*; take the tasks one by"),
        surgeon.step(None),
        surgeon.one_pass(net, {"a": 1, "b": 1}),
    ):
        pass


def test_what_is_not_trained_is_no_obstacle() -> None:
    net = nn.Sequential(nn.Conv1d(2, 2, 1).requires_grad_(False), nn.Linear(3, 1))
    assert obstacle(net) is None


@pytest.mark.parametrize("wrong", [{"a": 2, "b": 2}, None])
def test_wrong_numbers_and_other_uses_of_a_parameter_are_found_out(
    wrong: dict[str, int] | None,
) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    surgeon, sizes = Surgeon(net, PCGrad()), wrong or {"a": 2, "b": 6}

    def losses() -> dict[str, Tensor]:
        penalty = 0.0 if wrong else net[0].weight.square().sum()
        first, second = torch.split(net(torch.ones(8, 2)), [2, 6])
        return {"a": first.sum() + penalty, "b": second.sum()}

    with surgeon.step(None), surgeon.one_pass(net, sizes):
        with pytest.raises(RuntimeError, match="a parameter of it used in another way"):
            surgeon.backward(losses())
        surgeon.backward({"a": net(torch.ones(sum(sizes.values()), 2)).sum()})
    with pytest.raises(RuntimeError, match=r"expected to be called within Surgeon\.step"):
        surgeon.one_pass(net, sizes).__enter__()
