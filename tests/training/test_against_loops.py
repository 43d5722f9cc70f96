"""Whole runs against Algorithms 1 to 3 written out by hand: the same rows, the same weights."""

import copy
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from mtl_bert.config.settings import Settings
from mtl_bert.model import MultiTaskModel
from mtl_bert.runs.factories import make, make_corpus, make_sampler, make_tasks
from mtl_bert.sampling import Single
from mtl_bert.sampling.epoch import Epoch
from mtl_bert.training.build import Assembly, assemble, make_trainer
from mtl_bert.training.step import order_generator
from tests.composing import settings_of
from tests.surgery import dense
from tests.training import loops

EPOCHS, BATCH, B, LAMBDA, SEED, LR = 2, 4, 18, 0.3, 3, 1e-3
SIZES = {"sst": 26, "qqp": 849, "sts": 18}

EXACT = (
    "data.scale=0.003",
    *(f"tasks.{task}.sources.demo.dev=8" for task in SIZES),
    f"epochs={EPOCHS}",
    f"batch_size={BATCH}",
    f"seed={SEED}",
    f"lr={LR}",
    "optimizer=paper",
    "trainer.precision=64-true",
    "trainer.baseline=false",
    "trainer.passes=one",  # the golden losses are of a pass for each
    "model.dropout=0",
    "model.source.settings.hidden_dropout_prob=0",
    "model.source.settings.attention_probs_dropout_prob=0",
)
SHORT = {
    "vanilla": f"B={B}", "annealed": f"B={B}", "rr": "", "arrp": f"B={B}", "tiers": f"B=[7,{B}]",
    "two_stage": f"B={B}",
}  # fmt: skip
TIERS = [["sts"], ["sst"], ["qqp"]]
WEIGHT = 0.25


def by_hand(sampler: str, epoch: int, sizes: dict[str, int]) -> loops.Steps:
    return {
        "vanilla": lambda: loops.vanilla(sizes, epoch, SEED, BATCH, B),
        "annealed": lambda: loops.annealed(sizes, epoch, EPOCHS, SEED, BATCH, B),
        "rr": lambda: loops.round_robin(sizes, epoch, SEED, BATCH),
        "arrp": lambda: loops.arrp(sizes, epoch, SEED, BATCH, B),
        "full": lambda: loops.full(sizes, epoch, SEED, BATCH),
        "single": lambda: loops.full(sizes, epoch, SEED, BATCH, "single"),
        "tiers": lambda: loops.tiers(sizes, TIERS, epoch, SEED, BATCH, [7, B]),
        "two_stage": lambda: loops.two_stage(sizes, epoch, 1, SEED, BATCH, B, 5.0),
    }[sampler]()


def as_lists(plan: Epoch) -> loops.Steps:
    return [
        (step.phase.name, {task: rows.tolist() for task, rows in step.rows.items()})
        for step in plan.steps
    ]


def settings_for(sampler: str, *more: str) -> Settings:
    short = [SHORT[sampler]] if SHORT.get(sampler) else []
    growth = ["sampler.growth=1.4"] if sampler == "tiers" else []
    return settings_of(f"sampler={sampler}", *EXACT, *short, *growth, *more)


@pytest.mark.parametrize(
    "sampler",
    ["vanilla", "annealed", "rr", "arrp", "full", "single", "tiers", "two_stage"],
)
def test_the_rows_are_those_of_the_loop(sampler: str) -> None:
    planned = make_sampler(settings_for(sampler))
    for epoch in range(1, EPOCHS + 1):
        plan = planned(SIZES, epoch, EPOCHS, SEED)
        assert as_lists(plan) == by_hand(sampler, epoch, SIZES)


