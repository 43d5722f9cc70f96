"""Run directories as a training would leave them, with numbers that a test chooses."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mtl_bert.analysis import paper
from mtl_bert.runs.results import (
    DataRecord,
    EpochRecord,
    PhaseRecord,
    Results,
    Scores,
    TaskScore,
    Utilisation,
)
from mtl_bert.tasks.resampled_metrics import whole
from mtl_bert.utils.files import write_text

SENTIMENTS = ("negative", "somewhat negative", "neutral", "somewhat positive", "positive")
HEADS: dict[str, dict[str, Any]] = {
    "sst": {"_target_": "mtl_bert.tasks.MultiClass", "names": list(SENTIMENTS)},
    "qqp": {"_target_": "mtl_bert.tasks.Binary", "names": ["different", "paraphrase"]},
    "sts": {"_target_": "mtl_bert.tasks.Regression", "low": 0, "high": 5},
}
METRICS = {"sst": "accuracy", "qqp": "accuracy", "sts": "pearson"}
RANGES = {"sst": (0, 1), "qqp": (0, 1), "sts": (-1, 1)}
PAPER_SURGERY = {
    "_target_": "mtl_bert.surgery.Surgery",
    "method": {"_target_": "mtl_bert.surgery.PCGrad", "include_self": True},
    "scope": "all",
    "reduction": "mean",
}
WITH_B = ("rr", "annealed", "vanilla", "arrp")
PAPER_SIZES = {task: size.train for task, size in paper.SIZES.items()}
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    """What a made run is; the defaults are the demo's.

    Attributes:
        accuracies: task -> wanted metric; what results say is what the predictions give.
        dev: dev examples of each task.
        phases: of each epoch; without any, one whose gradients nobody looked at.
        override: groups of the configuration -> what is changed in them.
    """

    sampler: str = "rr"
    seed: int = 1
    epochs: int = 3
    B: int | None = None
    B_scale: float = 1.0
    lambda_: float | None = None
    freeze: str | list[str] = "none"
    surgery: Mapping[str, Any] = field(default_factory=lambda: PAPER_SURGERY)
    accuracies: Mapping[str, float] = field(
        default_factory=lambda: {"sst": 0.5, "qqp": 0.8, "sts": 0.7}
    )
    minutes: float = 1.0
    data: str = "demo"
    synthetic: bool = True
    sizes: Mapping[str, int] = field(
        default_factory=lambda: {"sst": 940, "qqp": 31_131, "sts": 664}
    )
    dev: Mapping[str, int] = field(default_factory=lambda: {"sst": 220, "qqp": 400, "sts": 180})
    seen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    encoder: str = "tiny"
    trained: int | None = None
    batch_size: int = 32
    bucket: int | None = None
    validate_every: int = 1
    dev_sample: int | None = None
    lr: float = 7e-4
    device: str = "a CPU, 1 thread"
    predictions: bool = True
    later: int = 0
    phases: Sequence[Sequence[PhaseRecord]] = ()
    override: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def config_of(made: Made) -> dict[str, Any]:
    """The resolved configuration."""
    sampler: dict[str, Any] = {
        "_target_": f"mtl_bert.sampling.{made.sampler}",
        "name": made.sampler,
    }
    if made.sampler in ("annealed", "vanilla"):
        sampler["batches_per_step"] = None
    if made.sampler in ("full", "single"):
        sampler["order"] = None
    if made.sampler == "arrp":
        sampler["lambda_on"] = "loss"
    tiny = made.encoder == "tiny"
    config: dict[str, Any] = {
        "seed": made.seed,
        "epochs": made.epochs,
        "batch_size": made.batch_size,
        "lr": made.lr,
        "lambda": made.lambda_,
        "B": made.B,
        "B_scale": made.B_scale,
        "group_by_length": made.bucket,
        "freeze": made.freeze,
        "freeze_sets": {"none": [], "all_but_head": ["*", "!heads.{task}.*"]},
        "tasks": {
            task: {
                "pair": task != "sst",
                "head": HEADS[task],
                "metric_name": METRICS[task],
                "score": {"low": RANGES[task][0], "high": RANGES[task][1]},
                "sources": {"csv": {"train": f"{task}.csv"}},
            }
            for task in made.dev
        },
        "sampler": sampler,
        "surgery": dict(made.surgery),
        "data": _data(made),
        "model": {
            "pairs": "joint",
            "dropout": 0.0 if tiny else 0.1,
            "max_length": None,
            **({} if tiny else {"path": f"google-bert/{made.encoder}"}),
            "source": {"_target_": "mtl_bert.model.Tiny", "settings": {}}
            if tiny
            else {"_target_": "mtl_bert.model.Pretrained", "path": f"google-bert/{made.encoder}",
                  "settings": {}},
        },
        "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": made.lr,
                      "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "fused": True},
        "scheduler": {"_target_": "mtl_bert.training.schedule", "_partial_": True,
                      "name": "constant_with_warmup", "warmup_ratio": 0.0},
        "trainer": {"accelerator": "auto", "devices": 1, "num_nodes": 1, "precision": "32-true",
                    "gradient_clip_val": None, "accumulate_grad_batches": 1, "num_workers": 0,
                    "log_every_n_steps": 50, "check_val_every_n_epoch": made.validate_every,
                    "dev_sample": made.dev_sample},
        "logger": {},
    }  # fmt: skip
    for group, changes in made.override.items():
        config[group] = {**config[group], **changes}
    return config


def _data(made: Made) -> dict[str, Any]:
    if made.data == "demo":
        source = {"_target_": "mtl_bert.data.sources.synthetic.Synthetic", "name": "demo"}
        return {"source": source, "max_bad_share": 0.0, "share": 1.0, "scale": 0.11, "seed": 0}
    source = {
        "_target_": "mtl_bert.data.sources.delimited.Delimited",
        "name": made.data,
        "dir": "/elsewhere",
    }
    return {"source": source, "max_bad_share": 0.01, "share": 1.0, "seed": 0, "dir": "/elsewhere"}


Rows = list[dict[str, str]]


def dev_set(task: str, n: int) -> tuple[np.ndarray[Any, Any], list[tuple[str, ...]]]:
    """Labels [n] and texts of a dev set: the same for every run."""
    rng = np.random.default_rng([7, len(task), ord(task[-1])])
    if task == "sts":
        labels = rng.integers(0, 26, n) / 5
    else:
        weights = [1, 2, 1.5, 2, 1] if task == "sst" else [1.7, 1]
        labels = rng.choice(len(weights), n, p=np.array(weights) / sum(weights)).astype(float)
    first = [f"What is question number {i} of {task} about?" for i in range(n)]
    if task == "sst":
        return labels, [(f"A film of the {i}th kind, <b>bold</b> & moving.",) for i in range(n)]
    return labels, [(text, f"Number {i}, what is it about?") for i, text in enumerate(first)]


def answers(task: str, labels: Any, wanted: float, seed: int) -> tuple[Any, Any]:
    """Predictions with about the wanted metric, and confidences."""
    rng = np.random.default_rng([seed, len(labels), ord(task[-1])])
    if task == "sts":
        noise = rng.normal(size=len(labels))
        spread = labels.std() * np.sqrt(max(0.0, 1 / max(wanted, 0.05) ** 2 - 1))
        predictions = 2.5 + 0.8 * (labels - 2.5 + noise * spread)
        return np.array([float(f"{p:.9g}") for p in predictions]), np.full(len(labels), np.nan)
    classes = len(HEADS[task]["names"])
    wrong = np.ones(len(labels), bool)
    wrong[rng.permutation(len(labels))[: round(wanted * len(labels))]] = False
    step = rng.choice([-1, 1], len(labels))
    other = np.clip(labels + step, 0, classes - 1)
    other = np.where(other == labels, labels - step, other)
    return np.where(wrong, other, labels), rng.uniform(1 / classes, 1, len(labels))


def make_run(directory: Path, made: Made) -> Path:
    """Write a run's results.json and predictions."""
    tasks: dict[str, TaskScore] = {}
    for task, n in made.dev.items():
        labels, texts = dev_set(task, n)
        predictions, confidences = answers(task, labels, made.accuracies[task], made.seed)
        value = (
            float(whole("pearson", labels, predictions[None])[0])
            if task == "sts"
            else float(np.mean(labels == predictions))
        )
        tasks[task] = TaskScore(metric=METRICS[task], value=value, n=n)
        if made.predictions:
            write_predictions(directory, task, texts, labels, predictions, confidences)
    results = results_of(made, tasks)
    write_text(directory / "results.json", results.model_dump_json(indent=2) + "\n")
    return directory


