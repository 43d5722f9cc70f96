"""Three text tasks for the examples beside this file: their data, a model, losses and scores.

Sentiment (SST), paraphrase (QQP) and similarity (STS), from the files of Stanford's course CS224N
or made up. There is nothing of mtl_bert in here but the made-up text and a small random encoder.
"""

import csv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoTokenizer, BatchEncoding

from mtl_bert.data.sources.demo import paraphrase, sentiment, similarity
from mtl_bert.model import Tiny

Example = tuple[tuple[str, ...], float]  # one text or two, and the label
Batch = tuple[BatchEncoding, Tensor]

FILES = {
    "sst": ("ids-sst-{}.csv", "sentiment"),
    "qqp": ("quora-{}.csv", "is_duplicate"),
    "sts": ("sts-{}.csv", "similarity"),
}
MADE_UP = {"sst": (sentiment, 600), "qqp": (paraphrase, 6000), "sts": (similarity, 400)}
TINY = {
    "hidden_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 8,
    "intermediate_size": 96,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}

OUTPUTS = {"sst": 5, "qqp": 1, "sts": 1}
LOSS = {
    "sst": lambda outputs, labels: F.cross_entropy(outputs, labels.long()),
    "qqp": F.binary_cross_entropy_with_logits,
    "sts": F.mse_loss,
}


def read(folder: str | None, task: str, split: str) -> list[Example]:
    """The complete rows of one of the course's files; made-up ones if there is no folder."""
    if folder is None:
        make, size = MADE_UP[task]
        return make(size if split == "train" else 300, np.random.default_rng(len(split)))
    file, label = FILES[task]
    with (Path(folder) / file.format(split)).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    columns = ["sentence", label] if task == "sst" else ["sentence1", "sentence2", label]
    cells = [[row[column] for column in columns] for row in rows]
    return [(tuple(row[:-1]), float(row[-1])) for row in cells if all(row)]


class Net(nn.Module):
    """An encoder, the mean of its tokens, and a linear head for each task."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.config.hidden_size
        self.heads = nn.ModuleDict({task: nn.Linear(width, n) for task, n in OUTPUTS.items()})

    def forward(self, task: str, tokens: BatchEncoding) -> Tensor:
        """A task's outputs: [B, 5] for the classes of sentiment, [B] for the others."""
        states, mask = self.encoder(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
        return self.heads[task]((states * mask).sum(1) / mask.sum(1)).squeeze(-1)

    def loss(self, task: str, batch: Batch) -> Tensor:
        """The mean loss of a batch."""
        tokens, labels = batch
        return LOSS[task](self(task, tokens), labels)


def load(encoder: str | None) -> tuple[Net, Callable[[Sequence[Example]], Batch]]:
    """The net, and what makes batches for it; with a small random encoder if none is named."""
    if encoder is None:
        tiny = Tiny(TINY)
        return Net(tiny.encoder()), partial(collate, tiny.tokenizer())
    net = Net(AutoModel.from_pretrained(encoder, trust_remote_code=False))
    return net.train(), partial(
        collate, AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
    )


def collate(tokenizer: Callable[..., BatchEncoding], examples: Sequence[Example]) -> Batch:
    """Tokens and labels of a batch; two texts are one sequence."""
    texts, labels = zip(*examples, strict=True)
    sides = map(list, zip(*texts, strict=True))
    tokens = tokenizer(*sides, padding=True, truncation=True, return_tensors="pt")
    return tokens, torch.tensor(labels)


@torch.inference_mode()
def score(net: Net, task: str, batches: DataLoader) -> float:
    """Accuracy; for similarity Pearson's correlation."""
    net.eval()
    pairs = [(net(task, tokens.to(net.encoder.device)).cpu(), labels) for tokens, labels in batches]
    net.train()
    outputs, labels = map(torch.cat, zip(*pairs, strict=True))
    if task == "sts":
        return torch.corrcoef(torch.stack([outputs, labels]))[0, 1].item()
    predicted = outputs.argmax(1) if task == "sst" else outputs > 0
    return (predicted == labels).double().mean().item()
