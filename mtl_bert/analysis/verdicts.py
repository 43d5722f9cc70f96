"""The paper's claims, each with its evidence, the rule that it is judged by, and the verdict."""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from mtl_bert.analysis import costs, paper
from mtl_bert.analysis.comparison import RULE, Comparison, Difference
from mtl_bert.analysis.document import Cell, Column, Table, table
from mtl_bert.analysis.methods import LOSS, PAPER_SURGERY, Method
from mtl_bert.analysis.studies import Group, Study, one_device, row_of

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
MARGIN = 0.01  # of the score; ours, the paper states none


class ImpossibleError(Exception):
    """Why a claim cannot be judged, and the numbers that there are nevertheless."""

    def __init__(self, why: str, ours: str = "–") -> None:
        super().__init__(why)
        self.ours = ours


@dataclass(frozen=True)
class Judgement:
    """What our runs say about a claim.

    Attributes:
        ours: the numbers, with intervals.
        verdict: supported, contradicted, undecided, or "cannot be judged: why".
    """

    ours: str
    verdict: str


Named = Sequence[tuple[str, Difference]]


def _rows(comparison: Comparison, *names: tuple[int, str]) -> list[Group]:
    """The runs of rows of the paper.

    Raises:
        ImpossibleError: nobody has run some of them.
    """
    rows = [paper.row(number, name) for number, name in names]
    found = [row_of(comparison.groups, row) for row in rows]
    if missing := [row.label for row, group in zip(rows, found, strict=True) if group is None]:
        raise ImpossibleError(f"no run of {'; '.join(missing)}")
    return [group for group in found if group is not None]


def _listed(found: Named) -> str:
    return ";\n".join(f"{name}: {difference}" for name, difference in found)


def _verdict(found: Named, supported: bool, contradicted: bool, ours: str = "") -> Judgement:
    """The verdict by what differences showed.

    Raises:
        ImpossibleError: some of them have no verdict themselves.
    """
    ours = ours or _listed(found)
    if why := ", ".join(dict.fromkeys(d.unknown for _, d in found if d.unknown)):
        raise ImpossibleError(why, ours)
    return Judgement(ours, CONTRADICTED if contradicted else SUPPORTED if supported else UNDECIDED)


def _higher(comparison: Comparison, pairs: Sequence[tuple[str, str, str]]) -> Judgement:
    """Whether each first row of Table 2 is really above its second one."""
    groups = _rows(comparison, *((2, name) for _, a, b in pairs for name in (a, b)))
    found = [
        (name, comparison.difference(a, b))
        for (name, _, _), a, b in zip(pairs, groups[::2], groups[1::2], strict=True)
    ]
    signs = [difference.sign for _, difference in found]
    return _verdict(found, all(sign > 0 for sign in signs), any(sign < 0 for sign in signs))


def annealed_over_vanilla(comparison: Comparison) -> Judgement:
    """Annealed against vanilla, at both B."""
    pairs = [(f"B={B:,}", f"annealed_{B}", f"vanilla_{B}") for B in (56_000, 16_000)]
    return _higher(comparison, pairs)


def surgery_over_full(comparison: Comparison) -> Judgement:
    """Round-robin against full finetuning."""
    return _higher(comparison, [("RR minus full finetuning", "rr", "full")])


def close_and_faster(comparison: Comparison) -> Judgement:
    """ARRP close to annealed sampling, in less time."""
    arrp, annealed = _rows(comparison, (4, "arrp_f0_lambda01_100000"), (4, "annealed_56000"))
    difference = comparison.difference(arrp, annealed)
    fast, slow = _minutes((arrp, annealed), str(difference))
    ratio = slow / fast
    ours = f"score {difference}; annealed takes {ratio:.2f} times ARRP's minutes"
    intervals = [i for i in (difference.examples, difference.seeds) if i is not None]
    close = all(interval.low > -MARGIN for interval in intervals)
    far = all(interval.high < -MARGIN for interval in intervals)
    return _verdict([("score", difference)], close, far or ratio <= 1, ours)


def _minutes(groups: Sequence[Group], ours: str) -> list[float]:
    """Minutes of an epoch at the paper's sizes of each method: means over seeds.

    Raises:
        ImpossibleError: they are not known, or cannot be compared.
    """
    if any(float(group.minutes.mean()) <= 0 for group in groups):
        raise ImpossibleError("no training time recorded", ours)
    found = [m for group in groups if (m := costs.minutes(group)) is not None]
    if len(found) < len(groups):
        why = "the time that it would take at the paper's sizes is not known"
        raise ImpossibleError(why, ours)
    if not one_device(*groups):
        devices = sorted({device for group in groups for device in group.devices})
        raise ImpossibleError(f"times on different devices ({', '.join(devices)})", ours)
    return [float(minutes.mean()) for minutes in found]


def freezing_no_help(comparison: Comparison) -> Judgement:
    """F=1 against round-robin."""
    rr, *groups = _rows(comparison, (4, "rr"), (4, "arrp_f1_lambda1"), (4, "arrp_f1_lambda05"))
    found = [(group.method.brief(), comparison.difference(group, rr)) for group in groups]
    small = all(
        interval.high < MARGIN
        for _, difference in found
        for interval in (difference.examples, difference.seeds)
        if interval is not None
    )
    return _verdict(found, small, any(d.sign > 0 and d.mean >= MARGIN for _, d in found))