def write_predictions(
    directory: Path, task: str, texts: Any, labels: Any, predictions: Any, confidences: Any
) -> None:
    path = directory / "predictions" / f"{task}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    heads = ["id", "text", *(["text2"] if len(texts[0]) == 2 else []), "label", "prediction"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heads, "confidence"])
        for i, text in enumerate(texts):
            row = [str(i), *text, f"{labels[i]:.15g}", f"{predictions[i]:.9g}"]
            sure = confidences[i]
            writer.writerow([*row, "" if np.isnan(sure) else f"{sure:.9g}"])


def score_of(tasks: Mapping[str, TaskScore]) -> float:
    """The mean of the metrics, each mapped to 0..1."""
    units = [(t.value - RANGES[k][0]) / (RANGES[k][1] - RANGES[k][0]) for k, t in tasks.items()]
    return sum(units) / len(units)


def _sampled(score: TaskScore, sample: int | None) -> TaskScore:
    return score.model_copy(update={"n": min(score.n, sample or score.n)})


def results_of(made: Made, tasks: Mapping[str, TaskScore]) -> Results:
    trained = made.sampler != "random"
    score = score_of(tasks)
    used = {
        task: Utilisation(examples=n, unique=round(share * n), fraction=round(share * n) / n)
        for task, n in made.sizes.items()
        for share in (min(made.sizes.values()) / n,)
    }
    seconds = 60 * made.minutes
    examples = 3 * min(made.sizes.values()) + (made.B or 0)
    epochs = [
        EpochRecord(
            epoch=e,
            score=score * (0.8 + 0.2 * e / made.epochs) if scored else None,
            tasks={k: _sampled(t, made.dev_sample) for k, t in tasks.items()} if scored else None,
            synthetic=made.synthetic,
            seconds=seconds,
            validation_seconds=1.0,
            phases=list(made.phases[e - 1])
            if made.phases
            else [PhaseRecord(name="joint", steps=10, examples=examples, seconds=seconds)],
            losses=dict.fromkeys(tasks, 0.5),
            utilisation=used,
        )
        for e in range(1, made.epochs + 1)
        for scored in (e % made.validate_every == 0 or e == made.epochs,)
        if trained
    ]
    last = Scores(epoch=len(epochs), score=score, tasks=dict(tasks))
    labels = {
        "sst": dict(zip(SENTIMENTS, (1092, 2218, 1624, 2322, 1288), strict=True)),
        "qqp": {"different": 178_000, "paraphrase": 105_010},
    }
    return Results(
        config=config_of(made),
        seed=made.seed,
        commit="0123456789abcdef",
        device=made.device,
        versions={"python": "3.11", "torch": "2.13.0"},
        data=DataRecord(
            name=made.data,
            synthetic=made.synthetic,
            sizes={t: {"train": n, "dev": made.dev[t]} for t, n in made.sizes.items()},
            skipped={},
            truncated={},
            train_labels={t: n for t, n in labels.items() if t in tasks},
            seen={task: list(sets) for task, sets in made.seen.items()},
        ),
        encoder=made.encoder,
        trained=made.trained,
        score=score,
        tasks=dict(tasks),
        best_epoch=len(epochs),
        last_epoch=len(epochs),
        last=last,
        untrained=None,
        utilisation=used if trained else {},
        minutes_per_epoch=made.minutes if trained else 0.0,
        epochs=epochs,
        notes=["data=demo is synthetic: no number here is a published one"]
        if made.synthetic
        else [],
        finished=BEGAN + timedelta(minutes=made.later),
    )


