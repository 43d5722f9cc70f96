"""Whether an encoder's pooled state is its text's, and takes whatever the tokenizer gives it.

A few short sequences and one of the greatest length go through the encoder once. Shapes: S
sequences, D features.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from mtl_bert.data.batch import Batch, collate
from mtl_bert.data.table import Table
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.model.encoder import ModelError
from mtl_bert.model.multitask import MultiTaskModel
from mtl_bert.utils.errors import first_line

MOST = 2048  # tokens of the longest sequence tried: enough for tables of learned positions
NOISE = 1e-6  # of pooled states, relative: what rounding may do


def probe(model: MultiTaskModel, tokenize: Tokenize, name: str) -> None:
    """Try a model's encoder; weights, modes and random states stay as they are.

    Args:
        model: on the CPU.
        tokenize: makes its input.
        name: the encoder's, for messages.

    Raises:
        ModelError: the pooled state does not depend on the last token, or does on padding; or some
            input fails.
    """
    tokenizer, limit = tokenize.tokenizer, tokenize.max_length
    encoder = model.encoder_of(next(iter(model.tasks)))
    name = f"{name} ({type(encoder).__name__})"
    front, back = _special(tokenizer)
    vocabulary = sorted(tokenizer.get_vocab().values())
    words = sorted({*vocabulary} - {*tokenizer.all_special_ids}) or vocabulary
    room = min(limit, MOST) - len(front) - len(back)

    def sequence(count: int, last: int) -> list[int]:
        inside = [words[place % len(words)] for place in range(count - 1)]
        return [*front, *inside, last, *back]

    def refuse(expected: str, found: str, advice: str = "write another model.path") -> ModelError:
        return ModelError(f"model: expected an encoder{expected}, found {name}, {found}; {advice}")

    def pooled(batch: Batch, what: str, advice: str = "write another model.path") -> Tensor:
        try:
            states = model.pooled(next(iter(model.tasks)), batch)
            if states.shape != (len(batch.cu_seqlens) - 1, model.features):
                raise ValueError(f"states of shape {list(states.shape)}")
            if not states.isfinite().all():
                raise ValueError("states that are not finite")
            return states
        except Exception as error:  # encoders are anybody's, and so is what they raise
            raise refuse(what, f"which fails ({first_line(error)})", advice) from error

    def batch_of(*sequences: Sequence[int]) -> Batch:
        lengths, tokens = np.array([*map(len, sequences)]), np.concatenate(sequences)
        has_types = "token_type_ids" in tokenizer.model_input_names
        types = np.zeros_like(tokens) if has_types else None
        return Batch.of(lengths, tokens, types, None, np.arange(len(sequences)))

    if getattr(encoder.config, "is_encoder_decoder", False) and hasattr(encoder, "decoder"):
        raise refuse("", "which has a decoder, too", "write the model.path of one like BERT")
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            short = sequence(min(4, room - 1), words[0])
            other = sequence(min(4, room - 1), words[1 % len(words)])
            longer = sequence(min(16, room), words[0])
            alone = pooled(batch_of(short), " of texts")[0]
            padded, changed, _ = pooled(batch_of(short, other, longer), " of padded texts")
            moved, leaked = _apart(changed, padded), _apart(padded, alone)
            if moved < NOISE:
                raise refuse(
                    " whose pooled state has read the text",
                    "whose answer no last token changes (does it read only forwards?)",
                    "write the model.path of one that reads both ways, such as BERT",
                )
            if leaked > max(50 * NOISE, moved / 100):
                raise refuse(" that heeds its mask", "whose answer changes with padding")
            highest = sequence(2, vocabulary[-1])
            pooled(
                batch_of(highest),
                f" with an embedding of each of its tokenizer's {vocabulary[-1] + 1:,} tokens",
                "write a model.path whose tokenizer and encoder fit each other",
            )
            with _one_layer(encoder):
                pooled(
                    batch_of(sequence(room, words[0])),
                    f" of texts of {min(limit, MOST)} tokens",
                    "write a smaller model.max_length",
                )
            if tokenize.cross_encode and any(task.pair for task in model.tasks.values()):
                encoded = tokenize(Table("a pair", ("0",), (("a", "a"),), None))
                pooled(
                    collate(encoded, np.arange(1), torch.float32),
                    " of pairs in the segments that its tokenizer gives",
                    "write model.pairs=alone, or take token_type_ids out of model_input_names in "
                    "its tokenizer_config.json",
                )
    finally:
        model.train(training)


class _EnoughError(Exception):
    """The first layer has taken its input, and so will the others."""


@contextmanager
def _one_layer(encoder: nn.Module) -> Iterator[None]:
    """End what is computed within after one layer, of which a long sequence would have many."""

    def stop(*_: object) -> None:
        raise _EnoughError

    count = getattr(encoder.config, "num_hidden_layers", None)
    stacks = [p for p in encoder.modules() if isinstance(p, nn.ModuleList) and len(p) == count]
    hooks = [stack[0].register_forward_hook(stop) for stack in stacks]
    try:
        yield
    except ModelError as error:
        if not isinstance(error.__cause__, _EnoughError):
            raise
    finally:
        for hook in hooks:
            hook.remove()


def _special(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The tokens that the tokenizer puts before a text, and those behind it."""
    nothing, text = tokenizer("")["input_ids"], tokenizer("a")["input_ids"]
    same = [a == b for a, b in zip(nothing, text, strict=False)]
    front = [*same, False].index(False)
    return nothing[:front], nothing[front:]


def _apart(a: Tensor, b: Tensor) -> float:
    """How far two states [D] are apart, relative to the larger entries."""
    return float((a - b).abs().max() / b.abs().max().clamp_min(torch.finfo(b.dtype).tiny))
