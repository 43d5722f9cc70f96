"""A model with what turns texts into its input, for training and for inference alike."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.data import Table
from mtl_bert.data.encoded import Encoded
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.machine.hardware import usable_threads, wants_packing
from mtl_bert.model import EncoderSource, ModelError, MultiTaskModel
from mtl_bert.runs.factories import make_sampler
from mtl_bert.sampling import Single
from mtl_bert.tasks import Task

log = logging.getLogger(__name__)

DEFAULT_THREADS = usable_threads()  # what an earlier job of a sweep set must not stay

UNLIMITED = 10**9  # tokenizers without a limit of their own answer with something astronomical


@dataclass(frozen=True)
class TextModel:
    """A model and what turns texts into its input.

    Attributes:
        model: the encoder and the heads.
        tokenize: turns tables into the encoder's tokens.
    """

    model: MultiTaskModel
    tokenize: Tokenize

    def encode(self, task: str, table: Table) -> Encoded:
        """The tokens of a task's table, saying how many texts were cut."""
        encoded = self.tokenize(table)
        self.report_cut({task: encoded})
        return encoded

    def report_cut(self, encoded: Mapping[str, Encoded]) -> None:
        """Say how many texts of each task were cut."""
        limit = self.tokenize.max_length
        for task, part in encoded.items():
            if truncated := part.truncated:
                log.warning("%s: %d texts were cut at %d tokens", task, truncated, limit)


def make_text_model(settings: Settings, tasks: Sequence[Task], source: EncoderSource) -> TextModel:
    """A fresh model, its weights those that the seed gives.

    Raises:
        ConfigError, ModelError, HubError: an encoder that cannot be had or used.
    """
    torch.set_num_threads(settings.trainer.threads or DEFAULT_THREADS)
    tokenizer = source.tokenizer()
    cross_encode = settings.model.pairs == "joint"
    per_task = isinstance(make_sampler(settings), Single)
    torch.manual_seed(settings.seed)
    model = MultiTaskModel(
        tasks,
        source,
        cross_encode=cross_encode,
        dropout=settings.model.dropout,
        encoder_per_task=per_task,
    ).to(torch.float64 if settings.trainer.precision == "64-true" else torch.float32)
    if wants_packing(settings.trainer) and not model.pack():
        log.info("%s has its own ways with positions or attention: batches are padded", source.name)
    max_length = _max_length(settings, tokenizer, model)
    if not isinstance(tokenizer.pad_token_id, int):
        raise ModelError(
            f"model: expected a tokenizer with a padding token, found none in "
            f"{source.name}; set pad_token in its tokenizer_config.json"
        )
    return TextModel(model, Tokenize(tokenizer, max_length, cross_encode))


def _max_length(
    settings: Settings, tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel
) -> int:
    positions = getattr(model.encoder_config, "max_position_embeddings", None)
    limits = (tokenizer.model_max_length, positions)
    limit = min(value for value in limits if value is not None and value > 0)
    least = tokenizer.num_special_tokens_to_add(pair=True) + 2  # a token of each text
    wanted = settings.model.max_length or min(limit, UNLIMITED)
    if not least <= wanted <= limit:
        raise ConfigError(
            f"model.max_length: expected {least} to {limit} tokens, found {wanted}; "
            f"write model.max_length={min(limit, 128)}"
        )
    return int(wanted)
