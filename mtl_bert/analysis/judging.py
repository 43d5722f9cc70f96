"""The rules by which our runs judge the paper's claims; ``claims.py`` has them in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mtl_bert.analysis import paper, proportions
from mtl_bert.analysis.comparing import Comparison, Difference
from mtl_bert.analysis.methods import LOSS, PAPER_SURGERY, Method
from mtl_bert.analysis.studies import SCORE, Group, one_device, row_of

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
    return f"no run of {'; '.join(missing)}" if missing else ""


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


def annealed_over_vanilla(comparison: Comparison) -> Judgement:
    """Annealed against vanilla, at both B."""
    pairs = [(f"B={B:,}", f"annealed_{B}", f"vanilla_{B}") for B in (56_000, 16_000)]
    return _higher(comparison, pairs)


def surgery_over_full(comparison: Comparison) -> Judgement:
    """Round-robin against full finetuning."""
    return _higher(comparison, [("RR minus full finetuning", "rr", "full")])


def close_and_faster(comparison: Comparison) -> Judgement:
    """ARRP close to annealed sampling, in less time."""
    rows = [(4, "arrp_f0_lambda01_100000"), (4, "annealed_56000")]
    if why := _absent(comparison, rows):
        return _impossible(why)
    arrp, annealed = (_there(comparison, *row) for row in rows)
    difference = comparison.difference(arrp, annealed)
    if why := _times_differ((arrp, annealed)):
        return _impossible(why, str(difference))
    ratio = _minutes(annealed) / _minutes(arrp)
    ours = f"score {difference}; annealed takes {ratio:.2f} times ARRP's minutes"
    if why := _unknown([difference]):
        return _impossible(why, ours)
    intervals = [i for i in (difference.examples, difference.seeds) if i is not None]
    close = all(interval.low > -MARGIN for interval in intervals)
    far = all(interval.high < -MARGIN for interval in intervals)
    return Judgement(ours, _verdict(close, far or ratio <= 1))


def _times_differ(groups: Sequence[Group]) -> str:
    """Why times cannot be compared; nothing if they can."""
    if any(float(group.minutes.mean()) <= 0 for group in groups):
        return "no training time recorded"
    if any(proportions.minutes(group) is None for group in groups):
        return "the time that it would take at the paper's sizes is not known"
    if one_device(*groups):
        return ""
    devices = frozenset[str]().union(*(group.devices for group in groups))
    return f"times on different devices ({', '.join(sorted(devices))})"


def _minutes(group: Group) -> float:
    """Of an epoch at the paper's sizes, the mean over seeds; it is known."""
    found = proportions.minutes(group)
    assert found is not None
    return float(found.mean())


def freezing_no_help(comparison: Comparison) -> Judgement:
    """F=1 against round-robin."""
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
    helps = any(d.sign > 0 and d.mean >= MARGIN for d in differences)
    return Judgement(_listed(found), _verdict(small, helps))


def more_b_less_lambda(comparison: Comparison) -> Judgement:
    """The best λ of each B."""
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
    own = (method.sampler, method.F, method.lambda_on, method.rest, method.surgery)
    return own == ("arrp", "F=0", LOSS, "", PAPER_SURGERY)


def cheap_but_weak(comparison: Comparison) -> Judgement:
    """Round-robin: time and paraphrase against the other methods of Table 2."""
    names = [
        row.experiment for row in paper.rows(2) if row.recipe.sampler in ("annealed", "vanilla")
    ]
    others = [g for name in names if (g := _row(comparison, 2, name)) is not None]
    rr = _row(comparison, 2, "rr")
    if rr is None or not others:
        return _impossible("no run of RR-PCGrad" if rr is None else "no other method of Table 2")
    if not _has_paraphrase(rr):
        return _impossible("the task is missing")
    found = [
        (f"RR minus {group.method.brief()}", comparison.difference(rr, group, paper.PARAPHRASE))
        for group in others
    ]
    timed = [group for group in others if one_device(rr, group)] or others
    if why := _times_differ([rr, *timed]):
        return _impossible(why, _listed(found))
    ratios = [_minutes(rr) / _minutes(group) for group in timed]
    lowest, highest = min(ratios), max(ratios)
    elsewhere = [group.method.brief() for group in others if group not in timed]
    known = f" (not known of {' and '.join(elsewhere)}: another device)" if elsewhere else ""
    ours = f"RR takes {lowest:.2f} to {highest:.2f} of their minutes{known};\n{_listed(found)}"
    differences = [difference for _, difference in found]
    if why := _unknown(differences):
        return _impossible(why, ours)
    signs = [difference.sign for difference in differences]
    supported = not elsewhere and highest < 1 and all(sign < 0 for sign in signs)
    return Judgement(ours, _verdict(supported, highest >= 1 or any(sign > 0 for sign in signs)))


def paraphrase_for_others(comparison: Comparison) -> Judgement:
    """The largest B against the smallest, where nothing else differs."""
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


def _has_paraphrase(group: Group) -> bool:
    return paper.PARAPHRASE in group.runs[0].results.tasks


def _families(comparison: Comparison) -> list[_Family]:
    """Methods with the paper's surgery that differ in nothing but B, two at least."""
    families: dict[Method, _Family] = {}
    for group in comparison.groups:
        method = group.method
        if method.B is not None and _has_paraphrase(group) and method.surgery == PAPER_SURGERY:
            families.setdefault(replace(method, B=None), {})[method.B] = group
    return [family for family in families.values() if len(family) > 1]
