"""Whether an encoder's pooled state is its text's, and it takes whatever its tokenizer gives.

A few short sequences go through the encoder, and one of the greatest length through one layer.
"""

from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtl_bert.data.batch import Batch, Tokenized
from mtl_bert.data.table import Table
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.model.encoder import ModelError
from mtl_bert.model.multitask import MultiTaskModel
from mtl_bert.utils.errors import first_line

MOST = 2048  # tokens of the longest sequence tried: enough for most tables of positions
NOISE = 5e-5  # of pooled states, relative: what rounding may do


class _EnoughError(Exception):
    """The first layer has taken a sequence, and so will the others."""


def probe(model: MultiTaskModel, tokenize: Tokenize, name: str) -> None:
    """Try the encoder of a model on the CPU; weights, modes and random states stay as they are.

    Raises:
        ModelError: naming the encoder, whose pooled state is not its text's, or which fails.
    """
    task, tokenizer = next(iter(model.tasks)), tokenize.tokenizer
    encoder, vocabulary = model.encoder_of(task), sorted(tokenizer.get_vocab().values())
    words = sorted({*vocabulary} - {*tokenizer.all_special_ids}) or vocabulary
    nothing, text = tokenizer("")["input_ids"], tokenizer("a")["input_ids"]
    first = [*map(int.__eq__, nothing, text), False].index(False)  # where a text would stand
    # A mean over a causal encoder's states has read the text, though hardly any of them has.
    reading = "cls" if model.pooling.kind in ("mean", "max") else model.pooling.kind
    room = min(tokenize.max_length, MOST) - len(nothing)

    def batch_of(*texts: tuple[int, int]) -> Batch:
        """Sequences of so many words, the last of them given, between the special tokens."""
        inside = [[*islice(cycle(words), count - 1), last] for count, last in texts]
        tokens = [[*nothing[:first], *some, *nothing[first:]] for some in inside]
        lengths, flat = np.array([*map(len, tokens)]), np.concatenate(tokens)
        types = np.zeros_like(flat) if "token_type_ids" in tokenizer.model_input_names else None
        return Batch.of(lengths, flat, types, None, np.arange(len(tokens)))

    def pooled(batch: Batch) -> Tensor:
        states = model.pooled(task, batch, reading)
        if states.shape != (len(batch.cu_seqlens) - 1, model.features):
            raise ValueError(f"its states have the shape {list(states.shape)}")
        if not states.isfinite().all():
            raise ValueError("its states are not finite")
        return states

    def stop(*_: Any) -> None:
        raise _EnoughError

    wanted, advice, hooks = "", "write the model.path of one like BERT", []
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            if getattr(encoder.config, "is_encoder_decoder", False) and hasattr(encoder, "decoder"):
                raise ValueError("it has a decoder")
            short, count = min(4, room - 1), vocabulary[-1] + 1
            (alone,) = pooled(batch_of((short, words[0])))
            ends = (short, words[0]), (short, words[1 % len(words)]), (min(16, room), words[0])
            padded, changed, _ = pooled(batch_of(*ends))
            scale = alone.abs().max().clamp_min(1e-30)
            moved, leaked = ((a - padded).abs().max() / scale for a in (changed, alone))
            wanted = " whose pooled state has read the text"
            if moved < 1e-6:
                raise ValueError("its state is the same whatever the last token; a causal one?")
            wanted = " that heeds its mask"
            if leaked > max(NOISE, moved / 100):
                raise ValueError("its state changes with padding")
            wanted = f" with an embedding of each of its tokenizer's {count:,} tokens"
            advice = "write a model.path whose tokenizer and encoder fit each other"
            pooled(batch_of((2, vocabulary[-1])))
            if tokenize.cross_encode and any(task.pair for task in model.tasks.values()):
                wanted, advice = " of pairs", "take token_type_ids out of model_input_names"
                pair = tokenize(Table("a pair", ("0",), (("a", "a"),), None))
                pooled(Tokenized(pair, torch.float32)[np.arange(1)])
            wanted, advice = f" of {room + len(nothing)} tokens", "write a smaller model.max_length"
            layers = getattr(encoder.config, "num_hidden_layers", None)
            for part in encoder.modules():
                if isinstance(part, nn.ModuleList) and len(part) == layers:
                    hooks.append(part[0].register_forward_hook(stop))
            pooled(batch_of((room, words[0])))
    except _EnoughError:
        pass
    except Exception as error:  # encoders are anybody's, and so is what they raise
        raise ModelError(
            f"model: expected an encoder{wanted}, found {name} ({type(encoder).__name__}), which "
            f"does not fit ({first_line(error)}); {advice}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
