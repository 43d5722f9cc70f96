"""A trained model's answers to texts, without anything that trains.

Shapes: N examples, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from mtl_bert.config.settings import ConfigError
from mtl_bert.data import Table
from mtl_bert.data.batch import collate
from mtl_bert.runs.factories import make, make_tasks
from mtl_bert.runs.text_model import TextModel, make_text_model
from mtl_bert.tasks import Task

if TYPE_CHECKING:
    from mtl_bert.runs.opened import Run

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
BATCH = 64


@dataclass(frozen=True)
class Predictor:
    """A run's model, ready to answer.

    Attributes:
        tasks: that it knows.
        text_model: the model, in evaluation mode on its device, and its tokenizer.
        half: the half-precision type that it computes in, or None.
    """

    tasks: Mapping[str, Task]
    text_model: TextModel
    half: torch.dtype | None

    def answers(self, task: str, texts: Sequence[tuple[str, ...]]) -> pd.DataFrame:
        """The answers to texts or pairs, as :meth:`mtl_bert.runs.opened.Run.predict` gives them."""
        ids = tuple(map(str, range(len(texts))))
        outputs = self.outputs(task, Table("the texts given", ids, tuple(texts), None))
        head = self.tasks[task].head
        predictions = head.predict(outputs).tolist()
        names = [head.names[int(number)] for number in predictions] if head.names else None
        confidence = head.confidence(outputs).tolist()
        return pd.DataFrame({"prediction": predictions, "confidence": confidence, "name": names})

    @torch.inference_mode()
    def outputs(self, task: str, table: Table) -> Tensor:
        """What a task's head gives for each row of a table, in its order: [N, ...].

        Raises:
            ConfigError: outputs that are not finite.
        """
        model, device = self.text_model.model, self._device
        encoded = self.text_model.encode(task, table)
        label_type = self.tasks[task].head.label_type
        parts, rows = [], []
        with torch.autocast(device.type, dtype=self.half, enabled=self.half is not None):
            for numbers in encoded.batches(BATCH):
                batch = collate(
                    encoded, numbers, label_type, self.text_model.tokenize.pad_token_id
                ).to(device)
                parts.append(model(task, batch))
                rows.append(batch.rows)
        outputs = torch.cat(parts)[torch.cat(rows).argsort()].cpu()
        if not outputs.isfinite().all():
            raise ConfigError(
                f"task {task}: expected finite outputs, found others; write another checkpoint"
            )
        return outputs

    @property
    def _device(self) -> torch.device:
        return next(self.text_model.model.parameters()).device


def load_predictor(run: "Run") -> Predictor:
    """Load a run's checkpoint to answer with.

    Raises:
        ConfigError, ModelError, HubError: an encoder or a checkpoint that cannot be had or used.
    """
    settings = run.settings
    tasks = make_tasks(settings)
    text_model = make_text_model(settings, tasks, make(settings.model.source))
    run.load_into(text_model.model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    text_model.model.to(device).eval()
    half = AUTOCAST.get(settings.trainer.precision)
    return Predictor({task.name: task for task in tasks}, text_model, half)