class NaiveRun:
    """The loop's model, its optimizer without fused kernels, and its way from row to loss."""

    def __init__(self, settings: Settings, parts: Assembly) -> None:
        source, self.tasks = make(settings.model.source), make_tasks(settings)
        self.parts, self.tables = parts, make_corpus(settings, self.tasks).read("train")
        self.tokenizer: PreTrainedTokenizerBase = source.tokenizer()
        torch.manual_seed(SEED)
        self.model = MultiTaskModel(
            self.tasks,
            source,
            dropout=0,
            encoder_per_task=isinstance(make_sampler(settings), Single),
        ).double()
        self.parameters = list(self.model.parameters())
        self.start_over()

    def start_over(self) -> None:
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=LR, weight_decay=0.01, foreach=False, fused=False
        )

    def loss(self, task: str, rows: list[int]) -> Tensor:
        table = self.tables[task]
        assert table.labels is not None
        texts = [list(column) for column in zip(*(table.texts[row] for row in rows), strict=True)]
        tokens = self.tokenizer(*texts, padding=True, return_tensors="pt")
        per_task = hasattr(self.model, "encoders")
        encoder = self.model.encoders[task] if per_task else self.model.encoder
        outputs = self.model.heads[task](encoder(**tokens).pooler_output)
        labels = torch.tensor(table.labels[rows])
        if outputs.shape[1] > 1:
            return torch.nn.functional.cross_entropy(outputs, labels.long())
        if sorted(set(table.labels.tolist())) == [0, 1]:
            return torch.nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], labels)
        # Labels travel as float32, which 3.8 is not exactly.
        return ((outputs[:, 0] - labels.float().double()) ** 2).mean()

    def train(
        self,
        sampler: str,
        surgery: dict[str, object],
        phases: dict[str, tuple[float, tuple[str, ...]]],
        weights: dict[str, float],
    ) -> None:
        """``phases``: λ and what is frozen, of those that have any."""
        self.model.train()
        for epoch in range(1, EPOCHS + 1):
            if sampler == "two_stage" and epoch == 2:
                self.start_over()
            sizes = self.parts.datamodule.sizes
            for number, (phase, rows) in enumerate(by_hand(sampler, epoch, sizes)):
                self.optimizer.zero_grad(set_to_none=True)
                scale, frozen = phases.get(phase, (1.0, ()))
                trained = [
                    parameter
                    for name, parameter in self.model.named_parameters()
                    if not any(fnmatchcase(name, pattern) for pattern in frozen)
                ]
                losses = [
                    self.loss(task, chosen) * scale * weights.get(task, 1.0)
                    for task, chosen in rows.items()
                ]
                if phase in ("finetune", "first") or phase.startswith("full"):
                    losses[0].backward()
                else:
                    dense.combine(
                        losses,
                        trained,
                        order_generator(SEED, epoch, number),
                        **surgery,  # type: ignore[arg-type]
                    )
                for parameter in set(self.parameters) - set(trained):
                    parameter.grad = None
                self.optimizer.step()


PAPER = {"scope": "all", "reduction": "mean", "include_self": True}
YU = {"scope": "shared", "reduction": "sum", "include_self": False}
PLAIN = {"scope": "all", "reduction": "sum", "include_self": False, "surgery": False}


@pytest.mark.parametrize(
    ("sampler", "surgery", "settings", "freeze"),
    [
        ("vanilla", "pcgrad_paper", PAPER, None),
        ("annealed", "pcgrad", YU, None),
        ("rr", "pcgrad_paper", PAPER, None),
        ("rr", "none", PLAIN, None),
        ("arrp", "pcgrad_paper", PAPER, None),
        ("arrp", "pcgrad", YU, "encoder.*"),
        ("full", "pcgrad_paper", PAPER, None),
        ("single", "pcgrad_paper", PAPER, None),
        ("tiers", "pcgrad_paper", PAPER, "encoder.embeddings.*"),
        ("two_stage", "pcgrad", YU, None),
    ],
)
def test_the_weights_are_those_of_the_loop(
    sampler: str, surgery: str, settings: dict[str, object], freeze: str | None, tmp_path: Path
) -> None:
    more = [f"surgery={surgery}"]
    frozen, weights = (freeze,) if freeze else (), dict[str, float]()
    phases = {"finetune": (LAMBDA, frozen)}
    if sampler == "arrp":
        more += [f"lambda={LAMBDA}", f"freeze=[{freeze}]" if freeze else "freeze=none"]
    if sampler == "tiers":  # λ and Θ' in a phase with surgery, and a task that counts for less
        more += [
            f"lambda=[{LAMBDA},1]",
            f"freeze=[[{freeze}],none]",
            f"++tasks.sst.weight={WEIGHT}",
        ]
        phases, weights = {"rr2": (LAMBDA, frozen)}, {"sst": WEIGHT}
    if sampler in ("full", "single"):
        more += ["data.scale=0.0005"]
    chosen = settings_for(sampler, *more)
    parts = assemble(chosen)
    before = copy.deepcopy(parts.module.model.state_dict())
    if sampler not in ("full", "single"):
        assert parts.datamodule.sizes == SIZES
    naive = NaiveRun(chosen, parts)
    for name, value in naive.model.state_dict().items():
        torch.testing.assert_close(value.to(before[name].dtype), before[name], rtol=0, atol=0)

    trainer = make_trainer(chosen, tmp_path, [], [])
    trainer.fit(parts.module, parts.datamodule)
    naive.train(sampler, settings, phases, weights)

    distance = moved = 0.0
    ours = parts.module.model.double().state_dict()
    for name, value in naive.model.state_dict().items():
        if value.is_floating_point():
            distance += float((ours[name] - value).norm() ** 2)
            moved += float((ours[name] - before[name]).norm() ** 2)
    assert moved > 1e-3, "nothing was trained: the comparison proves nothing"
    assert (distance / moved) ** 0.5 < 1e-9
