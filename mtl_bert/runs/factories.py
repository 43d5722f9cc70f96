"""The objects that settings name: sampler, surgery, tasks, sources of data and of encoders."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate

from mtl_bert.config.compose import OWN, SAMPLER_KEYS, sampler_keys, task_settings
from mtl_bert.config.nodes import check_types
from mtl_bert.config.settings import ConfigError, Settings, shown
from mtl_bert.runs.results import RunFolder
from mtl_bert.sampling import Sampler
from mtl_bert.sampling.balance import Classes
from mtl_bert.sampling.epoch import Sizes
from mtl_bert.sampling.planner import Planner
from mtl_bert.sampling.same_texts import Texts
from mtl_bert.utils.errors import UserError, first_line

if TYPE_CHECKING:
    from mtl_bert.data.corpus import Corpus, Selection
    from mtl_bert.surgery import Surgery
    from mtl_bert.tasks import Task


NEEDED = {
    "sampler": "__call__", "surgery": "method", "optimizer": "__call__", "scheduler": "__call__",
    "data.source": "read", "model.source": "encoder",
}  # fmt: skip
"""An attribute by which one knows what is made for a setting."""


def make(node: Any, where: str = "settings") -> Any:
    """Make the object that a node's ``_target_`` names; ConfigError if it refuses its settings."""
    try:
        made = instantiate(node, _convert_="all")
    except Exception as error:  # constructors fail in as many ways as there are
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        if ": expected " in (said := str(cause)):
            inside = where.startswith("tasks.") and re.split(r"[.:]", said)[0] in node
            raise ConfigError(f"{where}.{said}" if inside else said) from cause
        check_types(node, where)
        expected, found = (
            f"settings that {node.get('_target_')} takes",
            f"others ({first_line(cause)})",
        )
        advice = "--cfg job shows them"
        if unknown := re.search(r"Error locating target '([^']+)'", str(error)):
            expected, found = "something that can be imported", unknown[1]
            advice = "mend the file that names it"
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, ImportError) and "torchjd" in str(cause):
            expected, found = "TorchJD with its solvers", f"something missing ({cause})"
            advice = "write pip install 'mtl-bert[torchjd]', or surgery=pcgrad"
        raise ConfigError(f"{where}: expected {expected}, found {found}; {advice}") from error
    check_types(node, where)
    needed = NEEDED.get(where, "__class__")
    if "_target_" in node and hasattr(made, needed):
        return made
    raise ConfigError(
        f"{where}._target_: expected what makes an object with {needed}, found "
        f"{shown(node.get('_target_'))}; mend the file in which it stands"
    )


def make_sampler(settings: Settings) -> Sampler:
    """The sampler, its Θ' resolved to patterns, its batches those of all processes together."""
    values = {
        "batch_size": settings.step_size,
        "B": settings.drawn,
        "lambda": settings.lambda_,
        "freeze": settings.freezes[0] if len(settings.freezes) == 1 else settings.freezes,
        OWN: _own_batch_sizes(settings),
    }
    if isinstance(settings.sampler.get("single"), str):
        settings = with_single_scores(settings)
    own = {key: value for key, value in settings.sampler.items() if key != "name"}
    shared = {SAMPLER_KEYS[key]: values[key] for key in sampler_keys(settings.sampler)}
    sampler: Sampler = make(own | shared, "sampler")
    return sampler


def _own_batch_sizes(settings: Settings) -> dict[str, int]:
    """The batches of tasks that have a size of their own, over all processes."""
    for name in settings.tasks:
        if (own := task_settings(settings, name).batch_size) is None:
            continue
        if OWN not in sampler_keys(settings.sampler):
            raise ConfigError(
                f"tasks.{name}.batch_size: expected no value with "
                f"sampler={settings.sampler['name']}, whose batches are of all tasks together, "
                f"found {own}; leave it out or write sampler=temperature"
            )
    return settings.own_step_sizes


def make_planner(
    settings: Settings,
    sizes: Sizes,
    classes: Classes | None = None,
    same_texts: Sequence[Texts] = (),
) -> Planner:
    """What plans the epochs of a run with these training sets, but for lengths of texts.

    Args:
        sizes: of the training sets.
        classes: of their examples, of tasks that balance them; none if they are not known.
        same_texts: groups of tasks whose examples are labels of the same texts, by their numbers.
    """
    limits = {name: task_settings(settings, name).max_repeats for name in sizes}
    return Planner(
        make_sampler(settings),
        sizes,
        settings.epochs,
        settings.seed,
        max_repeats={name: limit for name, limit in limits.items() if limit is not None},
        classes=classes or {},
        same_texts=same_texts,
    )


def with_single_scores(settings: Settings) -> Settings:
    """The settings with the scores of single-task models in place of the run that has them."""
    run = settings.sampler.get("single")
    if not isinstance(run, str):
        return settings
    try:
        results = RunFolder(Path(run)).read_results()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"sampler.single: expected the directory of a finished run, found {shown(run)} "
            f"({first_line(error)}); write the directory, or scores: "
            "sampler.single='{sst: 0.5, qqp: 0.88, sts: 0.86}'"
        ) from error
    if (name := results.config["sampler"]["name"]) != "single":
        raise ConfigError(
            f"sampler.single: expected a run with sampler=single, found {shown(run)} with "
            f"sampler={name}; train one with mtl-bert train sampler=single"
        )
    scores = {task: score.rising for task, score in results.tasks.items()}
    return settings.model_copy(update={"sampler": {**settings.sampler, "single": scores}})


def make_surgery(settings: Settings) -> "Surgery":
    """The surgery, its method's settings for tasks being for tasks that are there."""
    surgery: Surgery = make(settings.surgery, "surgery")
    try:
        surgery.method.check_tasks(list(settings.tasks))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return surgery


def make_tasks(settings: Settings) -> "list[Task]":
    """The tasks, in the order in which they are configured."""
    made: Any = {"_target_": "mtl_bert.tasks.Task"}
    return [
        make(made | {"name": name, **node, "loss": _with_tensors(node["loss"])}, f"tasks.{name}")
        if "loss" in node
        else make(made | {"name": name, **node}, f"tasks.{name}")
        for name, node in settings.tasks.items()
    ]


def _with_tensors(loss: Any) -> Any:
    """A loss whose lists of numbers are tensors, as torch's take them (weight, pos_weight)."""
    if not (isinstance(loss, Mapping) and str(loss.get("_target_", "")).startswith("torch.nn.")):
        return loss
    return {
        key: {"_target_": "torch.tensor", "data": [float(v) for v in value]}
        if isinstance(value, list) and value and all(type(v) in (int, float) for v in value)
        else value
        for key, value in loss.items()
    }


def make_corpus(settings: Settings, tasks: "Sequence[Task]") -> "Corpus":
    """Where the tasks' data come from; DataError if some have none."""
    from mtl_bert.data.corpus import Corpus  # torch takes seconds to import

    source = make(settings.data.source, "data.source")
    return Corpus(source, tasks, settings.data.max_bad_share)


def make_selections(settings: Settings) -> "dict[str, Selection]":
    """What is kept of each split."""
    from mtl_bert.data.corpus import Selection

    data = settings.data
    return {
        "train": Selection(data.share, data.limit, data.imbalance, data.seed),
        "dev": Selection(limit=data.dev_limit, seed=data.seed, setting="data.dev_limit"),
        "select": Selection(data.select or 1.0, seed=data.seed),
    }
