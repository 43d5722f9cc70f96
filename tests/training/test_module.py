"""What the Lightning shell must not get wrong by itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer

from mtl_bert.data.batch import Batch
from mtl_bert.runs.factories import make
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.build import Assembly, assemble, make_trainer
from mtl_bert.training.divergence import DivergedError
from mtl_bert.training.module import MultiTaskModule
from tests.composing import settings_of

SMALL = (
    "data.scale=0.003",
    "epochs=1",
    "batch_size=6",
    "sampler=rr",
    *(f"tasks.{task}.sources.demo.dev=21" for task in ("sst", "qqp", "sts")),
)


class Modes(Callback):
    """Which parts of the model are in training mode at each step."""

    def __init__(self) -> None:
        self.evaluating: set[str] = set()
        self.steps = 0

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, module: MultiTaskModule, batch: PlanStep[Batch], index: int
    ) -> None:
        self.steps += 1
        self.evaluating |= {name for name, part in module.named_modules() if not part.training}


def test_a_pretrained_encoder_trains_with_its_dropout_on(tmp_path: Path) -> None:
    tiny = make(settings_of().model.source)
    encoder = tiny.encoder()
    encoder.save_pretrained(tmp_path / "encoder")
    tiny.tokenizer().save_pretrained(tmp_path / "encoder")
    settings = settings_of(*SMALL, "epochs=2", "model=local", f"model.path={tmp_path / 'encoder'}")
    parts, modes = assemble(settings), Modes()
    trainer = make_trainer(settings, tmp_path, [], [modes])
    trainer.validate(parts.module, parts.datamodule, verbose=False)
    trainer.fit(parts.module, parts.datamodule)
    assert modes.steps == 6
    assert not modes.evaluating


def predictions(parts: Assembly, tmp_path: Path, *overrides: str) -> dict[str, np.ndarray]:
    settings = settings_of(*SMALL, *overrides)
    other = assemble(settings)
    other.module.load_state_dict(parts.module.state_dict())
    trainer = make_trainer(settings, tmp_path, [], [])
    trainer.validate(other.module, other.datamodule, verbose=False)
    assert other.module.evaluation is not None
    answers = other.module.evaluation.answers
    return {task: of_task.predictions.numpy() for task, of_task in answers.items()}


def test_predictions_stand_in_the_order_of_the_dev_set(tmp_path: Path) -> None:
    parts = assemble(settings_of(*SMALL))
    many = predictions(parts, tmp_path, "trainer.eval_batch_size=64")
    few = predictions(parts, tmp_path, "trainer.eval_batch_size=4")
    assert few["sts"].shape == (21,)
    for task, values in many.items():
        np.testing.assert_allclose(few[task], values, atol=1e-5)

    # And read off the model itself.
    model = parts.module.model.eval()
    steps = parts.datamodule.val_dataloader()
    batches = [step.batches["sts"] for step in steps if "sts" in step.batches]
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == list(range(21))
    for batch in batches:
        with torch.inference_mode():
            outputs = model("sts", batch)
        np.testing.assert_allclose(outputs.numpy(), many["sts"][batch.rows], atol=1e-5)


def test_bf16_keeps_losses_and_surgery_in_float32(tmp_path: Path) -> None:
    settings = settings_of(*SMALL, "trainer.precision=bf16-mixed")
    parts = assemble(settings)
    make_trainer(settings, tmp_path, [], []).fit(parts.module, parts.datamodule)
    assert all(p.dtype == torch.float32 for p in parts.module.model.parameters())
    losses = parts.module.step_log.epoch.losses()
    assert set(losses) == {"sst", "qqp", "sts"}
    assert losses["sst"] == pytest.approx(np.log(5), rel=0.5)


@pytest.mark.parametrize("sampler", ["full", "rr"])
def test_a_run_that_diverges_stops_with_a_line(sampler: str, tmp_path: Path) -> None:
    settings = settings_of(
        *SMALL, "data.scale=0.001", f"sampler={sampler}", "lr=1e25", "epochs=4",
        "trainer.skip_limit=2",
    )  # fmt: skip
    parts = assemble(settings)
    with pytest.raises(
        DivergedError, match=r"epoch .* in 2 steps in a row.* a lower lr|predictions"
    ):
        make_trainer(settings, tmp_path, [], []).fit(parts.module, parts.datamodule)


def test_data_workers_change_nothing(tmp_path: Path) -> None:
    weights = []
    for workers in (0, 2):
        settings = settings_of(*SMALL, f"trainer.num_workers={workers}", "sampler=arrp", "B=24")
        parts = assemble(settings)
        make_trainer(settings, tmp_path, [], []).fit(parts.module, parts.datamodule)
        weights.append(parts.module.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
