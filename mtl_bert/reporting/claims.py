"""The paper's claims, each judged by a rule that is written beside it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mtl_bert.reporting import paper
from mtl_bert.reporting.comparing import Comparison, Difference
from mtl_bert.reporting.methods import PAPER_SURGERY, Method
from mtl_bert.reporting.studies import SCORE, Group, row_of

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
MARGIN = 0.01  # of the score; ours, the paper states none
# A sampler's methods that differ in B only.
_Family = dict[int, Group]


@dataclass(frozen=True)
class Judgement:
    """What our runs say about a claim.

    Attributes:
        ours: the numbers, with intervals.
        verdict: supported, contradicted, undecided, or "cannot be judged: why".
    """

    ours: str
    verdict: str


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


def _impossible(why: str, ours: str = "") -> Judgement:
    return Judgement(ours or "–", f"cannot be judged: {why}")


def _row(comparison: Comparison, table: int, experiment: str) -> Group | None:
    return row_of(comparison.groups, paper.row(table, experiment))


def _absent(comparison: Comparison, rows: Iterable[tuple[int, str]]) -> str:
    """The rows that nobody has run, as words; nothing if all are there."""
    missing = [
        paper.row(table, name).label
        for table, name in rows
        if _row(comparison, table, name) is None
    ]
    return f"no run of {', '.join(missing)}" if missing else ""


def _there(comparison: Comparison, table: int, experiment: str) -> Group:
    group = _row(comparison, table, experiment)
    assert group is not None
    return group


def _unknown(differences: Sequence[Difference]) -> str:
    """Why the differences have no verdict; nothing if they all have one."""
    reasons = dict.fromkeys(d.unknown for d in differences if d.unknown)
    return ", ".join(reasons)


def _listed(differences: Sequence[tuple[str, Difference]]) -> str:
    return ";\n".join(f"{name}: {difference}" for name, difference in differences)


def _verdict(supported: bool, contradicted: bool) -> str:
    return CONTRADICTED if contradicted else SUPPORTED if supported else UNDECIDED


def _higher(comparison: Comparison, pairs: Sequence[tuple[str, str, str]]) -> Judgement:
    """Whether each first row of Table 2 is really above its second one."""
    if why := _absent(comparison, [(2, name) for _, a, b in pairs for name in (a, b)]):
        return _impossible(why)
    found = [
        (name, comparison.difference(_there(comparison, 2, a), _there(comparison, 2, b)))
        for name, a, b in pairs
    ]
    differences = [difference for _, difference in found]
    if why := _unknown(differences):
        return _impossible(why, _listed(found))
    signs = [difference.sign for difference in differences]
    verdict = _verdict(all(sign > 0 for sign in signs), any(sign < 0 for sign in signs))
    return Judgement(_listed(found), verdict)


def _annealed_over_vanilla(comparison: Comparison) -> Judgement:
    pairs = [(f"B={B:,}", f"annealed_{B}", f"vanilla_{B}") for B in (56_000, 16_000)]
    return _higher(comparison, pairs)


def _surgery_over_full(comparison: Comparison) -> Judgement:
    return _higher(comparison, [("RR minus full finetuning", "rr", "full")])


def _close_and_faster(comparison: Comparison) -> Judgement:
    rows = [(4, "arrp_f0_lambda01_100000"), (4, "annealed_56000")]
    if why := _absent(comparison, rows):
        return _impossible(why)
    arrp, annealed = (_there(comparison, *row) for row in rows)
    difference = comparison.difference(arrp, annealed)
    if why := _times_differ((arrp, annealed)):
        return _impossible(why, str(difference))
    ratio = float(annealed.minutes.mean() / arrp.minutes.mean())
    ours = f"score {difference}; annealed takes {ratio:.2f} times ARRP's minutes"
    if why := _unknown([difference]):
        return _impossible(why, ours)
    intervals = [i for i in (difference.examples, difference.seeds) if i is not None]
    close = all(interval.low > -MARGIN for interval in intervals)
    far = all(interval.high < -MARGIN for interval in intervals)
    return Judgement(ours, _verdict(close and ratio > 1, far or ratio <= 1))


def _times_differ(groups: Sequence[Group]) -> str:
    """Why times cannot be compared; nothing if they can."""
    if any(float(group.minutes.mean()) <= 0 for group in groups):
        return "no training time recorded"
    devices = frozenset[str]().union(*(group.devices for group in groups))
    return "" if len(devices) == 1 else f"times on different devices ({', '.join(sorted(devices))})"


def _freezing_no_help(comparison: Comparison) -> Judgement:
    frozen = [(4, "arrp_f1_lambda1"), (4, "arrp_f1_lambda05")]
    if why := _absent(comparison, [(4, "rr"), *frozen]):
        return _impossible(why)
    rr = _there(comparison, 4, "rr")
    groups = [_there(comparison, *row) for row in frozen]
    found = [(group.method.brief(), comparison.difference(group, rr)) for group in groups]
    differences = [difference for _, difference in found]
    if why := _unknown(differences):
        return _impossible(why, _listed(found))
    small = all(
        interval.high < MARGIN
        for difference in differences
        for interval in (difference.examples, difference.seeds)
        if interval is not None
    )
    return Judgement(_listed(found), _verdict(small, any(d.sign > 0 for d in differences)))


def _more_b_less_lambda(comparison: Comparison) -> Judgement:
    by_b: dict[int, list[Group]] = {}
    for group in comparison.groups:
        method = group.method
        if _plain_arrp(method) and method.B is not None:
            by_b.setdefault(method.B, []).append(group)
    several = {B: groups for B, groups in sorted(by_b.items()) if len(groups) > 1}
    if len(several) < 2:
        have = "; ".join(
            f"B={B:,}: λ={', '.join(f'{g.method.lambda_:g}' for g in groups)}"
            for B, groups in sorted(by_b.items())
        )
        return _impossible("it takes two λ at each of two B", f"F=0 runs: {have or 'none'}")
    best = {B: max(g, key=lambda group: float(group.values(SCORE).mean()))
            for B, g in several.items()}  # fmt: skip
    found = [
        (f"B={B:,}, best λ={best[B].method.lambda_:g} over λ={g.method.lambda_:g}",
         comparison.difference(best[B], g))
        for B, groups in several.items() for g in groups if g is not best[B]
    ]  # fmt: skip
    differences = [difference for _, difference in found]
    if why := _unknown(differences):
        return _impossible(why, _listed(found))
    real = all(difference.sign > 0 for difference in differences)
    lambdas = [best[B].method.lambda_ or 0.0 for B in several]
    falls = all(later < earlier for earlier, later in pairwise(lambdas))
    return Judgement(_listed(found), _verdict(real and falls, real and not falls))


def _plain_arrp(method: Method) -> bool:
    """The paper's ARRP with nothing frozen, whatever λ and B."""
    return (method.sampler, method.F, method.rest) == ("arrp", "F=0", "") and (
        method.surgery == PAPER_SURGERY
    )


