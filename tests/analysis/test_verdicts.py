"""Every verdict of every claim, in cases made for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from mtl_bert.analysis import costs, paper
from mtl_bert.analysis.verdicts import (
    CLAIMS,
    CONTRADICTED,
    SUPPORTED,
    UNDECIDED,
    Claim,
    Judgement,
    judged,
)
from mtl_bert.runs.results import PhaseRecord
from tests.analysis.factory import Made, made_of
from tests.analysis.making import Told, study_of

ANNEALED, CLOSE, FREEZING, LAMBDA, FULL, CHEAP, MORE_B = CLAIMS
RR, V16, V56 = "RR", "vanilla B=16,000", "vanilla B=56,000"
A16, A56, A80 = (f"annealed B={B},000" for B in (16, 56, 80))
FAST = "ARRP F=0 λ=0.1 B=100,000"
F1, F05 = "ARRP F=1 λ=1 B=24,000", "ARRP F=1 λ=0.5 B=24,000"
S = "score"

Means = Mapping[tuple[str, str, str], float]


def rows(*names: tuple[int, str]) -> list[Made]:
    return [made_of(paper.row(table, name)) for table, name in names]


def all_rows() -> list[Made]:
    fourth = [(4, row.experiment) for row in paper.rows(4) if row.recipe.sampler == "arrp"]
    return rows(*[(2, row.experiment) for row in paper.rows(2)], *fourth)


def judge(
    claim: Claim, means: Means, made: Sequence[Made] | None = None, *, half: float = 0.002,
    common: int = 3,
) -> Judgement:  # fmt: skip
    study = study_of(*map(timed, all_rows() if made is None else made))
    return claim.judge(Told(study.main, means, half, common))


WHOLE = {task: size.train for task, size in paper.SIZES.items()}


def timed(made: Made) -> Made:
    """The same with phases, on training sets as large as the paper's."""
    seconds = 60 * made.minutes
    second = PhaseRecord(name="finetune", steps=2, examples=made.B or 1, seconds=seconds / 2)
    phases = {
        "rr": [PhaseRecord(name="rr", steps=1, examples=18_120, seconds=seconds)],
        "arrp": [PhaseRecord(name="rr", steps=1, examples=18_120, seconds=seconds / 2), second],
    }
    own = [PhaseRecord(name=made.sampler, steps=1, examples=3 * (made.B or 1), seconds=seconds)]
    epoch = phases.get(made.sampler, own)
    sizes = {task: WHOLE[task] for task in made.dev}
    return replace(made, sizes=sizes, phases=[epoch] * made.epochs)


def arrp(B: int, lambda_: float, score: float) -> Made:
    same = {"sst": score, "qqp": score, "sts": 2 * score - 1}
    return Made(sampler="arrp", B=B, lambda_=lambda_, accuracies=same)


