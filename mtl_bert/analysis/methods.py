"""What makes two runs the same method, and what a method is called."""

from dataclasses import dataclass
from typing import Any

from mtl_bert.analysis import paper
from mtl_bert.analysis.nodes import node_words
from mtl_bert.analysis.runs import Run

ALL_BUT_HEAD = ("*", "!heads.{task}.*")
WITHOUT_SURGERY = ("full", "single", "random")  # one task at a time, or none: nothing to combine
NAMES = {
    "rr": "RR", "annealed": "annealed", "vanilla": "vanilla", "arrp": "ARRP",
    "full": "full finetuning", "single": "one encoder per task", "random": "random baseline",
}  # fmt: skip
PAPER_SURGERY = "PCGrad(include_self=true), all, mean"

_OWN_FIELDS = {"_target_", "name", "lambda_on"}
LOSS, UPDATE = "loss", "update"


@dataclass(frozen=True, order=True)
class Method:
    """Everything that differs between methods; runs that differ in none of it are repetitions.

    Attributes:
        sampler: its name.
        B: the paper's B; None is all there are.
        B_scale: what B is multiplied by to give the examples drawn.
        lambda_: the penalty λ of samplers that have one.
        frozen: Θ' as patterns of parameter names.
        lambda_on: what λ scales; nothing is scaled with λ=1, and then it is the loss.
        surgery: how gradients are combined, in words; nothing where there is nothing to combine.
        rest: further settings of the sampler.
    """

    sampler: str
    B: int | None = None
    B_scale: float = 1.0
    lambda_: float | None = None
    frozen: tuple[str, ...] = ()
    lambda_on: str = LOSS
    surgery: str = PAPER_SURGERY
    rest: str = ""

    @property
    def F(self) -> str:  # noqa: N802 - the paper's letter
        """What is frozen, in the paper's notation; nothing for samplers that cannot freeze."""
        if self.lambda_ is None and not self.frozen:
            return ""
        if not self.frozen:
            return "F=0"
        return "F=1" if self.frozen == ALL_BUT_HEAD else f"F={{{', '.join(self.frozen)}}}"

    @property
    def drawn(self) -> int | None:
        """Examples that B really draws."""
        return None if self.B is None else round(self.B * self.B_scale)

    @property
    def label(self) -> str:
        """A short name that no other method has."""
        product = "" if self.B_scale == 1 else f" × {self.B_scale:g} = {self.drawn:,}"
        return self._named("", product)

    def brief(self, without: str = "") -> str:
        """A shorter name for figures; without λ or B that of a curve along it."""
        return self._named(without, "" if self.B_scale == 1 else f"×{self.B_scale:g}")

    def _named(self, letter: str, product: str) -> str:
        parts = [NAMES.get(self.sampler, self.sampler)]
        if self.F:
            parts.append(self.F)
        if self.lambda_ is not None and letter != "λ":
            parts.append(f"λ={self.lambda_:g}")
        if self.B is not None and letter != "B":
            parts.append(f"B={self.B:,}{product}")
        label = " ".join(parts)
        if self.lambda_on != LOSS:
            label += f", λ on the {self.lambda_on}"
        if self.surgery not in ("", PAPER_SURGERY):
            label += f", surgery {self.surgery}"
        return f"{label}, {self.rest}" if self.rest else label

    def is_row(self, row: paper.PaperRow) -> bool:
        """Whether a run of this method is that row of the paper."""
        recipe = row.recipe
        return (
            self.surgery in ("", PAPER_SURGERY)
            and not self.rest
            and self.lambda_on == LOSS
            and (self.sampler, self.B, self.lambda_) == (recipe.sampler, recipe.B, recipe.lambda_)
            and self.frozen == (ALL_BUT_HEAD if recipe.frozen else ())
        )


def method_of(run: Run) -> Method:
    """The method of a run."""
    config = run.config
    sampler = config["sampler"]
    name = sampler["name"]
    B, lambda_ = config.get("B"), config.get("lambda")
    return Method(
        sampler=name,
        B=B,
        B_scale=1.0 if B is None else float(config.get("B_scale", 1.0)),
        lambda_=None if lambda_ is None else float(lambda_),
        frozen=_frozen(config),
        lambda_on=LOSS if lambda_ == 1 else sampler.get("lambda_on", LOSS),
        surgery="" if name in WITHOUT_SURGERY else _surgery(config["surgery"]),
        rest=_rest(sampler),
    )


def _frozen(config: dict[str, Any]) -> tuple[str, ...]:
    freeze = config.get("freeze", "none")
    patterns = config.get("freeze_sets", {}).get(freeze, []) if isinstance(freeze, str) else freeze
    return tuple(patterns)


def _rest(sampler: dict[str, Any]) -> str:
    """Settings of a sampler that have no place of their own, unless they are as usual."""
    extra = {
        key: value for key, value in sampler.items() if key not in _OWN_FIELDS and value is not None
    }
    target = str(sampler.get("_target_", ""))
    if target and not target.startswith("mtl_bert.sampling."):
        extra["_target_"] = target
    return ", ".join(f"{key}={node_words(value)}" for key, value in sorted(extra.items()))


def _surgery(node: dict[str, Any]) -> str:
    method, scope, reduction = (node.get(key) for key in ("method", "scope", "reduction"))
    return ", ".join(node_words(part) for part in (method, scope, reduction))
