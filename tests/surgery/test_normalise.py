"""Surgery on the gradients of the losses' logarithms, against logarithms taken by hand."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mtl_bert.runs.factories import make_surgery
from mtl_bert.surgery import DBMTL, IMTLL, MGDA, GradientMatrix, Sum, Surgeon, Surgery
from mtl_bert.surgery.methods.base import weights_of
from tests.composing import settings_of, surgery_words
from tests.surgery.steps import random_rows, seeded, step

GRAM = (
    *("aligned_mtl", "cagrad", "dualproj", "fairgrad", "fixed", "gradvac", "imtl_g", "mean"),
    *("mgda", "nash_mtl", "none", "pcd", "pcgrad", "pcgrad_paper", "rlw", "upgrad"),
)
TASKS = ("sst", "sts", "qqp")


class Net(nn.Module):
    """A trunk and a head for each of three tasks, whose losses differ a thousandfold."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trunk = nn.Linear(4, 6)
            self.heads = nn.ModuleDict({task: nn.Linear(6, 1) for task in TASKS})
        self.double()

    def losses(self) -> dict[str, Tensor]:
        found = {}
        for number, task in enumerate(TASKS):
            x = random_rows(5, 4, number)
            error = self.heads[task](torch.tanh(self.trunk(x))) - number + 1
            found[task] = 1000.0 ** (number - 1) * error.square().mean()
        return found

    def grads(self) -> dict[str, Tensor]:
        return {name: p.grad.clone() for name, p in self.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", GRAM)
def test_it_is_surgery_on_logarithms(name: str) -> None:
    """Of the trunk and of the heads, whichever of them the method weights."""
    one, other = Net(), Net()
    plain = make_surgery(settings_of(*surgery_words(name)))
    normalised = replace(copy.deepcopy(plain), normalise="loss")
    surgeons = Surgeon(one, normalised), Surgeon(other, plain)
    for _ in range(2):  # some remember
        with surgeons[0].step(None):
            surgeons[0].backward(one.losses())
        with surgeons[1].step(None):
            surgeons[1].backward({task: loss.log() for task, loss in other.losses().items()})
        for parameter, expected in other.grads().items():
            torch.testing.assert_close(one.grads()[parameter], expected, rtol=1e-4, atol=1e-6)
    assert surgeons[0].last.losses == {task: x.item() for task, x in one.losses().items()}


def test_the_command_line_takes_it() -> None:
    assert make_surgery(settings_of("surgery=pcgrad")).normalise == "none"
    words = ("surgery=pcgrad", "surgery.normalise=loss")
    assert make_surgery(settings_of(*words)).normalise == "loss"


def test_the_sum_normalised_is_imtl_l_and_imtl_l_is_normalised_already() -> None:
    seen = step(random_rows(4, 6, 0))
    expected = weights_of(IMTLL(), seen)
    for method in (Sum(), IMTLL()):
        weights, outside = Surgery(method, normalise="loss").weights(seen)
        torch.testing.assert_close(weights, expected)
        torch.testing.assert_close(outside, expected)


def test_db_mtl_is_the_loop_of_its_authors_without_its_average() -> None:
    net, by_hand = Net(), Net()
    surgeon = Surgeon(net, make_surgery(settings_of("surgery=db_mtl")))
    with surgeon.step(None):
        surgeon.backward(net.losses())
    trunk = list(by_hand.trunk.parameters())
    logs = [loss.log() for loss in by_hand.losses().values()]
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(log, trunk, retain_graph=True)])
        for log in logs
    ]
    longest = max(row.norm() for row in rows)
    expected = sum(longest / row.norm() * row for row in rows)
    found = net.grads()
    torch.testing.assert_close(
        torch.cat([found["trunk.weight"].flatten(), found["trunk.bias"]]), expected
    )
    torch.stack(logs).sum().backward()  # heads
    for name, grad in by_hand.grads().items():
        assert name.startswith("trunk") or torch.allclose(found[name], grad)


def test_db_mtl_makes_all_gradients_of_logarithms_equally_long() -> None:
    seen = step(random_rows(4, 6, 1))
    weights = weights_of(DBMTL(), seen)
    lengths = seen.gram.diagonal().sqrt() / seen.losses
    torch.testing.assert_close(weights * seen.gram.diagonal().sqrt(), lengths.max().expand(4))
    again, _ = Surgery(DBMTL(), normalise="loss").weights(seen)
    torch.testing.assert_close(again, weights)


def test_an_fp16_scale_is_gone_before_losses_are_divided_by() -> None:
    found = []
    for scale in (1.0, 1024.0):
        net = Net()
        matrix = GradientMatrix(list(net.parameters()))
        matrix.start(TASKS)
        for task, loss in net.losses().items():
            matrix.add(task, loss, scale=scale, retain_graph=True)
        matrix.combine(Surgery(MGDA(), "shared", normalise="loss"), seeded(0), scale)
        found.append(net.grads())
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad, rtol=1e-12, atol=1e-14)


def test_a_loss_that_is_zero_with_its_gradient_takes_no_part() -> None:
    net = nn.Linear(3, 2).double()
    alone = copy.deepcopy(net)
    x = random_rows(4, 3, 0)
    for each, losses in ((net, (0, 1)), (alone, (1,))):
        surgeon = Surgeon(each, Surgery(MGDA(), normalise="loss"))
        with surgeon.step(None):
            for k in losses:
                surgeon.backward(str(k), k * each(x).square().mean())
    torch.testing.assert_close(net.weight.grad, alone.weight.grad)
