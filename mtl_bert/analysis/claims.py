"""The paper's claims in words, each with its evidence and the rule that it is judged by."""

from collections.abc import Callable
from dataclasses import dataclass

from mtl_bert.analysis import judging
from mtl_bert.analysis.comparing import Comparison
from mtl_bert.analysis.judging import MARGIN, Judgement


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        text: the claim.
        evidence: the paper's.
        rule: what makes it supported or contradicted.
        judge: applies the rule.
    """

    text: str
    evidence: str
    rule: str
    judge: Callable[[Comparison], Judgement]


TIMES = "Times are those at the paper's sizes, by what an example cost in each phase."

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "Annealed sampling is better than vanilla at the same B.",
        "Table 2: 0.785 against 0.779 at B=56,000; 0.774 (its columns give 0.772) against 0.770 at "
        "B=16,000.",
        "Supported if the score's difference is real at both B and annealed higher; contradicted "
        "if it is real with vanilla higher at one.",
        judging.annealed_over_vanilla,
    ),
    Claim(
        "ARRP (F=0, λ=0.1, B=100,000) comes close to annealed sampling (B=56,000) in less time.",
        "Table 4: 0.783 against 0.785; 45.18 minutes are 1.47 times 30.76. (Table 2 prints the "
        "same annealed row with 65.8 minutes.)",
        f"Close: not more than {MARGIN:g} of the score below; the margin is ours, the paper states "
        f"none. Supported if both intervals of the difference lie above −{MARGIN:g} and ARRP's "
        f"epochs take less time; contradicted if both lie below −{MARGIN:g} or it takes no less. "
        f"{TIMES}",
        judging.close_and_faster,
    ),
    Claim(
        "Freezing all but the head in ARRP's second phase (F=1) is no help over round-robin.",
        "Table 4: 0.761 (λ=1; its similarity is misprinted) and 0.764 (λ=0.5) against 0.763.",
        f"Supported if both intervals of the score's gain over round-robin lie below {MARGIN:g} "
        f"(our margin) for both λ; contradicted if one gain is real and not below "
        f"it.",
        judging.freezing_no_help,
    ),
    Claim(
        "More B needs less λ.",
        "Table 4: λ=0.3, 0.5 and 0.7 at B=24,000 (0.775, 0.777, 0.773), but a single λ=0.1 at "
        "B=100,000 (0.783): nothing printed shows that a larger λ would have been worse there.",
        "F=0 only. Supported if at each B the best λ is really better than every other and falls "
        "as B grows; contradicted if the best are real and do not fall.",
        judging.more_b_less_lambda,
    ),
    Claim(
        "Gradient surgery (round-robin) beats full model finetuning.",
        "Table 2: 0.763 against 0.613, in 7.93 minutes against 91.1.",
        "Supported if the score's difference is real and round-robin higher; contradicted if it is "
        "real the other way.",
        judging.surgery_over_full,
    ),
    Claim(
        "Round-robin is the cheapest of the PCGrad methods and the weakest on paraphrase.",
        "Table 2: 7.93 minutes against 18.1 to 93.1; paraphrase 0.829 against 0.874 to 0.895.",
        "Against the annealed and vanilla rows of Table 2 that were run. Supported if round-robin "
        "takes less time than each and is really lower in paraphrase than each; contradicted if it "
        "takes no less than one, or is really higher than one. Rows of another device have no say "
        "in the time, and keep the claim from being supported. "
        f"{TIMES}",
        judging.cheap_but_weak,
    ),
    Claim(
        "More B helps paraphrase, at the expense of the other tasks.",
        "Table 2, annealed, B from 16,000 to 56,000 to 80,000: paraphrase 0.874, 0.890, 0.895; "
        "sentiment 0.512, 0.535, 0.516; similarity 0.858, 0.865, 0.862: the others rise first and "
        "then fall. Table 4's larger B comes with a smaller λ.",
        "For methods that differ in B only, the largest B minus the smallest. Supported if for "
        "each paraphrase is really higher and another task really lower; contradicted if for one "
        "paraphrase is really lower, or another task really higher and none lower.",
        judging.paraphrase_for_others,
    ),
)


def judged(comparison: Comparison, *, synthetic: bool) -> list[tuple[Claim, Judgement]]:
    """Every claim with what the runs of a study say; on made-up text the verdict says so."""
    found = []
    for claim in CLAIMS:
        judgement = claim.judge(comparison)
        if synthetic:
            words = f"{judgement.verdict} (about made-up text, not about the paper's data)"
            judgement = Judgement(judgement.ours, words)
        found.append((claim, judgement))
    return found
