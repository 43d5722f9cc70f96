"""Steps per second on one device: how tasks go through the encoder, precision, and surgery's share.

Contestants train models of well-known sizes with random weights on batches of the tasks' usual
lengths, interleaved, with the first one again as control. Times are wall clock up to the end of the
device's work.
"""

import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.encoders import batches, model
from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel
from mtl_bert.sampling.epoch import Phase, Step
from mtl_bert.sampling.loader import Part, PlanStep
from mtl_bert.surgery import PCGrad, Surgeon, Surgery
from mtl_bert.training.step import take_step
from mtl_bert.utils.errors import first_line

PAPER = Surgery(PCGrad(include_self=True), scope="all", reduction="mean")
PEAK = {"fp32": 67e12, "bf16": 989e12, "fp16": 989e12}  # of an H100 SXM without sparsity, FLOP/s
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Way:
    """How a step is taken.

    Attributes:
        name: in the table.
        surgery: PCGrad, or the losses' sum in one plain backward pass.
        one_pass: all tasks go through the encoder together.
        compiled: the encoder is compiled by torch.
        usual: gradients are flattened, copied and projected as a course's code does.
    """

    name: str
    surgery: bool = True
    one_pass: bool = False
    compiled: bool = False
    usual: bool = False


WAYS = (
    Way("no surgery, one plain pass", surgery=False, one_pass=True),
    Way("no surgery, one plain pass, again", surgery=False, one_pass=True),
    Way("PCGrad, one pass", one_pass=True),
    Way("PCGrad, a pass for each task"),
    Way("PCGrad as usually written", usual=True),
    Way("no surgery, one plain pass, compiled", surgery=False, one_pass=True, compiled=True),
    Way("PCGrad, a pass for each task, compiled", compiled=True),
)


def steps_of(K: int, examples: int, device: str, count: int) -> list[PlanStep[Batch]]:
    """Joint steps of K tasks; ``count`` different ones."""
    found = []
    for number in range(count):
        made = batches(K, examples, number)
        plan = Step(Phase("rr"), {task: batch.rows for task, batch in made.items()})
        parts = {task: [Part(batch, 1.0)] for task, batch in made.items()}
        found.append(PlanStep(1, number, plan, parts).to(device))
    return found


def usual_step(net: MultiTaskModel, optimizer: Any, step: PlanStep[Batch]) -> None:
    """Flatten, copy, project over all parameters, average, cut up."""
    parameters, rows = list(net.parameters()), []
    for task, batch in step.batches.items():
        optimizer.zero_grad()
        loss_of(net, task, batch).backward()  # type: ignore[no-untyped-call]
        rows.append(
            torch.cat([
                (torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters
            ])
        )  # fmt: skip
    projected = [row.clone() for row in rows]
    for row in projected:
        for j in torch.randperm(len(rows)).tolist():
            conflict = torch.dot(row, rows[j])
            if conflict < 0:
                row -= conflict * rows[j] / rows[j].norm() ** 2
    merged = torch.stack(projected).mean(0)
    grads = torch.split(merged, [p.numel() for p in parameters])
    for p, grad in zip(parameters, grads, strict=True):
        p.grad = grad.view_as(p)
    optimizer.step()


def loss_of(net: MultiTaskModel, task: str, batch: Batch, outputs: Tensor | None = None) -> Tensor:
    """A task's mean loss."""
    assert batch.labels is not None
    outputs = net(task, batch) if outputs is None else outputs
    with torch.autocast(outputs.device.type, enabled=False):
        loss: Tensor = net.tasks[task].loss(outputs.float(), batch.labels)
    return loss


def contestant(
    way: Way, size: str, K: int, examples: int, precision: str, device: str
) -> Callable[[int], None]:
    """A function that takes so many steps of a model of its own."""
    net = model(size, K).to(device).train()
    if way.compiled:
        net.encoder.compile(dynamic=True)
    cuda = device == "cuda"
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6, fused=cuda)
    surgeon = Surgeon(net, PAPER)
    steps = steps_of(K, examples, device, 8)
    half = AUTOCAST.get(precision)

    def summed(step: PlanStep[Batch]) -> None:
        optimizer.zero_grad(set_to_none=True)
        outputs = net.together(step.batches)
        losses = [loss_of(net, t, batch, outputs[t]) for t, batch in step.batches.items()]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def take(count: int) -> None:
        for number in range(count):
            step = steps[number % len(steps)]
            with nullcontext() if half is None else torch.autocast(device, half):
                if way.usual:
                    usual_step(net, optimizer, step)
                elif way.surgery:
                    take_step(net, surgeon, optimizer, step, seed=0, one_pass=way.one_pass)
                else:
                    summed(step)

    return take


