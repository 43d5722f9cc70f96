"""The name, group and tags by which loggers let a person find a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl_bert.config.compose import sampler_keys
from mtl_bert.config.run_key import identity
from mtl_bert.config.settings import Settings
from mtl_bert.runs.results import DataRecord
from mtl_bert.tracking.loggers import RunLabels


def run_labels(
    settings: Settings,
    data: DataRecord,
    directory: Path,
    state: Mapping[str, Any] | None = None,
) -> RunLabels:
    """What loggers call a run.

    Args:
        settings: the run's.
        data: what it is trained on.
        directory: the run's folder.
        state: the checkpoint that it goes on from, if it does.
    """
    sampler = settings.sampler["name"]
    chosen = {
        "sampler": sampler,
        "B": settings.B,
        "B_scale": None if settings.B is None or settings.B_scale == 1 else settings.B_scale,
        "lambda": settings.lambda_,
        "freeze": settings.freeze if "freeze" in sampler_keys(settings.sampler) else None,
        "group_by_length": settings.group_by_length,
        "imbalance": settings.data.imbalance,
    }
    tags = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    title = " ".join([data.name, *tags])
    # What the title leaves out (model, surgery, lr, ...) still tells groups apart.
    seedless = identity(settings.model_copy(update={"seed": 0}))
    marks = [f"seed={settings.seed}", *(["synthetic"] if data.synthetic else [])]
    return RunLabels(
        directory=directory,
        name=f"{title} seed={settings.seed}",
        group=f"{title[:100]} {seedless[:6]}",  # the service allows 128 characters
        job_type=sampler,
        tags=[tag[:64] for tag in (*tags, *marks)],
        config=settings.config(),
        steps=state["steps"] if state else None,
        wandb_id=state["wandb_id"] if state else None,
    )
