"""Answers in words say what the numbers do, and that nothing can be said where there are none."""

from dataclasses import replace

from mtl_bert.analysis.run_page import Findings, answer, answers
from mtl_bert.runs.results import PhaseRecord
from tests.analysis.conflicting import alone, influence, pair, phase
from tests.analysis.factory import Made
from tests.analysis.making import study_of

TASKS = ("sst", "qqp", "sts")


def met(cosines: tuple[float, float, float], share: float, **rest: object) -> PhaseRecord:
    pairs = dict(zip(("sst/qqp", "sst/sts", "qqp/sts"), cosines, strict=True))
    return phase(
        {name: pair(cosine, 0.5 - cosine) for name, cosine in pairs.items()},
        {
            "sst": influence(0.1, norm=1.0, before=0.3, after=0.5),
            "qqp": influence(1.1, norm=20.0, before=0.9, after=0.8),
            "sts": influence(-0.2, norm=0.125, before=-0.1, after=0.0),
        },
        conflicting=share, **rest,  # type: ignore[arg-type]
    )  # fmt: skip


LAYERS = {
    "embeddings": {"sst/qqp": pair(0.2, 0.1, 3)}, "layer 0": {"sst/qqp": pair(-0.3, 0.9, 3)},
}  # fmt: skip
PHASES = [
    [met((0.1, 0.2, -0.1), 0.6, removed=0.2, layers=LAYERS), alone("qqp", 7)],
    [met((0.1, 0.2, 0.1), 0.3, removed=0.1)],
    [met((0.1, 0.2, -0.3), 0.9, removed=0.3)],
]


def of(*made: Made, of_run: int = 0) -> Findings:
    study = study_of(*made)
    run = next(run for run in study.runs if run.name == f"run{of_run}")
    return Findings(study, run)


def test_how_often_and_which_pair_most() -> None:
    said = answer("conflict", of(Made(phases=PHASES)))
    assert "In 60.0 % of 30 joint steps at least two tasks' gradients" in said
    # qqp/sts: cosines −0.1, 0.1, −0.3
    assert "Most often qqp and sts: in 60.0 % of the steps that had both" in said
    assert "mean cosine of −0.100" in said
    assert "Least often sst and sts: 30.0 %, mean cosine 0.200" in said
    assert "some pair in about 87.5 % of them" in said  # 1 − 1/2³


def test_one_pair_has_no_most_and_least() -> None:
    two = phase({"sst/qqp": pair(-0.2, 0.7)}, {"sst": influence(0.5), "qqp": influence(0.5)})
    said = answer("conflict", of(Made(epochs=1, phases=[[two]])))
    assert "Most often" not in said
    assert "The mean cosine of sst and qqp was −0.200." in said
    assert said.endswith("about half of the steps for each pair.")


def test_when() -> None:
    said = answer("when", of(Made(phases=PHASES)))
    start = "In epoch 1, 60.0 % of the joint steps were in conflict, in epoch 3, 90.0 %."
    assert said.startswith(start)
    assert "Most were in epoch 3 (90.0 %), fewest in epoch 2 (30.0 %)." in said
    assert said.endswith("The mean cosine of qqp and sts went from −0.100 to −0.300.")
    one = answer("when", of(Made(epochs=1, phases=PHASES[:1])))
    assert "Only epoch 1 had joint steps (60.0 % of them in conflict)" in one


def test_in_which_parts() -> None:
    said = answer("layers", of(Made(phases=PHASES)))
    assert said == (
        "Over 3 steps that were looked at, gradients agreed least in layer 0, sst and qqp (mean "
        "cosine −0.300, 90.0 % of the steps in conflict) and most in embeddings, sst and qqp (mean "
        "cosine 0.200, 10.0 % of the steps in conflict)."
    )
    said = answer("layers", of(Made(epochs=1, phases=PHASES[1:2])))
    assert said.startswith("Nothing can be said: ")
    assert "trainer.layers_every=50" in said


