"""A model with what turns texts into its input, for training and for inference alike."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from mtl_bert.config.settings import ConfigError, ModelSettings, Settings
from mtl_bert.data.batch import Tokenized
from mtl_bert.data.sources.records import UNREADABLE
from mtl_bert.data.table import Encoded, Table
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.machine.hardware import return_freed_memory, usable_threads, wants_packing
from mtl_bert.model import EncoderSource, MultiTaskModel
from mtl_bert.model.adapters import Adapter
from mtl_bert.model.packing import position_table
from mtl_bert.runs.factories import make_sampler
from mtl_bert.sampling import Single
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import UserError

if TYPE_CHECKING:
    import pandas as pd  # training starts half a second sooner without

log = logging.getLogger(__name__)

DEFAULT_THREADS = usable_threads()  # what an earlier job of a sweep set must not stay
UNLIMITED = 10**9  # tokenizers without a limit of their own answer with something astronomical
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
BATCH = 64
TIDIED = 16  # batches after which freed memory goes back to the system


@dataclass(frozen=True)
class TextModel:
    """A model and what turns texts into its input."""

    model: MultiTaskModel  # the encoder and the heads
    tokenize: Tokenize  # turns tables into the encoder's tokens
    half: torch.dtype | None = None  # the half-precision type that it computes in
    name: str = ""  # the encoder's, and what is not as it was saved

    def report_cut(self, encoded: Mapping[str, Encoded], of: str = "") -> None:
        """Say how many texts of each task were cut; ``of`` says which texts they are."""
        for task, part in encoded.items():
            if truncated := part.truncated:
                limit = self.model.tasks[task].max_length or self.tokenize.max_length
                texts = f"{of} texts".lstrip()
                log.warning("%s: %d %s were cut at %d tokens", task, truncated, texts, limit)

    def predict(self, task: str, texts: Sequence[str | tuple[str, ...]]) -> "pd.DataFrame":
        """The model's answers to new texts, a row for each.

        Columns: prediction in the labels' own values (a class's number, or a number on the task's
        scale), confidence (its probability, NaN where there is none), and name, what the class is
        called (None where there are no classes).

        Args:
            task: whose question is answered.
            texts: one text for each answer; of a task about pairs, two in a tuple.

        Raises:
            UserError: an unknown task, texts that are no pairs, or answers that are not finite.
        """
        import pandas as pd

        if (known := self.model.tasks.get(task)) is None:
            raise UserError(
                f"task: expected one of {', '.join(self.model.tasks)}, found {task!r}; write for "
                f"example {next(iter(self.model.tasks))}"
            )
        pair, head = known.pair, known.head
        rows = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
        for row in rows:
            if len(row) != 1 + pair:
                wanted = "pairs of texts, each a tuple," if pair else "single texts"
                raise UserError(
                    f"texts: expected {wanted} for {task}, found {row!r}; write for example "
                    f"{[('a text', 'another')] if pair else ['a text']}"
                )
            if any(UNREADABLE.search(text) for text in row):
                raise UserError(
                    f"texts: expected text, found {row!r} with a NUL byte or half a character in "
                    "it; leave that out"
                )
        if not rows:
            return pd.DataFrame({"prediction": [], "confidence": [], "name": []})
        ids = tuple(map(str, range(len(rows))))
        outputs = self.outputs(task, Table("the texts given", ids, tuple(rows), None))
        predictions = head.predict(outputs).tolist()
        names = [head.called(prediction) for prediction in predictions] if head.names else None
        confidence = head.confidence(outputs).tolist()
        return pd.DataFrame({"prediction": predictions, "confidence": confidence, "name": names})

    def outputs(self, task: str, table: Table) -> Tensor:
        """What a task's head gives for each of the N rows of a table, in its order: [N, ...]."""
        encoded = self.tokenize.up_to(self.model.tasks[task].max_length)(table)
        self.report_cut({task: encoded})
        return self.outputs_of([task], encoded)[task]

    @torch.inference_mode()
    def outputs_of(self, tasks: Sequence[str], encoded: Encoded) -> dict[str, Tensor]:
        """The same of several tasks for N encoded rows, which go through a shared encoder once.

        Raises:
            ConfigError: an output that is not finite.
        """
        device = next(self.model.parameters()).device
        outputs: dict[str, Tensor] = {}
        with torch.autocast(device.type, dtype=self.half, enabled=self.half is not None):
            for count, numbers in enumerate(encoded.batches(BATCH), 1):
                batch = Tokenized(encoded, torch.float32)[numbers].to(device)
                for task, answers in self.model.of_all(tasks, batch).items():
                    # Kept in one piece: many small ones would lie between what is freed.
                    if task not in outputs:
                        outputs[task] = answers.new_empty(len(encoded), *answers.shape[1:])
                    outputs[task][torch.from_numpy(batch.rows)] = answers
                if count % TIDIED == 0:
                    return_freed_memory()
        outputs = {task: found.cpu() for task, found in outputs.items()}
        for task, found in outputs.items():
            if not found.isfinite().all():
                raise ConfigError(
                    f"task {task}: expected finite outputs, found others; write another checkpoint"
                )
        return outputs