def _cheap_but_weak(comparison: Comparison) -> Judgement:
    names = [
        row.experiment for row in paper.rows(2) if row.recipe.sampler in ("annealed", "vanilla")
    ]
    others = [g for name in names if (g := _row(comparison, 2, name)) is not None]
    rr = _row(comparison, 2, "rr")
    if rr is None or not others:
        return _impossible("no run of RR-PCGrad" if rr is None else "no other method of Table 2")
    found = [
        (f"RR minus {group.method.brief()}", comparison.difference(rr, group, paper.PARAPHRASE))
        for group in others
    ]
    if why := _times_differ([rr, *others]):
        return _impossible(why, _listed(found))
    own = float(rr.minutes.mean())
    ratios = [own / float(group.minutes.mean()) for group in others]
    lowest, highest = min(ratios), max(ratios)
    ours = f"RR takes {lowest:.2f} to {highest:.2f} of their minutes;\n{_listed(found)}"
    differences = [difference for _, difference in found]
    if why := _unknown(differences):
        return _impossible(why, ours)
    signs = [difference.sign for difference in differences]
    supported = highest < 1 and all(sign < 0 for sign in signs)
    return Judgement(ours, _verdict(supported, highest >= 1 or any(sign > 0 for sign in signs)))


def _paraphrase_for_others(comparison: Comparison) -> Judgement:
    families = _families(comparison)
    if not families:
        return _impossible("no two runs that differ in B only")
    shown: list[tuple[str, Difference]] = []
    supported, contradicted = True, False
    for family in families:
        small, large = family[min(family)], family[max(family)]
        tasks = [task for task in paper.TITLES if task in large.runs[0].results.tasks]
        found = {task: comparison.difference(large, small, task) for task in tasks}
        shown += [
            (f"{large.method.brief()} minus B={small.method.B:,}, {t}", d) for t, d in found.items()
        ]
        others = [d.sign for task, d in found.items() if task != paper.PARAPHRASE]
        gain = found[paper.PARAPHRASE].sign
        worse, better = any(sign < 0 for sign in others), any(sign > 0 for sign in others)
        supported &= gain > 0 and worse
        contradicted |= gain < 0 or (better and not worse)
    if why := _unknown([difference for _, difference in shown]):
        return _impossible(why, _listed(shown))
    return Judgement(_listed(shown), _verdict(supported, contradicted))


