"""What processes tell each other in a step, and when."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mtl_bert.sampling import Phase
from mtl_bert.surgery import (
    DBMTL,
    AveragedRows,
    GradientMatrix,
    PCGrad,
    Surgeon,
    Surgery,
    distributed,
)
from tests.forking import together

EXAMPLES = {"a": 5, "b": 1, "c": 4}


def model() -> tuple[nn.Module, dict[str, nn.Module]]:
    torch.manual_seed(0)
    shared = nn.Linear(6, 4).double()
    return shared, {task: nn.Linear(4, 1).double() for task in EXAMPLES}


def data(task: str) -> torch.Tensor:
    return torch.randn(
        EXAMPLES[task],
        6,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(len(task) + ord(task)),
    )


def gradients(
    shares: dict[str, list[slice]], surgery: Surgery, rank: int | None
) -> dict[str, torch.Tensor]:
    shared, heads = model()
    named = {f"shared.{n}": p for n, p in shared.named_parameters()}
    named |= {f"{t}.{n}": p for t, head in heads.items() for n, p in head.named_parameters()}
    reach = {t: [name.split(".")[0] in ("shared", t) for name in named] for t in EXAMPLES}
    rows = None if rank is None else AveragedRows(list(named.values()), reach.__getitem__)
    matrix = GradientMatrix(list(named.values()), rows)
    for _ in range(2):  # the buffer is used again
        matrix.start(list(shares))
        for task, parts in shares.items():
            for part in parts:
                batch = data(task)[part]
                loss = heads[task](shared(batch).tanh()).square().mean()
                matrix.add(task, loss, len(batch) / EXAMPLES[task])
        seen = matrix.combine(surgery, torch.Generator().manual_seed(3))
    grads = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
    return grads | {"gram": seen.gram, "losses": torch.tensor(list(seen.losses.values()))}


WHOLE = {task: [slice(None)] for task in EXAMPLES}
SHARES = [
    {"a": [slice(0, 2), slice(2, 3)], "b": [slice(None)], "c": []},
    {"a": [slice(3, 5)], "b": [], "c": [slice(0, 3), slice(3, 4)]},
]


@pytest.mark.parametrize(
    "surgery",
    [
        Surgery(PCGrad(), "shared"),
        Surgery(PCGrad(True), "all", "mean"),
        Surgery(DBMTL(), "shared", normalise="loss"),
    ],
)
def test_uneven_shares_weigh_by_examples(tmp_path: Path, surgery: Surgery) -> None:
    collectives = 0

    def work(rank: int) -> None:
        nonlocal collectives
        real = dist.all_reduce

        def counted(*args: object, **settings: object) -> object:
            nonlocal collectives
            collectives += 1
            return real(*args, **settings)

        dist.init_process_group("gloo")
        dist.all_reduce = counted
        found = gradients(SHARES[rank], surgery, rank)
        assert collectives == 2  # steps
        torch.save(found, tmp_path / f"{rank}.pt")
        dist.barrier()

    assert together(2, work) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    whole = gradients(WHOLE, surgery, None)
    assert whole.keys() == first.keys() == second.keys()
    for name, value in whole.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-12, atol=1e-14)


def test_parts_of_a_batch_add_up() -> None:
    parts = {t: a[t] + b[t] for a, b in [SHARES] for t in EXAMPLES}
    whole, summed = (gradients(s, Surgery(PCGrad()), None) for s in (WHOLE, parts))
    for name, value in whole.items():
        torch.testing.assert_close(summed[name], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("told", [True, False])
def test_two_surgeons_are_one(tmp_path: Path, told: bool) -> None:
    """Whether or not they are told the step's tasks, of which each process has only some."""

    def steps(place: Path, shares: dict[str, list[slice]]) -> None:
        shared, heads = model()
        net = nn.ModuleDict({"shared": shared, **heads})
        if dist.is_initialized() and dist.get_rank() == 1:
            nn.init.zeros_(shared.weight)  # the first process's weights are everybody's
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        surgeon = Surgeon(net, Surgery(PCGrad(True), "all", "mean"), seed=2)
        tasks = list(EXAMPLES) if told else None
        for _ in range(3):
            with surgeon.step(optimizer, tasks=tasks):
                for task, parts in shares.items():
                    for part in parts:
                        batch = data(task)[part]
                        loss = heads[task](shared(batch).tanh()).square().mean()
                        surgeon.backward(task, loss, share=len(batch) / EXAMPLES[task])
        torch.save([net.state_dict(), surgeon.last.losses], place)

    def work(rank: int) -> None:
        dist.init_process_group("gloo", rank=rank, world_size=2)
        steps(tmp_path / f"{rank}", SHARES[rank])
        dist.destroy_process_group()

    assert together(2, work) == [0, 0]
    steps(tmp_path / "one", WHOLE)
    one, *two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "0", "1"))
    for weights, losses in two:
        assert losses == pytest.approx(one[1], rel=1e-12)
        for name, value in one[0].items():
            torch.testing.assert_close(weights[name], value, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(two[0][0][name], two[1][0][name]) for name in one[0])