def test_who_dominates() -> None:
    said = answer("dominance", of(Made(phases=PHASES)))
    assert said.startswith(
        "qqp has the largest part of the joint steps' update: qqp 110.0 %, sst 10.0 %, sts −20.0 % "
        "(equal parts would be 33.3 %)."
    )
    assert "sst 1, qqp 20, sts 0.125" in said
    assert said.endswith("Besides 30 joint steps there were steps of one task alone: qqp 7.")


def test_what_the_method_changed() -> None:
    said = answer("change", of(Made(phases=PHASES)))
    assert said == (
        "The update was 20.0 % shorter than the plain sum of the gradients, on average. The cosine "
        "of each task's gradient with the plain sum, and with the update: sst 0.300 → 0.500, qqp "
        "0.900 → 0.800, sts −0.100 → 0.000."
    )
    longer = [[met((0, 0, 0), 0.5, removed=-0.25)]]
    assert "25.0 % longer" in answer("change", of(Made(epochs=1, phases=longer)))
    equal = [[met((0, 0, 0), 0.5, removed=1e-6)]]
    assert "was as long as" in answer("change", of(Made(epochs=1, phases=equal)))


def test_how_much_of_the_data() -> None:
    said = answer("use", of(Made(sizes={"sst": 1000, "qqp": 20_000, "sts": 500})))
    assert said.startswith(
        "sst: 500 of 1,000 examples at least once (50.0 %), 1,000 with repeats, which are 1.00 "
        "effective epochs; qqp: 500 of 20,000 examples at least once (2.5 %)"
    )


def test_whether_it_was_worth_the_time() -> None:
    better = {"sst": 0.53, "qqp": 0.83, "sts": 0.76}  # the score: 0.03 above RR's
    arrp = Made("arrp", B=9, lambda_=0.5, minutes=3.0, accuracies=better)
    said = answer("worth", of(arrp, Made(), Made(seed=2)))
    assert "Training took 3.00 minutes per epoch" in said
    assert "Round-robin in the same setting has 0.717 (n=2): +0.030 for 3.00 times" in said
    assert "one seed" in said
    other = answer("worth", of(arrp, Made(device="another")))
    assert "+0.030; it ran on another device, so times say nothing" in other
    assert "cannot be said" in answer("worth", of(arrp))
    assert "cannot be said" in answer("worth", of(arrp, Made(epochs=2)))


def test_round_robin_is_held_against_the_single_task_models() -> None:
    single = Made("single", minutes=4.0, accuracies={"sst": 0.5, "qqp": 0.8, "sts": 0.7})
    said = answer("worth", of(Made(), single))
    assert "One encoder per task in the same setting has 0.717 (n=1): +0.000 for 0.25 times" in said


def test_gradients_that_never_met_say_nothing_of_conflicts() -> None:
    found = of(Made("single", epochs=1, phases=[[alone("sst", 4, "single:sst"), alone("qqp", 6)]]))
    for name in ("conflict", "when", "change"):
        assert "their gradients never met" in answer(name, found)
    said = answer("dominance", found)
    assert said == "Every step was of one task alone, whose update it is: sst 4, qqp 6 steps."


def test_all_questions_are_answered_and_nothing_trained_is_said() -> None:
    asked = answers(of(Made(phases=PHASES)))
    assert len(asked) == 7
    assert all(question.endswith("?") and answer.endswith(".") for question, answer in asked)
    assert answers(of(Made("random"))) == (("What happened?", "Nothing was trained."),)


def test_tasks_in_another_order_are_the_same_pairs() -> None:
    turned = phase(
        {"qqp/sst": pair(-0.2, 0.7)}, {"qqp": influence(0.4), "sst": influence(0.6)}
    )  # fmt: skip
    said = answer("conflict", of(replace(Made(epochs=1), phases=[[turned]])))
    assert "sst and qqp" in said