def _families(comparison: Comparison) -> list[_Family]:
    """Methods with the paper's surgery that differ in nothing but B, two at least."""
    families: dict[Method, _Family] = {}
    for group in comparison.groups:
        method = group.method
        measured = paper.PARAPHRASE in group.runs[0].results.tasks
        if method.B is not None and measured and method.surgery == PAPER_SURGERY:
            bare = Method(
                method.sampler,
                None,
                method.B_scale,
                method.lambda_,
                method.frozen,
                rest=method.rest,
            )
            families.setdefault(bare, {})[method.B] = group
    return [family for family in families.values() if len(family) > 1]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "Annealed sampling is better than vanilla at the same B.",
        "Table 2: 0.785 against 0.779 at B=56,000; 0.774 (its columns give 0.772) against 0.770 at "
        "B=16,000.",
        "Supported if the score's difference is real at both B and annealed higher; contradicted "
        "if it is real with vanilla higher at one.",
        _annealed_over_vanilla,
    ),
    Claim(
        "ARRP (F=0, λ=0.1, B=100,000) comes close to annealed sampling (B=56,000) in less time.",
        "Table 4: 0.783 against 0.785; 45.18 minutes are 1.47 times 30.76. (Table 2 prints the "
        "same annealed row with 65.8 minutes.)",
        f"Close: not more than {MARGIN:g} of the score below; the margin is ours, the paper states "
        f"none. Supported if both intervals of the difference lie above −{MARGIN:g} and ARRP's "
        f"epochs take less time; contradicted if both lie below −{MARGIN:g} or it takes no less.",
        _close_and_faster,
    ),
    Claim(
        "Freezing all but the head in ARRP's second phase (F=1) is no help over round-robin.",
        "Table 4: 0.761 (λ=1; its similarity is misprinted) and 0.764 (λ=0.5) against 0.763.",
        f"Supported if both intervals of the score's gain over round-robin lie below {MARGIN:g} "
        f"(our margin) for both λ; contradicted if one gain is real.",
        _freezing_no_help,
    ),
    Claim(
        "More B needs less λ.",
        "Table 4: λ=0.3, 0.5 and 0.7 at B=24,000 (0.775, 0.777, 0.773), but a single λ=0.1 at "
        "B=100,000 (0.783): nothing printed shows that a larger λ would have been worse there.",
        "F=0 only. Supported if at each B the best λ is really better than every other and falls "
        "as B grows; contradicted if the best are real and do not fall.",
        _more_b_less_lambda,
    ),
    Claim(
        "Gradient surgery (round-robin) beats full model finetuning.",
        "Table 2: 0.763 against 0.613, in 7.93 minutes against 91.1.",
        "Supported if the score's difference is real and round-robin higher; contradicted if it is "
        "real the other way.",
        _surgery_over_full,
    ),
    Claim(
        "Round-robin is the cheapest of the PCGrad methods and the weakest on paraphrase.",
        "Table 2: 7.93 minutes against 18.1 to 93.1; paraphrase 0.829 against 0.874 to 0.895.",
        "Against the annealed and vanilla rows of Table 2 that were run. Supported if round-robin "
        "takes less time than each and is really lower in paraphrase than each; contradicted if it "
        "takes no less than one, or is really higher than one.",
        _cheap_but_weak,
    ),
    Claim(
        "More B helps paraphrase, at the expense of the other tasks.",
        "Table 2, annealed, B from 16,000 to 56,000 to 80,000: paraphrase 0.874, 0.890, 0.895; "
        "sentiment 0.512, 0.535, 0.516; similarity 0.858, 0.865, 0.862: the others rise first and "
        "then fall. Table 4's larger B comes with a smaller λ.",
        "For methods that differ in B only, the largest B minus the smallest. Supported if for "
        "each paraphrase is really higher and another task really lower; contradicted if for one "
        "paraphrase is really lower, or another task really higher and none lower.",
        _paraphrase_for_others,
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