def make_text_model(settings: Settings, tasks: Sequence[Task], source: EncoderSource) -> TextModel:
    """A fresh model, its weights those that the seed gives; UserError without its encoder."""
    precision = settings.trainer.precision
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that share the machine
    torch.set_num_threads(settings.trainer.threads or max(1, DEFAULT_THREADS // beside))
    tokenizer = source.tokenizer()
    cross_encode = settings.model.pairs == "joint"
    per_task = isinstance(make_sampler(settings), Single)
    wanted = settings.model
    layers = None if wanted.adapter_layers is None else tuple(wanted.adapter_layers)
    adapter = Adapter(
        wanted.adapter, wanted.adapter_size, wanted.adapter_heads, layers, wanted.lora_alpha
    )
    torch.manual_seed(settings.seed)
    model = MultiTaskModel(
        tasks,
        source,
        cross_encode=cross_encode,
        dropout=wanted.dropout,
        encoder_per_task=per_task,
        pooling=wanted.pooling,
        layers=wanted.layers,
        adapter=adapter,
        freeze_encoder=wanted.freeze_encoder,
        gradient_checkpointing=wanted.gradient_checkpointing,
    ).to(torch.float64 if precision == "64-true" else torch.float32)
    if wants_packing(settings.trainer) and not model.pack():
        log.info("%s may not give the same without padding: batches are padded", source.name)
    tokenize = Tokenize(tokenizer, _max_length(settings, tokenizer, model), cross_encode)
    return TextModel(model, tokenize, AUTOCAST.get(precision), _name(settings.model, source.name))


def _name(wanted: ModelSettings, encoder: str) -> str:
    usual = {"source", "path", "pairs", "dropout", "max_length", "gradient_checkpointing"}
    usual |= {"adapter", "adapter_size", "adapter_heads", "adapter_layers", "lora_alpha"}
    usual |= {"freeze_encoder"}  # what is trained is the method's
    changes = wanted.model_dump(exclude=usual, exclude_defaults=True)
    said = ", ".join(f"{key}={value}" for key, value in changes.items())
    return f"{encoder} ({said})" if said else encoder


def _max_length(
    settings: Settings, tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel
) -> int:
    _, positions = position_table(model.encoder_of(next(iter(model.tasks))))
    limits = (tokenizer.model_max_length, positions, UNLIMITED)
    limit = min(value for value in limits if value is not None and value > 0)
    least = tokenizer.num_special_tokens_to_add(pair=True) + 2  # a token of each text
    wanted = settings.model.max_length or limit
    if limit < least:
        raise ConfigError(
            f"model.path: expected an encoder with positions for at least {least} tokens, two of "
            f"them of texts, found {limit}; write another, or model=tiny"
        )
    own = {f"tasks.{t.name}.max_length": t.max_length for t in model.tasks.values()}
    for key, found in {"model.max_length": wanted, **own}.items():
        if found is not None and not least <= found <= limit:
            raise ConfigError(
                f"{key}: expected {least} to {limit} tokens, found {found}; "
                f"write {key}={min(limit, 128)}"
            )
    return int(wanted)
