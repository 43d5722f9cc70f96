"""From checked settings to the parts of a run, for every entry point alike."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy

from mtl_bert.config.settings import ConfigError, Settings, TrainerSettings
from mtl_bert.data.corpus import Corpus
from mtl_bert.data.table import Encoded, Table
from mtl_bert.data.text_numbers import same_texts
from mtl_bert.data.token_cache import GIBI, Cache, directory
from mtl_bert.machine.hardware import on_gpu
from mtl_bert.machine.processes import environment
from mtl_bert.model import MultiTaskModel
from mtl_bert.model.probe import probe
from mtl_bert.runs import factories
from mtl_bert.runs.results import DataRecord
from mtl_bert.runs.text_model import make_text_model
from mtl_bert.surgery import Surgeon
from mtl_bert.surgery.freezing import FreezeError, frozen_names
from mtl_bert.tasks import Task
from mtl_bert.tasks.class_weights import ClassWeighted
from mtl_bert.training.datamodule import PlanDataModule
from mtl_bert.training.module import MultiTaskModule
from mtl_bert.training.out_of_memory import OutOfMemory
from mtl_bert.training.passes import passes
from mtl_bert.training.step_log import StepLog
from mtl_bert.utils.errors import first_line
from mtl_bert.utils.logging import bar_wanted

log = logging.getLogger(__name__)

# Lightning tells its users about devices and its makers' services; ours have results to read.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", category=FutureWarning)
# A run whose first step is skipped has had no update when its schedule goes on.
warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")


@dataclass(frozen=True)
class Assembly:
    """The parts of a run."""

    dev: Mapping[str, Table]  # the dev sets' texts; those of the training sets are tokens only
    module: MultiTaskModule  # the model and how a step changes it
    datamodule: PlanDataModule  # the plan and the tokens
    encoder: str  # its name
    data: DataRecord  # what results say about the data
    more: Mapping[str, Mapping[str, Encoded]]  # further labelled sets, scored at the end


def assemble(settings: Settings, splits: Sequence[str] = ("train", "dev")) -> Assembly:
    """Read, encode and build everything that a run needs, checking as early as possible.

    Raises:
        ConfigError, DataError, ModelError, HubError, FreezeError: one line each.
    """
    tasks, trainer = factories.make_tasks(settings), settings.trainer
    dtype = torch.float64 if trainer.precision == "64-true" else torch.float32
    for task in tasks:
        task.try_out(dtype)
        if settings.parts > 1 and not task.adds_up(dtype):
            log.warning(
                "tasks.%s.loss: the mean over %d parts of a batch is not the loss of the whole "
                "(does it divide by weights?), so the run trains otherwise than with one part; "
                "class_weights adds up",
                task.name, settings.parts,
            )  # fmt: skip
    sampler, surgery = factories.make_sampler(settings), factories.make_surgery(settings)
    optimizer = factories.make(settings.optimizer, "optimizer")
    scheduler = factories.make(settings.scheduler, "scheduler")
    encoder_source = factories.make(settings.model.source, "model.source")
    corpus = factories.make_corpus(settings, tasks)
    text_model = make_text_model(settings, tasks, encoder_source)
    model = text_model.model
    probe(model, text_model.tokenize, encoder_source.name)
    selections = factories.make_selections(settings)
    cache = Cache(directory(), trainer.cache_gib * GIBI) if trainer.cache else None
    tokenize = replace(text_model.tokenize, bar=bar_wanted(trainer.enable_progress_bar))
    texts = selections["dev"].of(corpus.read("dev"))
    tokens = corpus.tokens(tokenize, cache, dict.fromkeys([*splits, "dev"]))
    cut = {split: selections[split].of(parts) for split, parts in tokens.items()}
    train, dev, select = cut.get("train", {}), cut["dev"], dict[str, Encoded]()
    if settings.data.select is not None:
        halves = selections["select"].split({task: len(part) for task, part in dev.items()})
        select = {task: dev[task].take(chosen) for task, (chosen, _) in halves.items()}
        dev = {task: dev[task].take(others) for task, (_, others) in halves.items()}
        texts = {task: texts[task].take(others) for task, (_, others) in halves.items()}
    for split, part in (("training", train), ("dev", dev)):
        text_model.report_cut(part, split)
    datamodule = PlanDataModule(
        sampler,
        train,
        dev,
        {task.name: task.head.label_type for task in tasks},
        epochs=settings.epochs,
        seed=settings.seed,
        validate_every=trainer.check_val_every_n_epoch,
        dev_sample=trainer.dev_sample,
        select=select or None,
        eval_batch_size=trainer.eval_batch_size,
        group_by_length=settings.group_by_length,
        accumulate_grad_batches=trainer.accumulate_grad_batches,
        num_workers=trainer.num_workers,
        balance=[task.name for task in tasks if task.balance == "classes"],
        same_texts=same_texts(tasks, train) if train else (),
        max_repeats={t.name: t.max_repeats for t in tasks if train and t.max_repeats is not None},
    )
    for task in tasks:
        if train and isinstance(task.loss, ClassWeighted):
            task.loss.balance(list(_count_labels(train[task.name], task.head.names).values()))
    if train:
        check_freezing(settings.frozen, datamodule, model)
        stages = {datamodule.stage_steps(epoch) for epoch in range(1, settings.epochs + 1)}
        _check_optimizer(optimizer, scheduler, model, min(stages))
    module = MultiTaskModule(
        model,
        Surgeon(
            model,
            surgery,
            gradient_clip_val=trainer.gradient_clip_val,
            scaler=_fp16_scaler(trainer),
            reach=model.reaches,
            task_weights={task.name: task.weight for task in tasks},
        ),
        optimizer,
        scheduler,
        StepLog(trainer.skip_limit, trainer.layers_every),
        OutOfMemory(
            settings.batch_size,
            trainer.accumulate_grad_batches,
            trainer.eval_batch_size,
            {task.name: task.batch_size for task in tasks if task.batch_size is not None},
        ),
        passes=passes(trainer, model, settings.batch_size * mean_tokens(train)),
        seed=settings.seed,
        patience=trainer.patience,
    )
    trained_on = encoder_source.trained_on() if train else []
    data = _data_record(corpus, tasks, trained_on, train, dev, select)
    more = corpus.more(tokenize, cache) if train else {}
    return Assembly(texts, module, datamodule, text_model.name, data, more)


def make_trainer(
    settings: Settings,
    directory: Path,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[Callback] = (),
    *,
    epochs: int | None = None,
) -> Trainer:
    """Lightning's trainer for so many epochs, with everything off that would decide something.

    Raises:
        ConfigError: a device or precision that is not there.
    """
    wanted = settings.trainer
    assert wanted.precision != "auto"  # hardware.resolved has chosen one
    cluster = environment(settings.processes)
    plugins: list[Any] = [] if cluster is None else [cluster]
    if wanted.precision == "16-mixed":
        device = "cuda" if on_gpu(wanted.accelerator) else "cpu"
        # The module scales losses itself: all tasks' alike, and before surgery.
        scaler = torch.amp.GradScaler(device, enabled=False)
        plugins.append(MixedPrecision("16-mixed", device, scaler))
    try:
        return Trainer(
            accelerator=wanted.accelerator,
            devices=wanted.devices,
            num_nodes=wanted.num_nodes,
            strategy=Replicas() if settings.processes > 1 else "auto",
            plugins=plugins,
            precision=None if wanted.precision == "16-mixed" else wanted.precision,
            max_epochs=settings.epochs if epochs is None else epochs,
            default_root_dir=directory,
            logger=list(loggers),
            callbacks=list(callbacks),
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise ConfigError(
            f"trainer: expected a device and precision of this machine, found "
            f"accelerator={wanted.accelerator} devices={wanted.devices} precision="
            f"{wanted.precision} ({first_line(error)}); "
            "write trainer.accelerator=auto trainer.precision=32-true"
        ) from error


class Replicas(DDPStrategy):
    """Processes with the same model, in which the module decides what is averaged."""

    def configure_ddp(self) -> None:
        """Leave the model unwrapped: averaging after surgery would be another method."""


def mean_tokens(parts: Mapping[str, Encoded]) -> float:
    """Tokens of an example, in the mean over tasks."""
    return float(np.mean([part.lengths.mean() for part in parts.values()])) if parts else 0.0


def _fp16_scaler(wanted: TrainerSettings) -> torch.amp.GradScaler | None:
    if wanted.precision != "16-mixed":
        return None
    return torch.amp.GradScaler("cuda" if on_gpu(wanted.accelerator) else "cpu")


def check_freezing(
    patterns: Sequence[str], datamodule: PlanDataModule, model: MultiTaskModel
) -> None:
    """Raise FreezeError if patterns, and what came frozen, leave a task nothing to train."""
    names = [name for name, _ in model.named_parameters()]
    fixed = {name for name, p in model.named_parameters() if not p.requires_grad}
    some_task = next(iter(datamodule.sizes))
    # Misspelt patterns are refused even where this plan has no phase that freezes.
    frozen_names([pattern.replace("{task}", some_task) for pattern in patterns], names)
    for phase, steps in datamodule.plan(1).phases():
        frozen = frozen_names(phase.frozen, names) | fixed
        for task in steps[0].rows:
            reached = [name for name in names if model.reaches(task, name)]
            if frozen.issuperset(reached):
                raise FreezeError(
                    f"freeze: expected something left to train for {task}, found all "
                    f"{len(reached)} of its parameters frozen by {list(phase.frozen)}; write "
                    "freeze=all_but_head to keep the head"
                )


def _check_optimizer(optimizer: Any, scheduler: Any, model: MultiTaskModel, steps: int) -> None:
    """Make both once: most of what they refuse, they refuse when they see parameters."""
    try:
        made = optimizer(list(model.named_parameters()))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ConfigError(
            f"optimizer: expected settings that it takes, found one that it refuses ({error}); "
            "mend optimizer.*, --cfg job shows it"
        ) from error
    try:
        scheduler(made, steps)
    except TypeError as error:
        found = f"found something else ({error}); leave it out"
        raise ConfigError(f"scheduler: expected name and warmup_ratio, {found}") from error
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _data_record(
    corpus: Corpus,
    tasks: Sequence[Task],
    trained_on: Sequence[str],
    train: Mapping[str, Encoded],
    dev: Mapping[str, Encoded],
    select: Mapping[str, Encoded],
) -> DataRecord:
    given = {"train": train, "dev": dev, "select": select}
    splits = {split: part for split, part in given.items() if part}
    parts = [(part.origin, part) for encoded in splits.values() for part in encoded.values()]
    return DataRecord(
        name=corpus.name,
        synthetic=corpus.synthetic,
        sizes={task: {split: len(of[task]) for split, of in splits.items()} for task in dev},
        skipped={origin: len(part.skipped) for origin, part in parts if part.skipped},
        truncated={task: sum(of[task].truncated for of in splits.values()) for task in dev},
        train_labels={
            task.name: _count_labels(train[task.name], task.head.names)
            for task in tasks
            if task.name in train and task.head.names
        },
        seen={task.name: found for task in tasks if (found := task.among(trained_on))},
    )


def _count_labels(part: Encoded, names: Sequence[str]) -> dict[str, int]:
    assert part.labels is not None
    if part.labels.ndim > 1:  # a number for each class
        counts = part.labels.sum(0).round().astype(np.int64)
    else:
        counts = np.bincount(part.labels.astype(np.int64), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))
