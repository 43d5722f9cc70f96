"""One collective for everything that processes have to tell each other in a step."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from mtl_bert.surgery import DBMTL, AveragedRows, GradientMatrix, PCGrad, Surgeon, Surgery
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
