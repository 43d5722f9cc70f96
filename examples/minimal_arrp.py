"""The paper's method on one screen: ARRP and PCGrad, in plain torch.

Sentiment, paraphrase and similarity share one encoder, and there is far more text for paraphrase.
Each epoch has two phases. First every task gives as many examples as the smallest one has, and
PCGrad makes one update of the three gradients. Then the largest task goes on alone, with B of its
other examples, its loss times λ.

    python examples/minimal_arrp.py    # made-up text and a small random encoder: half a minute
    python examples/minimal_arrp.py --data DIR --encoder sentence-transformers/all-MiniLM-L6-v2

DIR holds the course's files: ids-sst-train.csv, ids-sst-dev.csv, quora-…, sts-…. It prints for each
epoch the mean losses, how many joint steps had a conflict, and the dev scores.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean

import torch
from torch.utils.data import DataLoader

from mtl_bert import ARRP, PCGrad, PlanLoader, Surgeon, Surgery
from text_tasks import LOSS, Net, load, read, score


def main(argv: Sequence[str] | None = None) -> Net:
    """Train, print, and return the net."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", metavar="DIR", help="the course's files; else made-up text")
    parser.add_argument("--encoder", help="name or folder; else a small random one")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--B", type=int, default=24_000, help="of the second phase, at most")
    options = parser.parse_args(argv)

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net, collate = load(options.encoder)
    net.to(device)
    train, dev = (
        {task: read(options.data, task, split) for task in LOSS} for split in ("train", "dev")
    )

    sampler = ARRP(batch_size=8, B=options.B, lambda_=0.5)
    loader = PlanLoader(train, sampler, epochs=options.epochs, seed=1, collate_fn=collate)
    # As in the paper: the heads take part in dot products, and what all tasks share gets the mean.
    surgeon = Surgeon(net, Surgery(PCGrad(include_self=True), scope="all", reduction="mean"))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-5 if options.encoder else 7e-4)

    for epoch in range(1, options.epochs + 1):
        loader.set_epoch(epoch)
        losses, conflicts = defaultdict(list), []
        for step in loader:
            with surgeon.step(optimizer, step.phase):  # on leaving: combine, update
                for task, batch in step.to(device).batches.items():
                    surgeon.backward(task, net.loss(task, batch))
            for task, loss in surgeon.last.losses.items():
                losses[task].append(loss)
            if step.phase.surgery:
                conflicts.append(bool(surgeon.last.conflicts))
        scores = {
            task: score(net, task, DataLoader(dev[task], 64, collate_fn=collate)) for task in dev
        }
        print(
            f"epoch {epoch}: loss",
            *(f"{task} {mean(values):.3f}" for task, values in losses.items()),
            f"| conflicts in {sum(conflicts)} of {len(conflicts)} joint steps | dev",
            *(f"{task} {value:.3f}" for task, value in scores.items()),
        )
    return net


if __name__ == "__main__":
    main()