@pytest.mark.parametrize("told", [True, False])
def test_of_a_sparse_table_only_touched_rows_are_sent(tmp_path: Path, told: bool) -> None:
    """Two processes are one, whatever rows each touches; a task may touch none, a process none."""
    tokens = {"a": [3, 90, 3, 7, 12], "b": [90], "c": [5, 6, 7, 99]}

    def steps(place: Path, shares: dict[str, list[slice]], sparse: bool = True) -> None:
        torch.manual_seed(0)
        net = nn.ModuleDict({task: nn.Linear(4, 1).double() for task in EXAMPLES})
        net["words"] = nn.Embedding(100, 4, sparse=sparse).double()
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        surgeon = Surgeon(net, Surgery(PCGrad(True), "all", "mean"), seed=2)
        sent, real = [], dist.all_reduce

        def counted(tensor: torch.Tensor, **settings: object) -> object:
            sent.append(tensor.numel())
            return real(tensor, **settings)

        dist.all_reduce = counted
        for step in range(3):
            now = {t: p for t, p in shares.items() if step or t != "c"}
            with surgeon.step(
                optimizer, tasks=[t for t in EXAMPLES if step or t != "c"] if told else None
            ):
                for task, parts in now.items():
                    for part in parts:
                        found = net["words"](torch.tensor(tokens[task][part])).tanh()
                        loss = net[task](found).square().mean()
                        surgeon.backward(task, loss, share=len(found) / EXAMPLES[task])
        dist.all_reduce = real
        torch.save([net.state_dict(), surgeon.last.losses, sent], place)

    def work(rank: int) -> None:
        dist.init_process_group("gloo", rank=rank, world_size=2)
        steps(tmp_path / f"{rank}", SHARES[rank])
        dist.destroy_process_group()

    assert together(2, work) == [0, 0]
    steps(tmp_path / "one", WHOLE, sparse=False)
    one, *two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "0", "1"))
    for weights, losses, sent in two:
        assert losses == pytest.approx(one[1], rel=1e-12)
        for name, value in one[0].items():
            torch.testing.assert_close(weights[name], value, rtol=1e-10, atol=1e-12)
        # Without c four different rows of the hundred are touched, with it seven.
        K, rows, parameters, heads = np.array([2, 3, 3]), np.array([4, 7, 7]), 7, 15
        # Their numbers; each task's loss; what each task reached, and the wish to stop.
        assert sent == (K * (heads + 4 * rows) + K + K * parameters + 1).tolist()
    assert all(torch.equal(two[0][0][name], two[1][0][name]) for name in one[0])


def test_without_shares_processes_weigh_alike(tmp_path: Path) -> None:
    """As DistributedDataParallel averages them."""

    def work(rank: int) -> None:
        dist.init_process_group("gloo", rank=rank, world_size=2)
        weight = nn.Parameter(torch.zeros(1))
        surgeon = Surgeon({"w": weight}, PCGrad())
        with surgeon.step(torch.optim.SGD([weight], lr=1.0)):
            surgeon.backward("a", (1.0 + rank) * weight.sum() + rank)
        torch.save([weight.item(), surgeon.last.losses["a"]], tmp_path / f"{rank}")
        dist.destroy_process_group()

    assert together(2, work) == [0, 0]
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}") == pytest.approx([-1.5, 0.5])


