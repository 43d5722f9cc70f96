"""What a run has used of its training sets, against counting by hand."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.sampling import ARRP
from mtl_bert.training.callbacks.recorder import Usage


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.integers(1, 4))
def test_it_counts_what_steps_show(first: int, second: int, seed: int, epochs: int) -> None:
    sizes = {"a": first, "b": second}
    sampler = ARRP(batch_size=4, B=7, lambda_=0.5)
    shown: Counter[tuple[str, int]] = Counter()
    used = Usage(sizes)
    for epoch in range(1, epochs + 1):
        plan = sampler(sizes, epoch, 9, seed)
        used.add(plan)
        for step in plan.steps:
            shown.update((task, int(row)) for task, rows in step.rows.items() for row in rows)
    assert used.epochs == epochs
    for task, found in used.read().items():
        counts = [n for (name, _), n in shown.items() if name == task]
        assert (found.examples, found.unique) == (sum(counts), len(counts))
        assert found.fraction == len(counts) / sizes[task]
