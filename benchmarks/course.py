"""A training loop in the style of a course's handout: what a competent student writes in a day.

Texts are tokenised when their batch is due and padded to its longest, gradients are projected as
reference implementations do (flatten, copy, project over all parameters, cut up again), the
optimizer goes from parameter to parameter, and every loss is read at once. Each of our techniques
can be switched on by itself.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from mtl_bert.data.batch import Batch, Tokenized
from mtl_bert.data.table import Encoded, Table
from mtl_bert.runs.text_model import TextModel
from mtl_bert.sampling import Step
from mtl_bert.sampling.epoch import Rows
from mtl_bert.surgery import GradientMatrix, PCGrad, Surgery
from mtl_bert.training.step import order_generator

PAPER = Surgery(PCGrad(include_self=True), scope="all", reduction="mean")


@dataclass(frozen=True)
class Ways:
    """Which of our techniques the loop uses.

    Attributes:
        encoded: texts are tokens already.
        packed: sequences go through the encoder without padding.
        surgery: on the Gram matrix of gradients as autograd made them.
        fused: AdamW in one kernel.
        half: bf16 where autocast allows it.
    """

    encoded: bool = False
    packed: bool = False
    surgery: bool = False
    fused: bool = False
    half: bool = False


class CourseLoop:
    """The loop.

    Args:
        text_model: whose model is trained.
        tables: the tasks' texts and labels.
        encoded: the tasks' tokens, for the ways that have them.
        lr: AdamW's.
        ways: what it does our way.
    """

    def __init__(
        self,
        text_model: TextModel,
        tables: Mapping[str, Table],
        encoded: Mapping[str, Encoded],
        lr: float,
        ways: Ways,
    ) -> None:
        self.losses: list[float] = []
        self._text_model, self._tables, self._encoded = text_model, tables, encoded
        self._ways, self._model = ways, text_model.model
        if ways.packed:
            assert self._model.pack()
        self._model.set_sparse_gradients(ways.surgery)
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=lr, foreach=False, fused=ways.fused
        )
        self._matrix = GradientMatrix(list(self._model.parameters()))

    def train(self, steps: Sequence[Step]) -> None:
        """Take some steps."""
        self._model.train()
        for number, step in enumerate(steps):
            self._optimizer.zero_grad()
            losses: Sequence[Tensor | float]
            if self._ways.surgery:
                losses = self._combine(step, number)
            elif len(step.rows) > 1:
                losses = found = [self._loss(task, rows) for task, rows in step.rows.items()]
                project(found, list(self._model.parameters()))
            else:
                ((task, rows),) = step.rows.items()
                losses = [loss := self._loss(task, rows)]
                (loss * step.phase.lambda_).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self.losses += [float(loss) for loss in losses]

    def _combine(self, step: Step, number: int) -> Sequence[Tensor | float]:
        self._matrix.start(list(step.rows))
        for task, rows in step.rows.items():
            self._matrix.add(task, self._loss(task, rows), scale=step.phase.lambda_)
        if step.phase.surgery:
            result = self._matrix.combine(PAPER, order_generator(0, 1, number))
        else:
            result = self._matrix.alone()
        return list(result.losses.values())

    def _loss(self, task: str, rows: Rows) -> Tensor:
        batch = self._batch(task, rows)
        half: AbstractContextManager[None] = nullcontext()
        if self._ways.half:
            half = torch.autocast("cpu", torch.bfloat16)
        with half:
            outputs = self._model(task, batch)
        assert batch.labels is not None
        loss: Tensor = self._model.tasks[task].loss(outputs.float(), batch.labels)
        return loss

    def _batch(self, task: str, rows: Rows) -> Batch:
        label_type = self._model.tasks[task].head.label_type
        if self._ways.encoded:
            return Tokenized(self._encoded[task], label_type)[rows]
        table, tokenize = self._tables[task], self._text_model.tokenize
        made = tokenize.tokenizer(
            *(list(texts) for texts in zip(*(table.texts[row] for row in rows), strict=True)),
            padding=True,
            truncation="longest_first",
            max_length=tokenize.max_length,
            return_tensors="pt",
        )
        real = made["attention_mask"].bool()
        assert table.labels is not None
        return Batch.of(
            real.sum(1).numpy(),
            made["input_ids"][real].numpy(),
            made["token_type_ids"][real].numpy() if "token_type_ids" in made else None,
            torch.from_numpy(table.labels[rows]).to(label_type),
            rows,
        )


def project(losses: Sequence[Tensor], parameters: Sequence[Parameter]) -> None:
    """PCGrad as reference implementations write it, into the parameters' ``grad``."""
    rows, reached = [], []
    for loss in losses:
        for parameter in parameters:
            parameter.grad = None
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        dense = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        rows.append(torch.cat([gradient.flatten() for gradient in dense]))
        there = [torch.full([p.numel()], p.grad is not None) for p in parameters]
        reached.append(torch.cat(there))
    shared = torch.stack(reached).all(0)
    projected = [row.clone() for row in rows]
    for gradient in projected:
        random.shuffle(rows)
        for other in rows:
            product = torch.dot(gradient, other)
            if product < 0:
                gradient -= product * other / other.norm() ** 2
    merged = torch.zeros_like(rows[0])
    merged[shared] = torch.stack([row[shared] for row in projected]).mean(0)
    merged[~shared] = torch.stack([row[~shared] for row in projected]).sum(0)
    start = 0
    for parameter in parameters:
        parameter.grad = merged[start : start + parameter.numel()].view_as(parameter).clone()
        start += parameter.numel()