class Trunk(nn.Module):
    """A table with sparse gradients, a layer called twice, and one whose output nobody looks at."""

    def __init__(self, checkpointed: bool) -> None:
        super().__init__()
        self.words, self.checkpointed = nn.Embedding(40, 4, sparse=True), checkpointed
        self.first, self.middle, self.last, self.unseen = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, ids: Tensor, log: list[str]) -> Tensor:
        """Log when the backward pass comes to the output of a layer."""
        x = self.words(ids).mean(1)
        if self.checkpointed:
            found: Tensor = checkpoint(self.layers, x, log, use_reentrant=False)
            return found
        return self.layers(x, log)

    def layers(self, x: Tensor, log: list[str]) -> Tensor:
        for name in ("first", "middle", "middle", "last"):
            x = getattr(self, name)(x).tanh()
            x.register_hook(lambda _, name=name: log.append(name))
        self.unseen(x)
        return x


@contextmanager
def logged(log: list[str]) -> Iterator[None]:
    """Log when sums over processes begin, of one layer's or one task's numbers each."""
    all_reduce, bucket = dist.all_reduce, distributed.BUCKET

    def logging(*args: Any, **settings: Any) -> Any:
        log.append("sum")
        return all_reduce(*args, **settings)

    dist.all_reduce, distributed.BUCKET = logging, 1
    try:
        yield
    finally:
        dist.all_reduce, distributed.BUCKET = all_reduce, bucket


class Training:
    """Steps of one process, or of two with their shares of the same examples."""

    def __init__(
        self, shares: dict[str, list[slice]], by_layer: bool = False, checkpointed: bool = False
    ) -> None:
        torch.manual_seed(0)
        trunk, heads = Trunk(checkpointed), {task: nn.Linear(4, 1) for task in EXAMPLES}
        self.net = nn.ModuleDict({"trunk": trunk, **heads}).double()
        self.surgeon = Surgeon(
            self.net, PCGrad(), reach=lambda task, name: name.split(".")[0] in ("trunk", task)
        )
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=0.1)
        self.shares, self.by_layer, self.number = shares, by_layer, 0
        self.told = {task: len(parts) for task, parts in shares.items()}

    def step(self, factor: float = 1.0, frozen: tuple[str, ...] = ()) -> list[str]:
        """Take the next step, with a factor on the losses of task a; what happened when."""
        self.number, log = self.number + 1, list[str]()
        passes: list[dict[str, slice | None]] = [
            {task: part} for task, parts in self.shares.items() for part in parts
        ]
        if self.by_layer:
            together = zip_longest(*self.shares.values())
            passes = [dict(zip(self.shares, parts, strict=True)) for parts in together]
        with (
            logged(log),
            self.surgeon.step(
                self.optimizer, Phase("", frozen=frozen), tasks=self.told, by_layer=self.by_layer
            ),
        ):
            for parts in passes:
                self._go_through({t: part for t, part in parts.items() if part}, factor, log)
            log.append("end")
        return log

    def _go_through(self, parts: dict[str, slice], factor: float, log: list[str]) -> None:
        ids = {task: self._texts(task)[part] for task, part in parts.items()}
        sizes = {task: len(texts) for task, texts in ids.items()}
        log.append(" and ".join(parts))
        trunk = self.net["trunk"]
        with self.surgeon.one_pass(trunk, sizes) if self.by_layer else nullcontext():
            found = trunk(torch.cat(list(ids.values())), log).split(list(sizes.values()))
            losses = {t: self.net[t](x).square().mean() for t, x in zip(ids, found, strict=True)}
            losses |= {t: factor * loss for t, loss in losses.items() if t == "a"}
            self.surgeon.backward(losses, share={t: n / EXAMPLES[t] for t, n in sizes.items()})

    def _texts(self, task: str) -> Tensor:
        generator = torch.Generator().manual_seed(self.number * 100 + ord(task))
        return torch.randint(40, (EXAMPLES[task], 3), generator=generator)


def several_steps(training: Training, last: bool) -> list[Any]:
    """One after another: a plain one, one with a frozen layer, one in which one process is to stop,
    one that is not finite there, and a plain one."""
    surgeon, seen = training.surgeon, list[Any]()
    logs = [training.step(), training.step(frozen=("trunk.middle.*",))]
    surgeon.stop_requested = last
    for factor in (1.0, torch.nan if last else 1.0, 1.0):
        logs.append(training.step(factor))
        seen.append([surgeon.stop_requested, surgeon.last.skipped])
        surgeon.stop_requested = False
    return [logs, seen, training.net.state_dict()]