def made_of(row: paper.PaperRow, **changes: Any) -> Made:
    """A run that is a row of the paper, with its printed numbers."""
    recipe = row.recipe
    base = Made(
        sampler=recipe.sampler,
        B=recipe.B,
        lambda_=recipe.lambda_,
        freeze="all_but_head" if recipe.frozen else "none",
        epochs=1 if row.table == 3 else 3,
        accuracies={"sst": 0.45, "sts": 0.6, **row.tasks},
        minutes=max(row.minutes, 7.13) if row.table != 3 else 7.13 + row.minutes,
    )
    return replace(base, **changes)


def make_paper(root: Path, seeds: Sequence[int] = (1, 2, 3), **changes: Any) -> Path:
    """A run for every row and seed; a row that stands in two tables is made once."""
    made: set[str] = set()
    for row in paper.ROWS:
        for seed in seeds:
            run = made_of(row, seed=seed, **changes)
            wobble = 0.004 * ((seed * 7 + len(row.experiment)) % 5 - 2)
            run = replace(
                run,
                accuracies={k: v + wobble for k, v in run.accuracies.items()},
                minutes=run.minutes * (1 + 0.01 * seed),
            )
            name = f"{row.experiment}{'-1epoch' if row.table == 3 else ''}-seed{seed}"
            if name not in made:
                made.add(name)
                make_run(root / name, run)
    return root


def damaged(directory: Path, text: str = '{"config": ') -> Path:
    """Something that is called results.json and is none."""
    write_text(directory / "results.json", text)
    return directory


def changed(directory: Path, **values: Any) -> None:
    """Change fields of a results.json."""
    path = directory / "results.json"
    content = json.loads(path.read_text("utf-8"))
    write_text(path, json.dumps({**content, **values}))
