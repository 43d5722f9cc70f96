"""What a run has to say when it has ended: its results, and what a reader has to know of them."""

from datetime import UTC, datetime

from mtl_bert.config.settings import Settings
from mtl_bert.runs import provenance
from mtl_bert.runs.results import DataRecord, Results
from mtl_bert.training.build import Assembly
from mtl_bert.training.callbacks.recorder import Recorder
from mtl_bert.training.datamodule import PlanDataModule


def collect(
    settings: Settings, parts: Assembly, recorder: Recorder, commit: str | None, device: str
) -> Results:
    """The results of a run, so far or at its end.

    Args:
        settings: the run's.
        parts: that were trained.
        recorder: knows the epochs and the best of them.
        commit: of the program's checkout when the run began.
        device: that it was trained on.
    """
    datamodule, module, (best, last) = parts.datamodule, parts.module, recorder.reported
    notes = notes_on(settings, parts.data, datamodule if recorder.epochs else None)
    notes += recorder.remarks
    if module.step_log.skipped:
        notes.append(f"{len(module.step_log.skipped)} steps were skipped: not all was finite")
    seconds = [epoch.seconds for epoch in recorder.epochs]
    return Results(
        config=settings.config(),
        overrides=settings.overrides,
        seed=settings.seed,
        commit=commit,
        device=device,
        versions=provenance.versions(),
        data=parts.data,
        encoder=parts.encoder,
        score=best.score,
        tasks=best.tasks,
        best_epoch=best.epoch,
        last_epoch=last.epoch,
        last=last,
        untrained=recorder.untrained,
        utilisation=recorder.utilisation(datamodule),
        minutes_per_epoch=sum(seconds) / max(1, len(seconds)) / 60,
        epochs=recorder.epochs,
        skipped=module.step_log.skipped,
        overflows=module.step_log.overflows,
        notes=notes,
        finished=datetime.now(UTC),
    )


def notes_on(settings: Settings, data: DataRecord, trained: PlanDataModule | None) -> list[str]:
    """What a reader has to know about numbers from such data and such training.

    Args:
        settings: the run's.
        data: what it is trained and scored on.
        trained: the plan by which it is trained; None where nothing is.
    """
    notes = []
    if data.synthetic:
        notes.append(f"data={data.name} is synthetic: no number here is a published one")
    for task, data_sets in data.seen.items():
        notes.append(
            f"the encoder has seen the data of {task} before: its model card names "
            f"{', '.join(data_sets)}"
        )
    if trained is None:
        return notes
    if (window := settings.group_by_length) is not None:
        notes.append(
            f"group_by_length={window}: examples of like length share a batch, within {window} "
            "steps; the paper's batches are random"
        )
    if (every := settings.trainer.check_val_every_n_epoch) > 1:
        notes.append(
            f"trainer.check_val_every_n_epoch={every}: the best epoch is the best of those that "
            "were scored"
        )
    if trained.samples:
        sampled = [
            f"{sample:,} of the {trained.dev_sizes[task]:,} of {task}"
            for task, sample in trained.sample_sizes.items()
            if sample < trained.dev_sizes[task]
        ]
        notes.append(
            f"trainer.dev_sample={settings.trainer.dev_sample}: the best epoch is chosen on a "
            f"sample of dev examples ({', '.join(sampled)}); its scores and the last epoch's are "
            "of all"
        )
    return notes
