"""The surgeon in a loop of one's own, against dense references and loops written by hand."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torchjd.aggregation import UPGradWeighting

from mtl_bert.sampling import Phase
from mtl_bert.surgery import (
    DWA,
    FreezeError,
    GroupDRO,
    NashMTL,
    NonFiniteGradientError,
    PCGrad,
    RandomWeights,
    Sum,
    Surgeon,
    Surgery,
    backward,
)
from tests.surgery import dense

PAPER = Surgery(PCGrad(include_self=True), "all", "mean")


class Net(nn.Module):
    """A trunk and a head for each of three tasks."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.trunk = nn.Linear(4, 6)
            self.heads = nn.ModuleDict({task: nn.Linear(6, 1) for task in "abc"})
        self.double()

    def loss(self, task: str, x: Tensor) -> Tensor:
        target = {"a": 1.0, "b": -1.0, "c": 0.3}[task]
        return ((self.heads[task](torch.tanh(self.trunk(x))) - target) ** 2).mean()


def examples(step: int, n: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {t: torch.randn(n, 4, dtype=torch.float64, generator=generator) for t in "abc"}


def adamw(net: nn.Module, **settings: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW(net.parameters(), lr=0.05, **settings)


def same(one: nn.Module, other: nn.Module, tolerance: float = 1e-12) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=name)


def take(surgeon: Surgeon, net: Net, optimizer: Any, step: int, phase: Phase | None = None) -> None:
    with surgeon.step(optimizer, phase, generator=torch.Generator().manual_seed(step)):
        for task, x in examples(step).items():
            if phase is None or phase.surgery or task == "b":
                surgeon.backward(task, net.loss(task, x))


@pytest.mark.parametrize("surgery", [PAPER, Surgery(PCGrad(), "shared", "sum")])
@pytest.mark.parametrize("fused", [True, False])
def test_steps_equal_those_of_a_loop_written_by_hand(surgery: Surgery, fused: bool) -> None:
    """ARRP's two phases: surgery on all, then one task with λ and a frozen trunk."""
    net = Net()
    by_hand = copy.deepcopy(net)
    optimizer, other = adamw(net, fused=fused), adamw(by_hand)
    surgeon = Surgeon(net, surgery)
    method = surgery.method
    assert isinstance(method, PCGrad)
    alone = Phase("finetune", surgery=False, lambda_=0.5, frozen=("*", "!heads.b.*"))
    for step in range(8):
        joint = step % 4 < 2
        take(surgeon, net, optimizer, step, Phase("rr") if joint else alone)
        other.zero_grad()
        if joint:
            dense.combine(
                [by_hand.loss(task, x) for task, x in examples(step).items()],
                list(by_hand.parameters()),
                torch.Generator().manual_seed(step),
                scope=surgery.scope,
                reduction=surgery.reduction,
                include_self=method.include_self,
            )
        else:
            head = list(by_hand.heads["b"].parameters())
            loss = 0.5 * by_hand.loss("b", examples(step)["b"])
            for parameter, grad in zip(head, torch.autograd.grad(loss, head), strict=True):
                parameter.grad = grad
        other.step()
    same(net, by_hand)
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_lambda_on_the_update_scales_the_step_and_gives_the_rate_back() -> None:
    nets = [Net(), Net()]
    optimizers = [
        torch.optim.SGD(net.parameters(), lr=0.1 * k) for k, net in zip((1, 3), nets, strict=True)
    ]
    phases = (None, Phase("weak", lambda_=1 / 3, lambda_on="update"))
    for net, optimizer, phase in zip(nets, optimizers, phases, strict=True):
        take(Surgeon(net, Sum()), net, optimizer, 0, phase)
    same(*nets)
    assert optimizers[1].param_groups[0]["lr"] == pytest.approx(0.3)


def test_parts_of_a_batch_add_up_by_their_shares() -> None:
    whole, parts = Net(), Net()
    take(Surgeon(whole, PAPER), whole, adamw(whole), 0)
    surgeon = Surgeon(parts, PAPER)
    with surgeon.step(adamw(parts), generator=torch.Generator().manual_seed(0)):
        for task, x in examples(0).items():
            for part in (x[:2], x[2:]):
                surgeon.backward(task, parts.loss(task, part), share=len(part) / len(x))
    same(whole, parts)
    for task, x in examples(0).items():
        assert surgeon.last.losses[task] == pytest.approx(Net().loss(task, x).item())


def test_losses_that_share_one_graph() -> None:
    """One text with several labels: one forward pass, K losses."""
    one, each = Net(), Net()
    x = examples(0)["a"]
    surgeon = Surgeon(each, PAPER)
    with surgeon.step(adamw(each), generator=torch.Generator().manual_seed(0)):
        for task in "abc":
            surgeon.backward(task, each.loss(task, x))
    surgeon = Surgeon(one, PAPER)
    with surgeon.step(adamw(one), generator=torch.Generator().manual_seed(0)):
        hidden = torch.tanh(one.trunk(x))
        targets = {"a": 1.0, "b": -1.0, "c": 0.3}
        surgeon.backward(
            {task: ((one.heads[task](hidden) - y) ** 2).mean() for task, y in targets.items()}
        )
    same(one, each)


def test_what_a_step_tells_loggers() -> None:
    net = Net()
    surgeon = Surgeon(net, Surgery(PCGrad(), "all", "sum"))
    rows = torch.stack([
        torch.cat([
            torch.zeros(p.numel()).double() if g is None else g.flatten()
            for g, p in zip(
                torch.autograd.grad(net.loss(t, x), list(net.parameters()), allow_unused=True),
                net.parameters(), strict=True,
            )
        ]) for t, x in examples(0).items()
    ])  # fmt: skip
    losses = {task: net.loss(task, x).item() for task, x in examples(0).items()}
    take(surgeon, net, adamw(net), 0)
    assert surgeon.last.tasks == ("a", "b", "c")
    assert surgeon.last.losses == pytest.approx(losses)
    torch.testing.assert_close(surgeon.last.gram, rows @ rows.T)
    unit = rows / rows.norm(dim=1, keepdim=True)
    torch.testing.assert_close(surgeon.last.cosines, unit @ unit.T)
    cosines = surgeon.last.cosines
    pairs = [(i, j) for i in range(3) for j in range(i + 1, 3) if cosines[i, j] < 0]
    assert surgeon.last.conflicts == [("abc"[i], "abc"[j]) for i, j in pairs]
    assert pairs
    assert list(surgeon.last.weights) == ["a", "b", "c"]
    assert surgeon.last.skipped == ()
    take(surgeon, net, adamw(net), 1, Phase("alone", surgery=False))
    assert surgeon.last.weights == {"b": 1.0}
    assert surgeon.last.gram.shape == (1, 1)
    assert "weights={'b': 1.0}" in repr(surgeon.last)


def test_before_any_step_there_is_nothing_to_tell() -> None:
    with pytest.raises(RuntimeError, match="expected a step before it"):
        Surgeon(Net(), PCGrad()).last  # noqa: B018


def test_the_combined_gradient_is_clipped() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    before = copy.deepcopy(net)
    take(Surgeon(net, Sum(), gradient_clip_val=0.01), net, optimizer, 0)
    moved = [(a - b).norm() for a, b in zip(net.parameters(), before.parameters(), strict=True)]
    assert torch.stack(moved).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_what_no_task_reaches_is_not_touched_not_even_by_weight_decay() -> None:
    net = Net()
    surgeon, optimizer = Surgeon(net, PAPER), adamw(net, weight_decay=0.5)
    head = net.heads["c"].weight.detach().clone()
    for step in range(3):
        with surgeon.step(optimizer):
            for task in "ab":
                surgeon.backward(task, net.loss(task, examples(step)[task]))
    assert torch.equal(net.heads["c"].weight, head)
    assert net.heads["c"].weight.grad is None


def test_sparse_embeddings_are_trained_as_dense_ones() -> None:
    ends = []
    for sparse in (True, False):
        torch.manual_seed(0)
        table = nn.Embedding(50, 3, sparse=sparse).double()
        optimizer = adamw(table)
        surgeon = Surgeon(table, PCGrad())
        for step in range(3):
            with surgeon.step(optimizer):
                for k, task in enumerate("ab"):
                    rows = torch.tensor([step, step + k, 7])
                    surgeon.backward(task, ((table(rows) - (-1) ** k) ** 2).sum())
        ends.append(table)
    same(*ends)


def test_what_the_user_has_frozen_stays_so() -> None:
    net = Net()
    net.trunk.requires_grad_(False)
    trunk = copy.deepcopy(net.trunk)
    surgeon, optimizer = Surgeon(net, PCGrad()), adamw(net, weight_decay=0.5)
    take(surgeon, net, optimizer, 0)
    take(surgeon, net, optimizer, 1, Phase("some", frozen=("heads.a.bias",)))
    same(net.trunk, trunk)
    assert [p.requires_grad for p in net.trunk.parameters()] == [False, False]
    assert net.heads["a"].bias.requires_grad
    net.trunk.requires_grad_(True)  # and may be thawed between two steps
    take(surgeon, net, optimizer, 2)
    assert not torch.equal(net.trunk.weight, trunk.weight)


def test_within_a_phase_what_it_freezes_is_frozen() -> None:
    net = Net()
    surgeon = Surgeon(net, PCGrad())
    with surgeon.step(adamw(net), Phase("some", surgery=False, frozen=("trunk.*",))):
        assert not net.trunk.weight.requires_grad
        surgeon.backward("a", net.loss("a", examples(0)["a"]))
    assert net.trunk.weight.requires_grad
    assert net.trunk.weight.grad is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("surgery", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_is_not_finite_is_skipped_and_named(
    bad: float, surgery: bool, fused: bool
) -> None:
    net, told = Net(), Net()
    optimizer, other = adamw(net, fused=fused), adamw(told, fused=fused)
    surgeon, reference = Surgeon(net, PAPER), Surgeon(told, PAPER)
    phase = Phase("p", surgery=surgery)
    for step in range(3):
        if step != 1:
            take(surgeon, net, optimizer, step, phase)
            take(reference, told, other, step, phase)
            assert surgeon.last.skipped == ()
            continue
        with surgeon.step(optimizer, phase):
            for task, x in examples(step).items():
                if surgery or task == "b":
                    factor = bad if task == "b" else 1.0
                    surgeon.backward(task, net.loss(task, x) * factor)
        assert surgeon.last.skipped == ("b",)
        assert surgeon.last.weights == {}
    same(net, told, 0.0)


def test_an_error_within_a_step_changes_nothing() -> None:
    net = Net()
    before, surgeon, optimizer = copy.deepcopy(net), Surgeon(net, PAPER), adamw(net)
    phase = Phase("p", frozen=("trunk.*",))
    with pytest.raises(KeyError), surgeon.step(optimizer, phase):
        surgeon.backward("a", net.loss("a", examples(0)["no such task"]))
    same(net, before, 0.0)
    assert all(p.requires_grad for p in net.parameters())
    take(surgeon, net, optimizer, 0)  # nothing of the step that failed is left
    take(Surgeon(before, PAPER), before, adamw(before), 0)
    same(net, before, 0.0)


@pytest.mark.filterwarnings("ignore:.*torch.cuda:UserWarning")
@pytest.mark.parametrize("surgery", [True, False])
def test_grad_scaler_leaves_no_trace_in_the_update(surgery: bool) -> None:
    plain, scaled = Net(), Net()
    scaler = GradScaler("cpu", init_scale=2.0**12)
    surgeons = Surgeon(plain, PAPER), Surgeon(scaled, PAPER, scaler=scaler)
    optimizers = adamw(plain), adamw(scaled)
    for step in range(3):
        for surgeon, net, optimizer in zip(surgeons, (plain, scaled), optimizers, strict=True):
            take(surgeon, net, optimizer, step, Phase("p", surgery=surgery))
    same(plain, scaled)
    assert surgeons[1].last.losses == pytest.approx(surgeons[0].last.losses)
    with surgeons[1].step(optimizers[1], Phase("p", surgery=surgery)):
        surgeons[1].backward("a", scaled.loss("a", examples(3)["a"]) * float("inf"))
    assert surgeons[1].last.overflowed
    assert scaler.get_scale() == 2.0**11
    same(plain, scaled)


def test_under_autocast_gradients_are_half_and_the_gram_matrix_double() -> None:
    net = Net().float()
    surgeon, optimizer = Surgeon(net, PCGrad()), adamw(net)
    with torch.autocast("cpu", torch.bfloat16), surgeon.step(optimizer):
        for task, x in examples(0).items():
            loss = net.loss(task, x.float())
            surgeon.backward(task, loss)
    assert surgeon.last.gram.dtype == torch.float64
    assert surgeon.last.skipped == ()
    assert all(p.dtype == torch.float32 for p in net.parameters())
    exact = Net().float()
    other = Surgeon(exact, PCGrad())
    take_float = {task: x.float() for task, x in examples(0).items()}
    with other.step(adamw(exact)):
        for task, x in take_float.items():
            other.backward(task, exact.loss(task, x))
    torch.testing.assert_close(surgeon.last.cosines, other.last.cosines, rtol=0.05, atol=0.05)


def test_it_goes_on_from_its_state() -> None:
    """Also with the method's memory and the order of projections, which nobody gave a generator."""

    def train(net: Net, optimizer: Any, surgeon: Surgeon, steps: Sequence[int]) -> None:
        for step in steps:
            with surgeon.step(optimizer):
                for task, x in examples(step).items():
                    surgeon.backward(task, net.loss(task, x))

    for method in (lambda: PCGrad(True), lambda: GroupDRO(0.5)):
        whole, first = Net(), Net()
        train(whole, adamw(whole), Surgeon(whole, method(), seed=3), range(6))
        optimizer, surgeon = adamw(first), Surgeon(first, method(), seed=3)
        train(first, optimizer, surgeon, range(3))
        again = Surgeon(first, method(), seed=3)
        again.load_state_dict(copy.deepcopy(surgeon.state_dict()))
        train(first, optimizer, again, range(3, 6))
        same(whole, first, 0.0)


def test_a_method_learns_of_the_epoch_that_a_step_is_told() -> None:
    net = Net()
    surgeon, optimizer, means = Surgeon(net, DWA(0.5)), adamw(net), []
    for epoch in (1, 2, 3):
        losses = []
        for step in range(2):
            with surgeon.step(optimizer, epoch=epoch):
                surgeon.backward({task: net.loss(task, x) for task, x in examples(step).items()})
            losses.append(torch.tensor(list(surgeon.last.losses.values()), dtype=torch.float64))
        means.append(torch.stack(losses).mean(0))
    expected = 3 * (means[1] / means[0] / 0.5).softmax(0)
    assert expected.max() > 1.01
    assert list(surgeon.last.weights.values()) == pytest.approx(expected.tolist())
    with (
        pytest.raises(ValueError, match="DWA: expected the number of the epoch, found none"),
        surgeon.step(optimizer),
    ):
        surgeon.backward("a", net.loss("a", examples(0)["a"]))


def test_a_wrapped_optimizer_is_stepped_through_its_wrapper() -> None:
    class Wrapper:
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer, self.steps = optimizer, 0

        def step(self) -> None:
            self.steps += 1
            self.optimizer.step()

        def zero_grad(self, set_to_none: bool = True) -> None:
            self.optimizer.zero_grad(set_to_none)

    net, plain = Net(), Net()
    wrapper: Any = Wrapper(adamw(net, fused=True))
    surgeon, other, optimizer = Surgeon(net, PAPER), Surgeon(plain, PAPER), adamw(plain, fused=True)
    for step, phase in enumerate(
        [None, Phase("p", surgery=False, lambda_=0.1, lambda_on="update")]
    ):
        take(surgeon, net, wrapper, step, phase)
        take(other, plain, optimizer, step, phase)
    same(net, plain, 0.0)
    assert wrapper.steps == 2


@pytest.mark.parametrize("surgery", [True, False])
def test_without_an_optimizer_a_step_fills_grad_for_somebody_else_s(surgery: bool) -> None:
    net, plain = Net(), Net()
    optimizer, other = adamw(net), adamw(plain)
    surgeon, reference = (
        Surgeon(net, PAPER, gradient_clip_val=0.5),
        Surgeon(plain, PAPER, gradient_clip_val=0.5),
    )
    phase = Phase("p", surgery=surgery, frozen=("heads.a.bias",))
    for step in range(2):
        take(surgeon, net, None, step, phase)
        optimizer.step()
        take(reference, plain, other, step, phase)
    same(net, plain, 0.0)
    with surgeon.step(None, phase):
        surgeon.backward("b", net.loss("b", examples(9)["b"]) * torch.nan)
    assert surgeon.last.skipped == ("b",)
    assert all(parameter.grad is None for parameter in net.parameters())
    optimizer.step()
    same(net, plain, 0.0)


@pytest.mark.parametrize("form", ["module", "pairs", "mapping"])
def test_parameters_come_as_a_module_or_by_name(form: str) -> None:
    net, expected = Net(), Net()
    given: Any = {
        "module": net,
        "pairs": net.named_parameters(),
        "mapping": dict(net.named_parameters()),
    }[form]
    take(Surgeon(given, PAPER), net, adamw(net), 0)
    take(Surgeon(expected, PAPER), expected, adamw(expected), 0)
    same(net, expected, 0.0)


def test_weightings_of_others() -> None:
    """A function of the Gram matrix, and one of TorchJD's, whose thresholds are absolute."""
    net, plain = Net(), Net()
    take(Surgeon(net, lambda gram: torch.ones(len(gram))), net, adamw(net), 0)
    take(Surgeon(plain, Sum()), plain, adamw(plain), 0)
    same(net, plain)
    surgeon = Surgeon(net, UPGradWeighting())
    take(surgeon, net, adamw(net), 1)
    weights = torch.tensor(list(surgeon.last.weights.values()), dtype=torch.float64)
    assert (surgeon.last.gram @ weights >= -1e-6 * surgeon.last.gram.trace()).all()


@pytest.mark.parametrize("method", [PCGrad, "pcgrad", None])
def test_what_is_no_method_is_refused(method: Any) -> None:
    with pytest.raises(ValueError, match=r"method: expected .* write for example Surgeon\(model"):
        Surgeon(Net(), method)


def step_with(phase: Phase, losses: dict[str, Tensor | None]) -> None:
    net = Net()
    surgeon = Surgeon(net, PCGrad())
    with surgeon.step(adamw(net), phase):
        for task, loss in losses.items():
            surgeon.backward(task, net.loss(task, examples(0)["a"]) if loss is None else loss)


@pytest.mark.parametrize(
    ("phase", "losses", "message"),
    [
        (Phase("p"), {}, r"expected the loss of at least one task in a step, found none; write"),
        (Phase("p"), {"a": torch.zeros(())}, r"a loss of a that depends on trained parameters"),
        (Phase("p"), {"a": 1.5}, r"a loss of a .* found a float"),
        (
            Phase("p", surgery=False),
            {"a": None, "b": None},
            r"a single task in a phase without surgery, found a, b; give",
        ),
        (Phase("p", frozen=("*",)), {}, r"freeze: expected something left to train"),
        (Phase("p", frozen=("nobody",)), {}, r"freeze: expected patterns of parameter names"),
    ],
)
def test_misuse_is_told_in_a_line(phase: Phase, losses: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, RuntimeError, FreezeError), match=message) as raised:
        step_with(phase, losses)
    assert "\n" not in str(raised.value)


def test_gradients_are_collected_within_a_step_alone() -> None:
    net = Net()
    with pytest.raises(RuntimeError, match=r"expected to be called within Surgeon\.step"):
        Surgeon(net, PCGrad()).backward("a", net.loss("a", examples(0)["a"]))
    with pytest.raises(ValueError, match="expected a module with parameters"):
        Surgeon(nn.Identity(), PCGrad())


@pytest.mark.parametrize("surgery", [PAPER, Surgery(PCGrad(), "shared", "sum")])
@pytest.mark.parametrize("one_graph", [True, False])
def test_the_form_of_one_line_fills_grad(surgery: Surgery, one_graph: bool) -> None:
    net, reference = Net(), Net()
    assert isinstance(surgery.method, PCGrad)
    x = examples(0)
    inputs = dict.fromkeys("abc", x["a"]) if one_graph else x
    losses = {task: net.loss(task, inputs[task]) for task in "abc"}
    result = backward(losses, net.parameters(), surgery, generator=torch.Generator().manual_seed(4))
    dense.combine(
        [reference.loss(task, inputs[task]) for task in "abc"],
        list(reference.parameters()),
        torch.Generator().manual_seed(4),
        scope=surgery.scope,
        reduction=surgery.reduction,
        include_self=surgery.method.include_self,
    )
    for (name, a), b in zip(net.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14, msg=name)
    assert result.losses == pytest.approx(
        {task: float(loss.detach()) for task, loss in losses.items()}
    )


def test_in_one_line_what_is_not_finite_raises_and_what_is_frozen_has_no_gradient() -> None:
    net = Net()
    net.trunk.requires_grad_(False)
    backward([net.loss(task, x) for task, x in examples(0).items()], net, Sum())
    assert net.trunk.weight.grad is None
    assert net.heads["a"].weight.grad is not None
    with pytest.raises(NonFiniteGradientError, match="of 1 is not finite"):
        backward(
            [net.loss("a", examples(0)["a"]), net.loss("b", examples(0)["b"]) * torch.inf],
            net,
            Sum(),
        )


@pytest.mark.parametrize("together", [False, True])
def test_a_tasks_weight_is_a_factor_on_its_loss_that_losses_do_not_show(together: bool) -> None:
    def steps(
        weights: dict[str, float] | None, factor: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        torch.manual_seed(0)
        trunk = nn.Linear(3, 2).double()
        surgeon = Surgeon(trunk, PCGrad(), task_weights=weights)
        a, b = torch.randn(4, 3).double(), torch.randn(4, 3).double()
        with surgeon.step(torch.optim.SGD(trunk.parameters(), lr=0.1)):
            if together:
                with surgeon.one_pass(trunk, {"a": 4, "b": 4}):
                    out = trunk(torch.cat([a, b]))
                    losses = {"a": factor * out[:4].square().mean(), "b": -out[4:].mean()}
                    surgeon.backward(losses)
            else:
                surgeon.backward("a", factor * trunk(a).square().mean())
                surgeon.backward("b", -trunk(b).mean())
        return trunk.weight.detach(), surgeon.last.losses

    (weighted, shown), (scaled, _), (_, plain) = (
        steps({"a": 3.0}, 1.0), steps(None, 3.0), steps(None, 1.0)
    )  # fmt: skip
    torch.testing.assert_close(weighted, scaled, rtol=1e-12, atol=0)
    assert shown == pytest.approx(plain, rel=1e-12)


def test_a_seed_decides_what_the_method_draws() -> None:
    drawn = []
    for seed in (0, 1, 0):
        net = Net()
        surgeon = Surgeon(net, RandomWeights(), seed=seed)
        for step in range(2):
            with surgeon.step(adamw(net)):
                for task, x in examples(step).items():
                    surgeon.backward(task, net.loss(task, x))
        drawn.append(surgeon.last.weights)
    assert drawn[0] == drawn[2] != drawn[1]


def test_what_tasks_do_not_share_is_remembered() -> None:
    net = Net()
    surgeon, other = Surgeon(net, NashMTL()), Surgeon(net, NashMTL())
    take(surgeon, net, None, 0)
    state = surgeon.state_dict()
    assert state["partly"] == [n for n, _ in net.named_parameters() if n.startswith("heads.")]
    other.load_state_dict(state)
    assert other.state_dict() == state
