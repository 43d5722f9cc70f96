"""How much of the data was used, against the paper's Table 1 and numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from mtl_bert.analysis import paper
from mtl_bert.analysis.data_usage import ALL, mean_usage, methods_table, run_table, usage
from mtl_bert.runs.results import Results, Utilisation
from mtl_bert.sampling import RoundRobin
from mtl_bert.sampling.epoch import rows_used
from tests.analysis.factory import PAPER_SIZES, Made
from tests.analysis.making import run_of, study_of

TASKS = ("sst", "qqp", "sts")


def planned(epochs: int) -> Results:
    """Results of a round-robin run over the paper's data, as its own plan uses them."""
    sampler = RoundRobin(batch_size=8)
    plans = [sampler(PAPER_SIZES, epoch, epochs, seed=1) for epoch in range(1, epochs + 1)]

    def used(task: str, upto: list[int]) -> Utilisation:
        rows = np.concatenate([rows_used(plans[n].steps, task) for n in upto])
        different = len(set(rows.tolist()))
        return Utilisation(
            examples=len(rows), unique=different, fraction=different / PAPER_SIZES[task]
        )

    results = run_of(Made(epochs=epochs, sizes=PAPER_SIZES)).results
    records = [
        epoch.model_copy(update={"utilisation": {task: used(task, [n]) for task in TASKS}})
        for n, epoch in enumerate(results.epochs)
    ]
    whole = {task: used(task, list(range(epochs))) for task in TASKS}
    return results.model_copy(update={"epochs": records, "utilisation": whole})


def test_a_real_plan_gives_the_papers_table_1() -> None:
    """RR, batch 8: 100.0 % of STS, 70.7 % of SST, 2.1 % of QQP (its Table 1)."""
    results = planned(1)
    found = usage(results, TASKS).set_index(["epoch", "task"])
    for epoch in (1, ALL):
        shown = (100 * found.loc[epoch]["fraction"]).round(1).to_dict()
        assert shown == {"sts": 100.0, "sst": 70.7, "qqp": 2.1}
        assert shown == {task: size.used for task, size in paper.SIZES.items()}
    assert (found["repeats"] == 0).all()
    table = run_table(replace(run_of(Made()), results=results), TASKS, study_of(Made()).subject)
    texts = {(row[0].text, row[1].text): [cell.text for cell in row[2:]] for row in table.rows}
    assert texts["sst", "all"] == ["6,040", "6,040", "70.7 %", "0", "0.71"]


def test_over_epochs_the_different_ones_are_no_sum() -> None:
    results = planned(3)
    found = usage(results, TASKS).set_index(["epoch", "task"]).loc[ALL]
    whole = found.loc["sts"]
    assert whole[["examples", "unique", "repeats"]].tolist() == [3 * 6040, 6040, 2 * 6040]
    assert whole.effective_epochs == 3
    sst = found.loc["sst"]
    assert sst.examples == 3 * 6040
    assert 6040 < sst["unique"] <= 8544  # other ones are drawn in each epoch
    assert sst.effective_epochs == pytest.approx(3 * 6040 / 8544)


def test_a_set_of_unknown_size_has_no_shares() -> None:
    run = run_of(Made())
    run.results.data.sizes["sst"]["train"] = 0
    table = run_table(run, ("sst",), study_of(Made()).subject)
    assert [table.rows[0][place].text for place in (4, 6)] == ["–", "–"]


def test_methods_are_means_over_seeds_and_every_epoch_is_in_the_csv_file() -> None:
    made = Made(dev={"sst": 10}, accuracies={"sst": 0.5}, sizes={"sst": 100}, epochs=2)
    study = study_of(made, replace(made, seed=2))
    numbers = [([30, 50], [20, 40], 45), ([50, 70], [40, 60], 75)]
    for run, (examples, unique, together) in zip(study.runs, numbers, strict=True):
        records = [
            epoch.model_copy(update={"utilisation": {
                "sst": Utilisation(examples=e, unique=u, fraction=u / 100)
            }})
            for epoch, e, u in zip(run.results.epochs, examples, unique, strict=True)
        ]  # fmt: skip
        whole = Utilisation(examples=sum(examples), unique=together, fraction=together / 100)
        run.__dict__["results"] = run.results.model_copy(
            update={"epochs": records, "utilisation": {"sst": whole}}
        )
    (group,) = study.compared
    found = mean_usage(group, ("sst",)).set_index("epoch")[["examples", "unique", "size"]]
    assert found.T.to_dict("list") == {1: [40, 30, 100], 2: [60, 50, 100], ALL: [100, 60, 100]}
    table = methods_table(study)
    assert table is not None
    (row,) = table.rows
    assert [cell.text for cell in row] == [
        "RR", "sst", "50", "40", "40.0 %", "100", "60", "60.0 %", "40", "1.00", "2",
    ]  # fmt: skip
    assert [record["epoch"] for record in table.records] == [1, 2, "all"]
    assert table.records[2]["effective_epochs"] == 1
    assert "SYNTHETIC" in table.title


def test_nothing_trained_has_no_ledger() -> None:
    assert methods_table(study_of(Made("random"))) is None