def more_b_less_lambda(comparison: Comparison) -> Judgement:
    """The best λ of each B."""
    by_b: dict[int, list[Group]] = {}
    for group in comparison.groups:
        if _plain_arrp(group.method) and group.method.B is not None:
            by_b.setdefault(group.method.B, []).append(group)
    by_b = dict(sorted(by_b.items()))
    several = {B: groups for B, groups in by_b.items() if len(groups) > 1}
    if len(several) < 2:
        have = "; ".join(
            f"B={B:,}: λ={', '.join(f'{g.method.lambda_:g}' for g in groups)}"
            for B, groups in by_b.items()
        )
        raise ImpossibleError("it takes two λ at each of two B", f"F=0 runs: {have or 'none'}")
    best = {B: max(groups, key=Group.mean) for B, groups in several.items()}
    found = [
        (f"B={B:,}, best λ={best[B].method.lambda_:g} over λ={g.method.lambda_:g}",
         comparison.difference(best[B], g))
        for B, groups in several.items() for g in groups if g is not best[B]
    ]  # fmt: skip
    real = all(difference.sign > 0 for _, difference in found)
    lambdas = [group.method.lambda_ or 0.0 for group in best.values()]
    falls = all(later < earlier for earlier, later in pairwise(lambdas))
    return _verdict(found, real and falls, real and not falls)


def _plain_arrp(method: Method) -> bool:
    """The paper's ARRP with nothing frozen, whatever λ and B."""
    own = (method.sampler, method.F, method.lambda_on, method.rest, method.surgery)
    return own == ("arrp", "F=0", LOSS, "", PAPER_SURGERY)


def cheap_but_weak(comparison: Comparison) -> Judgement:
    """Round-robin: time and paraphrase against the other methods of Table 2."""
    (rr,) = _rows(comparison, (2, "rr"))
    rows = [row for row in paper.rows(2) if row.recipe.sampler in ("annealed", "vanilla")]
    others = [group for row in rows if (group := row_of(comparison.groups, row)) is not None]
    if not others:
        raise ImpossibleError("no other method of Table 2")
    if not _has_paraphrase(rr):
        raise ImpossibleError("the task is missing")
    found = [
        (f"RR minus {group.method.brief()}", comparison.difference(rr, group, paper.PARAPHRASE))
        for group in others
    ]
    timed = [group for group in others if one_device(rr, group)] or others
    own, *theirs = _minutes([rr, *timed], _listed(found))
    ratios = [own / minutes for minutes in theirs]
    lowest, highest = min(ratios), max(ratios)
    elsewhere = [group.method.brief() for group in others if group not in timed]
    known = f" (not known of {' and '.join(elsewhere)}: another device)" if elsewhere else ""
    ours = f"RR takes {lowest:.2f} to {highest:.2f} of their minutes{known};\n{_listed(found)}"
    signs = [difference.sign for _, difference in found]
    supported = not elsewhere and highest < 1 and all(sign < 0 for sign in signs)
    return _verdict(found, supported, highest >= 1 or any(sign > 0 for sign in signs), ours)


def paraphrase_for_others(comparison: Comparison) -> Judgement:
    """The largest B against the smallest, where nothing else differs."""
    families: dict[Method, dict[int, Group]] = {}
    for group in comparison.groups:
        method = group.method
        if method.B is not None and _has_paraphrase(group) and method.surgery == PAPER_SURGERY:
            families.setdefault(replace(method, B=None), {})[method.B] = group
    several = [family for family in families.values() if len(family) > 1]
    if not several:
        raise ImpossibleError("no two runs that differ in B only")
    shown: list[tuple[str, Difference]] = []
    supported, contradicted = True, False
    for family in several:
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
    return _verdict(shown, supported, contradicted)


def _has_paraphrase(group: Group) -> bool:
    return paper.PARAPHRASE in group.runs[0].results.tasks


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        text: the claim.
        evidence: the paper's.
        rule: what makes it supported or contradicted.
        apply: applies the rule; raises :class:`ImpossibleError` where it cannot be.
    """

    text: str
    evidence: str
    rule: str
    apply: Callable[[Comparison], Judgement]

    def judge(self, comparison: Comparison) -> Judgement:
        """What the runs of a study say."""
        try:
            return self.apply(comparison)
        except ImpossibleError as error:
            return Judgement(error.ours, f"cannot be judged: {error}")


_TEXTS = tomllib.loads(Path(__file__).with_name("claims.toml").read_text("utf-8"))
CLAIMS = tuple(
    Claim(**_TEXTS[rule.__name__], apply=rule)
    for rule in (
        annealed_over_vanilla, close_and_faster, freezing_no_help, more_b_less_lambda,
        surgery_over_full, cheap_but_weak, paraphrase_for_others,
    )
)  # fmt: skip


def judged(comparison: Comparison, *, synthetic: bool) -> list[tuple[Claim, Judgement]]:
    """Every claim with what the runs of a study say; on made-up text the verdict says so."""
    about = " (about made-up text, not about the paper's data)" if synthetic else ""
    found = [(claim, claim.judge(comparison)) for claim in CLAIMS]
    return [(claim, replace(j, verdict=f"{j.verdict}{about}")) for claim, j in found]


def claims_table(study: Study, comparison: Comparison) -> Table:
    """The claims, the verdicts and what they rest on."""
    found = judged(comparison, synthetic=study.subject.synthetic)
    headings = {
        "_claim": "claim", "verdict": "verdict", "ours": "ours", "paper": "the paper's evidence",
        "rule": "rule",
    }  # fmt: skip
    return table(
        f"{study.slug}-claims",
        "What the paper claims, and what these runs say",
        study.subject,
        (Column(heading, numeric=False, wide=True, key=key) for key, heading in headings.items()),
        [
            {"claim": c.text, "_claim": f"{n}. {c.text}", "paper": c.evidence, "ours": j.ours,
             "verdict": Cell(j.verdict, bold=True), "rule": c.rule}
            for n, (c, j) in enumerate(found, start=1)
        ],
        caption=f"{RULE} {study.subject.warning}".strip(),
    )  # fmt: skip
