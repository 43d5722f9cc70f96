"""Which runs are one and the same: what they are told to do, less what makes no difference."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from mtl_bert.config.settings import Settings

NO_DIFFERENCE = (
    "overrides", "run_key", "logger", "logger.*", "trainer.accelerator", "trainer.num_workers",
    "trainer.threads", "model.gradient_checkpointing",
    "trainer.packing", "trainer.cache", "trainer.cache_gib", "trainer.eval_batch_size",
    "trainer.log_every_n_steps",
    "trainer.layers_every", "trainer.enable_progress_bar", "trainer.baseline",
    "trainer.save_steps", "trainer.save_minutes", "trainer.keep", "trainer.best_per_task",
    "trainer.skip_limit", "trainer.profile",
)  # fmt: skip
"""Settings that decide neither which examples are drawn nor what is done with them."""

STEP_SIZE = (
    "batch_size",
    "trainer.accumulate_grad_batches",
    "trainer.devices",
    "trainer.num_nodes",
)
"""Settings that matter by their product alone: a step's batch."""


def matches(key: str, patterns: Iterable[str]) -> bool:
    """Whether a dotted setting is among the patterns."""
    return any(fnmatch(key, pattern) for pattern in patterns)


def flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting under its dotted name."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def identity(settings: Settings) -> str:
    """Sixteen hexadecimal digits that two runs share if they are told to do the same."""
    freezing = ("freeze", "freeze_sets", "freeze_sets.*")
    told = {
        key: value
        for key, value in flat(settings.complete())
        if not matches(key, (*NO_DIFFERENCE, *STEP_SIZE, *freezing))
    }
    told["step size"] = settings.step_size
    told |= {f"tasks.{task}.batch_size": n for task, n in settings.own_step_sizes.items()}
    told["frozen"] = settings.frozen if len(settings.freezes) == 1 else settings.freezes
    if settings.B is None:
        told.pop("B_scale", None)
    text = json.dumps(told, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def key_of(settings: Settings) -> str:
    """What a run's checkpoints are marked with: the name under which it began."""
    return settings.run_key or run_name(settings)


def run_name(settings: Settings) -> str:
    """A directory's name by which people find a run and no two different runs are confused."""
    parts = [str(settings.sampler.get("name", "unnamed"))]
    for letter, value in (("B", settings.B), ("lambda", settings.lambda_)):
        if value is not None:
            values = value if isinstance(value, list) else [value]
            parts.append(letter + "_".join("all" if v is None else f"{v:.15g}" for v in values))
    if settings.frozen:
        parts.append(settings.freeze if isinstance(settings.freeze, str) else "frozen")
    return "-".join([*parts, f"seed{settings.seed}", identity(settings)[:8]])
