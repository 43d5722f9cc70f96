"""Resuming a run: which settings may have changed since it began, and which may not."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from mtl_bert.config.run_key import NO_DIFFERENCE, STEP_SIZE, flat, matches
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.runs.checkpoint import Position
from mtl_bert.runs.factories import make, make_sampler
from mtl_bert.runs.results import RunState
from mtl_bert.sampling import Sampler, Seen
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes
from mtl_bert.training.build import Assembly

# Where things lie may change as well: what lies there is compared by itself.
MAY_CHANGE = (
    *NO_DIFFERENCE, "data.dir", "data.source.dir", "model.path", "model.source.path",
    "trainer.passes",  # dropout then draws other masks, as whoever writes it wants
)  # fmt: skip


def restore(parts: Assembly, old: Settings, new: Settings, state: Mapping[str, Any]) -> RunState:
    """Bring freshly built parts to where the run's checkpoint left them.

    Raises:
        ConfigError: training sets or a number of epochs with which the run cannot go on.
    """
    position, run = Position(*state["position"]), RunState.model_validate_json(state["run_state"])
    if parts.datamodule.digest() != state["data"]:
        raise ConfigError(
            "data: expected the training sets with which the run began, found others; "
            "write hydra.run.dir=ANOTHER for another run"
        )
    _check_epochs(old, new, position, state["steps"], parts.datamodule.sizes)
    # An epoch that was trained without scoring the dev sets cannot be the last.
    if run.epochs and run.epochs[-1].epoch == new.epochs and run.epochs[-1].score is None:
        raise ConfigError(
            f"epochs: expected one after which the dev sets are scored, found {new.epochs}, which "
            f"was trained with trainer.check_val_every_n_epoch; write epochs={new.epochs + 1}"
        )
    parts.module.resume(dict(state))
    parts.datamodule.start = position
    parts.datamodule.history = [
        {task: Seen(*seen) for task, seen in of.items()} for of in state["history"]
    ]
    return run


def check_changes(old: Settings, new: Settings) -> None:
    """Raise ConfigError for the first setting with which the run would have gone another way."""
    free = [*MAY_CHANGE, "epochs"]  # restore looks at those
    if old.step_size == new.step_size:
        free += STEP_SIZE
        for task in old.own_step_sizes.keys() & new.own_step_sizes.keys():
            _check_own_step_size(task, old, new)
            free.append(f"tasks.{task}.batch_size")
    settings = [dict(flat(each.complete())) for each in (old, new)]
    # What an object is called says most, and its class least.
    keys = {**settings[0], **settings[1]}
    for key in sorted(keys, key=lambda key: (not key.endswith(".name"), "_target_" in key)):
        before, after = (each.get(key, "nothing") for each in settings)
        if before != after and not matches(key, free):
            raise ConfigError(
                f"{key}: expected {before!r}, with which the run began, found {after!r}; "
                "leave it out, or write hydra.run.dir=ANOTHER for another run"
            )


def _check_own_step_size(task: str, old: Settings, new: Settings) -> None:
    """Refuse another number of a task's examples in a step, where it has one of its own."""
    before, now = old.own_step_sizes[task], new.own_step_sizes[task]
    if before == now:
        return
    size, rest = divmod(before, new.parts)
    advice = (
        f"batch_size={old.batch_size}, as before" if rest else f"tasks.{task}.batch_size={size}"
    )
    raise ConfigError(
        f"tasks.{task}.batch_size: expected {before} examples of it in a step, with which the run "
        f"began, found {now}; write {advice}"
    )


def _check_epochs(
    old: Settings, new: Settings, position: Position, steps: int, sizes: Sizes
) -> None:
    """Refuse another number of epochs if what was trained so far depends on their number."""
    if old.epochs == new.epochs:
        return
    begun = position.epoch if position.step else position.epoch - 1
    if new.epochs < begun:
        raise ConfigError(
            f"epochs: expected at least {begun}, which the run has begun, found {new.epochs}; "
            f"write epochs={old.epochs}"
        )
    sampler, reason = make_sampler(new), ""
    plans = (
        [sampler(sizes, epoch, s.epochs, s.seed) for s in (old, new)]
        for epoch in range(1, begun + 1)
    )
    if any(_steps(before) != _steps(after) for before, after in plans):
        reason = f"sampler={new.sampler['name']} draws by their number"
    elif _rates(old, sampler, sizes, steps) != _rates(new, sampler, sizes, steps):
        reason = f"scheduler={new.scheduler['name']} goes by their number"
    if reason:
        raise ConfigError(
            f"epochs: expected {old.epochs}, with which the run began, as {reason}, found "
            f"{new.epochs}; write epochs={old.epochs}"
        )


def _steps(plan: Epoch) -> list[tuple[Phase, dict[str, list[int]]]]:
    return [(s.phase, {task: rows.tolist() for task, rows in s.rows.items()}) for s in plan.steps]


def _rates(settings: Settings, sampler: Sampler, sizes: Sizes, steps: int) -> list[float]:
    """The learning rate's factor in each step so far, had the run this many epochs."""
    total = sum(
        len(sampler(sizes, epoch, settings.epochs, settings.seed).steps)
        for epoch in range(1, settings.epochs + 1)
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule: LambdaLR = make(settings.scheduler, "scheduler")(optimizer, total)
    (factor,) = schedule.lr_lambdas
    return [float(factor(step)) for step in range(steps + 1)]
