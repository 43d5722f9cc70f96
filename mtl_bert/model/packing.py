"""Encoding a batch's sequences end to end, without padding.

Everything in an encoder but attention looks at one token at a time, so the tokens of all sequences
can stand in one row; attention alone spreads them out, a sequence in each row. What comes out is
what padding would give, to rounding. (Told of the sequences by ``position_ids`` alone, the usual
attention kernels look across their borders without a word.)

Shapes: S sequences, N tokens over all of them, T tokens of the longest, H heads, D features.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from mtl_bert.data.batch import Batch
from mtl_bert.model.pooling import POOLINGS

ATTENTION = "packed"

# Kinds of encoders that look at positions and at nothing else of the order, tried with padding.
PACKABLE = frozenset(
    {"bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"}
)
TOLERANCE = 2e-5  # of outputs around 1, in float32
SAMPLE = (7, 3, 5)  # tokens of the sequences that an encoder is tried with


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: Batch,
    mask: Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attention within each sequence, as transformers calls it: of [1, H, N, D] to [1, N, H, D].

    Args:
        query, key, value: projections of the tokens, all sequences in one row.
        packed: the batch, which knows where each token stands in the padded form.
        mask: True at the tokens of the padded form: [S, 1, 1, T].
    """
    H, N, D = query.shape[1:]
    S, T = len(mask), packed.max_seqlen

    def spread(part: Tensor) -> Tensor:
        rows = part.new_zeros(S * T, H * D)
        rows = rows.index_copy(0, packed.positions, part[0].transpose(0, 1).reshape(N, H * D))
        return rows.view(S, T, H, D).transpose(1, 2)

    if sliding_window is not None and sliding_window < T:
        places = torch.arange(T, device=query.device)
        near = (places[:, None] - places).abs() < sliding_window
        mask = mask & (near | ~mask.transpose(2, 3))  # padding may look at all, lest at nothing

    attended = scaled_dot_product_attention(
        spread(query), spread(key), spread(value), mask, dropout_p=dropout, scale=scaling
    )
    rows = attended.transpose(1, 2).reshape(S * T, H * D)
    return rows.index_select(0, packed.positions).view(1, N, H, D), None


AttentionInterface.register(ATTENTION, packed_attention)


def pack(encoder: PreTrainedModel) -> bool:
    """Have an encoder attend within packed sequences, if it is one that can; say whether it does.

    An encoder of an unknown kind stays as it is, and so does one whose packed outputs differ from
    its padded ones on a small sample.
    """
    if getattr(encoder.config, "model_type", None) not in PACKABLE:
        return False
    if next(encoder.parameters()).is_meta:  # no numbers to try it with
        encoder.set_attn_implementation(ATTENTION)
        return True
    batch = sample(encoder, SAMPLE)
    training, before = encoder.training, encoder.config._attn_implementation
    encoder.train(False)
    with torch.inference_mode():
        try:  # one that fails with padding, too, is told of by the probe
            expected = pooled_padded(encoder, batch, "mean")
            encoder.set_attn_implementation(ATTENTION)
            same = torch.allclose(pooled_packed(encoder, batch, "mean"), expected, atol=TOLERANCE)
        except (AttributeError, IndexError, TypeError, ValueError, RuntimeError):
            same = False
    if not same:
        encoder.set_attn_implementation(before)
    encoder.train(training)
    return same


def pooled_packed(encoder: PreTrainedModel, batch: Batch, pooling: str) -> Tensor:
    """One vector for each sequence of a batch, by an encoder that packs: [S, D]."""
    types = batch.token_type_ids
    segments = {} if types is None else {"token_type_ids": types[None]}
    mask = batch.mask
    (hidden,) = encoder(
        input_ids=batch.input_ids[None],
        position_ids=(batch.positions % batch.max_seqlen + position_table(encoder)[0])[None],
        packed=batch,
        mask=mask[:, None, None],
        **segments,
    ).last_hidden_state
    if pooling == "pooler":
        firsts = hidden.index_select(0, batch.cu_seqlens[:-1])
        return torch.as_tensor(cast(nn.Module, encoder.pooler)(firsts[:, None]))
    rows = hidden.new_zeros(mask.numel(), hidden.shape[-1])
    states = rows.index_copy(0, batch.positions, hidden).view(*mask.shape, -1)
    return POOLINGS[pooling](states, mask)


def pooled_padded(encoder: PreTrainedModel, batch: Batch, pooling: str) -> Tensor:
    """One vector for each sequence of a batch, every sequence as long as the longest: [S, D]."""
    types = batch.token_type_ids
    segments = {} if types is None else {"token_type_ids": batch.padded(types, 0)}
    mask = batch.mask
    attention_mask: Tensor | None = mask.long()  # as tokenizers give it: some subtract from it
    usual = getattr(encoder.config, "model_type", None) in PACKABLE - {"modernbert"}
    if mask.is_cuda and usual and encoder.config._attn_implementation == "sdpa":
        # transformers looks whether a mask masks anything, and waits for the GPU; shapes tell, too.
        padded = mask.numel() > len(batch.input_ids)
        attention_mask = mask[:, None, None] if padded else None
    output = encoder(
        input_ids=batch.padded(batch.input_ids, _padding(encoder)),
        attention_mask=attention_mask,
        **segments,
    )
    if pooling == "pooler":
        return torch.as_tensor(output.pooler_output)
    return POOLINGS[pooling](output.last_hidden_state, mask)


def _padding(encoder: PreTrainedModel) -> int:
    """The padding token's number; where there is none any will do, as nothing looks at it."""
    return int(getattr(encoder.config, "pad_token_id", None) or 0)


def position_table(encoder: nn.Module) -> tuple[int, int | None]:
    """The number of a sequence's first position, and how many positions there are, if limited.

    RoBERTa and its kin count from the padding's number, so that the table's first rows are unused.
    """
    limit = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
    for name, part in encoder.named_modules():
        padding = getattr(part, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            return padding + 1, len(part.weight) - padding - 1
    return 0, limit if limit is None or limit > 0 else None  # XLNet's is -1


def sample(encoder: PreTrainedModel, lengths: Sequence[int]) -> Batch:
    """Sequences of such lengths, without the padding token, on the encoder's device."""
    tokens = (_padding(encoder) + 1 + np.arange(sum(lengths))) % encoder.config.vocab_size
    batch = Batch.of(np.array(lengths), tokens, None, None, np.arange(len(lengths)))
    return batch.to(next(encoder.parameters()).device)