@contextmanager
def finished(device: str) -> Iterator[None]:
    """Wait for the device's work on leaving."""
    yield
    if device == "cuda":
        torch.cuda.synchronize()


def measure(
    ways: Sequence[Way],
    size: str,
    K: int,
    examples: int,
    precision: str,
    device: str,
    *,
    warm: int,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Milliseconds per step of every way, by medians over interleaved rounds."""
    works: dict[str, Callable[[int], None]] = {}
    failed: dict[str, str] = {}
    for way in ways:
        try:
            works[way.name] = contestant(way, size, K, examples, precision, device)
            with finished(device):
                works[way.name](warm)
        except Exception as error:  # what a way cannot do is part of the answer
            works.pop(way.name, None)
            failed[way.name] = f"{type(error).__name__}: {first_line(error)[:160]}"
    began = time.perf_counter()
    with finished(device):
        for take in [*works.values()][:1]:
            take(warm)
    count = max(1, int(warm * seconds / max(time.perf_counter() - began, 1e-6)))
    times: Mapping[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, take in works.items():
            began = time.perf_counter()
            with finished(device):
                take(count)
            times[name].append(1000 * (time.perf_counter() - began) / count)
    steps = steps_of(K, examples, "cpu", 8)
    tokens = sum(len(b.input_ids) for s in steps for b in s.batches.values()) / len(steps)
    net = model(size, K)
    body = sum(p.numel() for n, p in net.named_parameters() if "embeddings" not in n)
    milliseconds = {name: median(values) for name, values in times.items()}
    del works, net
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    return {
        "size": size, "K": K, "examples": examples, "precision": precision, "steps": count,
        "milliseconds": milliseconds, "failed": failed, "tokens": tokens,
        "utilisation": {
            name: 6 * body * tokens / (each / 1000) / PEAK[precision]
            for name, each in milliseconds.items()
        },
    }  # fmt: skip


CASES = tuple(
    (size, K, examples, precision)
    for size in ("minilm", "base")
    for precision in ("fp32", "bf16", "fp16")
    for K, examples in ((3, 8), (8, 8), (3, 64))
    if precision == "bf16" or (K, examples) == (3, 8)
)


def throughput(device: str, out: Path, *, smoke: bool, limit: float) -> tuple[str, bool]:
    """Measure all cases until the time is over; writes ``throughput.json``.

    Gives a table for people, and whether some way of every case could be measured.
    """
    began, found = time.perf_counter(), []
    ways = [way for way in WAYS if not way.compiled]
    cases: list[tuple[Sequence[Way], str, int, int, str]] = [
        (ways, *case) for case in ((("tiny", 3, 2, "fp32"),) if smoke else CASES)
    ]
    if not smoke:  # last, as a compiler takes most of a minute
        cases.append(((WAYS[0], *(way for way in WAYS if way.compiled)), "minilm", 3, 8, "bf16"))
    for some, size, K, examples, precision in cases:
        if time.perf_counter() - began > limit:
            break
        each = measure(
            some, size, K, examples, precision, device,
            warm=1 if smoke else 10, rounds=1 if smoke else 5, seconds=0.01 if smoke else 0.25,
        )  # fmt: skip
        found.append(each)
        (out / "throughput.json").write_text(json.dumps(found, indent=1), "utf-8")
    table = Table(title="milliseconds per step (share of an H100's peak)", expand=False)
    for heading in (
        "",
        *(f"{f['size']} K={f['K']} × {f['examples']} {f['precision']}" for f in found),
    ):
        table.add_column(heading, justify="right" if heading else "left")
    for way in WAYS:
        cells = []
        for each in found:
            if way.name in each["milliseconds"]:
                share = each["utilisation"][way.name]
                cells.append(f"{each['milliseconds'][way.name]:.2f} ({share:.1%})")
            else:
                cells.append("failed" if way.name in each["failed"] else "")
        table.add_row(way.name, *cells)
    with (out / "throughput.txt").open("w", encoding="utf-8") as file:
        console = Console(width=200, record=True, file=file)
        console.print(table)
    left = len(cases) - len(found)
    told = f"{console.export_text()}{f'{left} cases were left out for time' if left else ''}"
    return told, all(each["milliseconds"] for each in found)