WEAK = {(RR, other, "qqp"): -0.05 for other in (A16, A56, A80, V16, V56)}
TRADE = {
    (A80, A16, "qqp"): 0.02, (A80, A16, "sst"): -0.02,
    (V56, V16, "qqp"): 0.02, (V56, V16, "sts"): -0.02,
}  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "means", "verdict"),
    [
        (ANNEALED, {(A56, V56, S): 0.01, (A16, V16, S): 0.01}, SUPPORTED),
        (ANNEALED, {(A56, V56, S): 0.01, (A16, V16, S): 0.001}, UNDECIDED),
        (ANNEALED, {(A56, V56, S): 0.01, (A16, V16, S): -0.01}, CONTRADICTED),
        (CLOSE, {(FAST, A56, S): -0.005}, SUPPORTED),
        (CLOSE, {(FAST, A56, S): 0.03}, SUPPORTED),
        (CLOSE, {(FAST, A56, S): -0.009}, UNDECIDED),
        (CLOSE, {(FAST, A56, S): -0.02}, CONTRADICTED),
        (FREEZING, {(F1, RR, S): 0.001, (F05, RR, S): -0.04}, SUPPORTED),
        (FREEZING, {(F1, RR, S): 0.001, (F05, RR, S): 0.005}, SUPPORTED),  # real, and nothing
        (FREEZING, {(F1, RR, S): 0.001, (F05, RR, S): 0.009}, UNDECIDED),
        (FREEZING, {(F1, RR, S): 0.001, (F05, RR, S): 0.013}, CONTRADICTED),
        (FULL, {(RR, "full finetuning", S): 0.1}, SUPPORTED),
        (FULL, {(RR, "full finetuning", S): 0.001}, UNDECIDED),
        (FULL, {(RR, "full finetuning", S): -0.1}, CONTRADICTED),
        (CHEAP, WEAK, SUPPORTED),
        (CHEAP, {**WEAK, (RR, A80, "qqp"): 0.0}, UNDECIDED),
        (CHEAP, {**WEAK, (RR, A80, "qqp"): 0.05}, CONTRADICTED),
        (MORE_B, TRADE, SUPPORTED),
        (MORE_B, {**TRADE, (V56, V16, "sts"): 0.0}, UNDECIDED),
        (MORE_B, {**TRADE, (V56, V16, "sts"): 0.02}, CONTRADICTED),
        (MORE_B, {**TRADE, (V56, V16, "qqp"): -0.02}, CONTRADICTED),
    ],
)
def test_verdicts(claim: Claim, means: Means, verdict: str) -> None:
    assert judge(claim, means).verdict == verdict


def test_wide_intervals_leave_a_null_claim_undecided() -> None:
    assert judge(FREEZING, {}, half=0.02).verdict == UNDECIDED
    assert judge(CLOSE, {}, half=0.02).verdict == UNDECIDED


def test_close_but_slower_is_contradicted() -> None:
    slow, annealed = rows((4, "arrp_f0_lambda01_100000"), (4, "annealed_56000"))
    slower = [replace(slow, minutes=50.0), replace(annealed, minutes=45.0)]
    assert judge(CLOSE, {}, slower).verdict == CONTRADICTED
    faster = [replace(slow, minutes=30.0), replace(annealed, minutes=45.0)]
    found = judge(CLOSE, {}, faster)
    assert found.verdict == SUPPORTED
    assert "1.50 times" in found.ours


def test_times_of_different_devices_are_not_compared() -> None:
    slow, annealed = rows((4, "arrp_f0_lambda01_100000"), (4, "annealed_56000"))
    found = judge(CLOSE, {}, [slow, replace(annealed, device="another")])
    assert found.verdict.startswith("cannot be judged: times on different devices")


def test_minutes_are_compared_at_the_papers_sizes() -> None:
    """A tenth of the round-robin phase, a hundredth of B: what an example cost decides."""
    rr, annealed = rows((2, "rr"), (2, "annealed_16000"))
    small = dict.fromkeys(WHOLE, 604) | {"qqp": 5219}
    joint = PhaseRecord(name="rr", steps=76, examples=1812, seconds=60)
    drawn = PhaseRecord(name="annealed", steps=20, examples=480, seconds=16)  # dearer, and fewer
    made = [
        replace(rr, sizes=small, phases=[[joint]] * rr.epochs),
        replace(annealed, sizes=small, phases=[[drawn]] * annealed.epochs, B_scale=0.01),
    ]
    (group, scaled) = (g for g in study_of(*made).main if g.trained)
    assert costs.minutes(group) == pytest.approx([10.0])
    assert costs.minutes(scaled) == pytest.approx([16 * 48_000 / 480 / 60])
    found = CHEAP.judge(Told((group, scaled), {(RR, scaled.label, "qqp"): -0.05}))
    assert found.verdict == SUPPORTED
    assert "RR takes 0.38 to 0.38 of their minutes" in found.ours


def test_a_method_as_cheap_as_round_robin_contradicts() -> None:
    made = rows((2, "rr"), (2, "annealed_16000"))
    means = {(RR, A16, "qqp"): -0.05}
    assert judge(CHEAP, means, made).verdict == SUPPORTED
    level = [replace(m, minutes=7.0) for m in made]
    assert judge(CHEAP, means, level).verdict == CONTRADICTED