HEAD, LAYER = ["sum"] * 2, ["sum"] * 2  # weight and bias
BACK = ["last", *LAYER, *LAYER, "middle", "middle", *LAYER, "first", "sum", "end", "sum"]
EVENTS = {
    False: [
        # What is b's comes after a's, and c, of which there is nothing, with all else at the end.
        ["a", "a", "sum", "b", "sum", "end", "sum"],
        ["a", "sum", "sum", "c", "c", "end", "sum"],
    ],
    True: [
        # From the last parameter to the first: c's head, b's, a's, and what nobody looks at.
        ["a and b", *HEAD, *HEAD, "last", "middle", "middle", "first", "a", *HEAD, *BACK],
        ["a and c", "last", "middle", "middle", "first", "c", *HEAD, *HEAD, *HEAD, *BACK],
    ],
}


@pytest.mark.parametrize(
    ("by_layer", "checkpointed"), [(False, False), (True, False), (True, True)]
)
def test_what_is_complete_is_sent_while_the_rest_is_computed(
    tmp_path: Path, by_layer: bool, checkpointed: bool
) -> None:
    """And nothing before its last part, in the same order whichever tasks a process has."""

    def work(rank: int) -> None:
        dist.init_process_group("gloo", rank=rank, world_size=2)
        found = several_steps(Training(SHARES[rank], by_layer, checkpointed), rank == 1)
        torch.save(found, tmp_path / f"{rank}")
        dist.destroy_process_group()

    assert together(2, work) == [0, 0]
    _, one_seen, one = several_steps(Training(WHOLE), True)
    assert one_seen == [[True, ()], [False, ("a",)], [False, ()]]
    ways = [torch.load(tmp_path / f"{rank}", weights_only=True) for rank in (0, 1)]
    for expected, (logs, seen, weights) in zip(EVENTS[by_layer], ways, strict=True):
        layers = () if by_layer else ("first", "middle", "last")
        for log in (logs[0], *logs[2:]):
            assert [event for event in log if event not in layers] == expected
        assert seen == one_seen
        for name, value in one.items():
            torch.testing.assert_close(weights[name], value, rtol=1e-10, atol=1e-12)
            assert torch.equal(weights[name], ways[0][2][name])


@pytest.mark.parametrize("by_layer", [False, True])
def test_an_error_in_one_process_ends_the_others(by_layer: bool) -> None:
    """None waits for it forever, or goes on with what was sent of the step."""

    def work(rank: int) -> None:
        dist.init_process_group("gloo", rank=rank, world_size=2)
        training = Training(SHARES[rank], by_layer)
        training.step()
        if rank:
            del training.net["c"]
        with pytest.raises(KeyError if rank else RuntimeError, match="c" if rank else "onnect"):
            training.step()
        if rank and not by_layer:  # a's and b's were sent
            with pytest.raises(RuntimeError, match="an error ended after a part of it was sent"):
                training.step()

    assert together(2, work) == [0, 0]


def test_a_loss_more_than_was_told_is_found_out() -> None:
    def work(rank: int) -> None:
        dist.init_process_group("gloo", rank=rank, world_size=1)
        weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
        matrix = GradientMatrix(weights, AveragedRows(weights, lambda _: [True, True]))
        distributed.BUCKET = 1
        for told in ({"a": 2, "b": 1}, "ab", {"a": 1, "b": 1}):
            matrix.start(told)
            matrix.add("a", weights[0].sum())
            if told == {"a": 1, "b": 1}:
                with pytest.raises(RuntimeError, match="expected as many losses of a as"):
                    matrix.add("a", weights[0].sum())
                return
            matrix.add("a", weights[0].sum())
            matrix.add("b", weights[1].sum())
            assert matrix.take().rows == [[2, None], [None, 1]]

    assert together(1, work) == [0]


def test_numbers_of_several_types_are_refused() -> None:
    parts = [nn.Parameter(torch.zeros(2, dtype=kind)) for kind in (torch.float32, torch.bfloat16)]
    with pytest.raises(ValueError, match="parameters: expected one type of number with several"):
        AveragedRows(parts, lambda _: [True, True])