def test_a_row_of_another_device_says_nothing_of_time_and_keeps_the_claim_open() -> None:
    rr, small, large = rows((2, "rr"), (2, "annealed_16000"), (2, "annealed_80000"))
    means = {(RR, A16, "qqp"): -0.05, (RR, A80, "qqp"): -0.05}
    assert judge(CHEAP, means, [rr, small, large]).verdict == SUPPORTED
    found = judge(CHEAP, means, [rr, small, replace(large, device="another")])
    assert found.verdict == UNDECIDED
    assert "of their minutes (not known of annealed B=80,000: another device)" in found.ours
    cheap = replace(small, minutes=7.0)
    assert judge(CHEAP, means, [rr, cheap, replace(large, device="x")]).verdict == CONTRADICTED
    none = judge(CHEAP, means, [replace(rr, device="x"), small, large])
    assert none.verdict.startswith("cannot be judged: times on different devices")


def lambdas(best_small: float, best_large: float) -> tuple[list[Made], Means]:
    made, means = [], {}
    for B, best in ((24_000, best_small), (100_000, best_large)):
        for value in (0.1, 0.5):
            made.append(arrp(B, value, 0.8 if value == best else 0.7))
        other = 0.5 if best == 0.1 else 0.1
        names = (f"ARRP F=0 λ={v:g} B={B:,}" for v in (best, other))
        means[(*names, S)] = 0.1
    return made, means


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [(0.5, 0.1, SUPPORTED), (0.1, 0.5, CONTRADICTED), (0.5, 0.5, CONTRADICTED)],
)
def test_the_best_lambda_of_each_budget(small: float, large: float, verdict: str) -> None:
    made, means = lambdas(small, large)
    assert judge(LAMBDA, means, made).verdict == verdict
    assert judge(LAMBDA, {}, made).verdict == UNDECIDED


def test_lambda_cannot_be_judged_from_the_papers_own_rows() -> None:
    found = judge(LAMBDA, {})
    assert found.verdict == "cannot be judged: it takes two λ at each of two B"
    assert "B=24,000: λ=0.3, 0.5, 0.7; B=100,000: λ=0.1" in found.ours
    on_update = replace(
        made_of(paper.row(4, "arrp_f0_lambda01_100000")),
        lambda_=0.2, override={"sampler": {"lambda_on": "update"}},
    )  # fmt: skip
    assert judge(LAMBDA, {}, [*all_rows(), on_update]).ours == found.ours
    assert "single λ=0.1" in LAMBDA.evidence


@pytest.mark.parametrize("claim", CLAIMS)
def test_without_runs_nothing_is_judged(claim: Claim) -> None:
    verdict = judge(claim, {}, rows((2, "random"))).verdict
    assert verdict.startswith("cannot be judged: ")


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c is not LAMBDA])
def test_one_seed_cannot_say(claim: Claim) -> None:
    means = {**WEAK, **TRADE, (RR, "full finetuning", S): 0.3}
    assert judge(claim, means, common=1).verdict == "cannot be judged: one seed"


def test_without_its_task_a_claim_cannot_be_judged() -> None:
    some = {"sst": 9, "sts": 9}
    made = [replace(m, dev=some, sizes=some) for m in all_rows()]
    for claim in (CHEAP, MORE_B):
        assert judge(claim, {}, made).verdict.startswith("cannot be judged: ")


def test_a_missing_row_is_named() -> None:
    made = rows((2, "annealed_56000"), (2, "vanilla_56000"), (2, "vanilla_16000"))
    assert judge(ANNEALED, {}, made).verdict == "cannot be judged: no run of A-PCGrad, B=16,000"


def test_on_made_up_text_every_verdict_says_so() -> None:
    told = Told(study_of(*all_rows()).main, {})
    for _, judgement in judged(told, synthetic=True):
        assert "made-up text" in judgement.verdict
    assert not any("made-up" in j.verdict for _, j in judged(told, synthetic=False))
