"""What makes two runs the same method or the same setting, read from their configuration."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from mtl_bert.runs.results import Results

ALL_BUT_HEAD = ("*", "!heads.{task}.*")
WITHOUT_SURGERY = ("full", "single", "random")  # one task at a time, or none: nothing to combine
NAMES = {
    "rr": "RR", "annealed": "annealed", "vanilla": "vanilla", "arrp": "ARRP",
    "full": "full finetuning", "single": "one encoder per task", "random": "random baseline",
}  # fmt: skip
PAPER_SURGERY = "PCGrad(include_self=true), all, mean"
SURGERIES = {PAPER_SURGERY: "", "Sum, all, sum": "no surgery"}
"""Names for readers, of the usual one none; others go by their words."""

ADAPTER = {"adapter": "none", "adapter_size": None, "adapter_heads": 6, "adapter_layers": None,
           "lora_alpha": 16, "freeze_encoder": None}  # fmt: skip
"""Settings of the model that say what is trained, and so belong to the method; the usual values."""
STATIC = ("fixed", "temperature", "unimax", "vanilla")

_OWN_FIELDS = {"_target_", "name", "lambda_on"}
LOSS, UPDATE = "loss", "update"
_PLACES = ("dir", "path")  # where things lie says nothing about what they are


@dataclass(frozen=True, order=True)
class Method:
    """Everything that differs between methods; runs that differ in none of it are repetitions."""

    sampler: str
    B: int | None = None  # without it all examples are drawn
    B_scale: float = 1.0
    lambda_: float | None = None  # the penalty, of samplers that have one
    frozen: tuple[str, ...] = ()  # patterns of parameter names (Θ')
    lambda_on: str = LOSS  # what λ scales; with λ=1 that is nothing, and called the loss
    surgery: str = PAPER_SURGERY  # how gradients are combined, in words
    rest: str = ""  # further settings of the sampler
    adapter: str = ""  # what is put on the encoder, and whether that is left as it came

    @property
    def drawn(self) -> int | None:
        """Examples that B really draws."""
        return None if self.B is None else round(self.B * self.B_scale)

    @property
    def static(self) -> bool:
        """Whether it is a static mixture without surgery: a point of the line to beat."""
        return self.sampler in STATIC and self.surgery.startswith("Sum,")

    def order(self) -> tuple[Any, ...]:
        """What methods are sorted by: sampler, what is frozen, B, λ."""
        place = [*NAMES, self.sampler].index(self.sampler)
        numbers = (self.drawn or 0, self.lambda_ or 0.0)
        return (place, self.sampler, self.frozen, *numbers, self.lambda_on, self.label)

    def short(self, without: str = "") -> str:
        """A name for readers; without λ or B that of a curve along it.

        B is what is really drawn. Two methods may share it where B was scaled in several ways.
        """
        parts = [NAMES.get(self.sampler, self.sampler)]
        if self.lambda_ is not None and without != "λ":
            parts.append(f"λ={self.lambda_:g}")
        if self.drawn is not None and without != "B":
            parts.append(f"B={self.drawn:,}")
        kept = "all_but_head" if self.frozen == ALL_BUT_HEAD else f"[{','.join(self.frozen)}]"
        more = [
            self.adapter, self.rest, f"freeze={kept}" if self.frozen else "",
            f"λ on the {self.lambda_on}" if self.lambda_on != LOSS else "",
            SURGERIES.get(self.surgery, self.surgery),
        ]  # fmt: skip
        words = "; ".join(filter(None, more))
        return " ".join(parts) + (f" ({words})" if words else "")

    @property
    def label(self) -> str:
        """A name that no other method has."""
        scaled = "" if self.B_scale == 1 else f", B={self.B:,} × {self.B_scale:g}"
        return f"{self.short()}{scaled}"


def method_of(config: dict[str, Any]) -> Method:
    """The method of a resolved configuration."""
    sampler, B, lambda_, frozen = (config[key] for key in ("sampler", "B", "lambda", "freeze"))
    freeze_sets = config["freeze_sets"]
    words = [setting_words(config["surgery"].get(k)) for k in ("method", "scope", "reduction")]
    if config["surgery"].get("normalise", "none") != "none":
        words.append(f"normalise={config['surgery']['normalise']}")
    rest = {k: v for k, v in sampler.items() if k not in _OWN_FIELDS and v is not None}
    # A value for each phase is told in words.
    if isinstance(B, list):
        rest["B"], B = B if config["B_scale"] == 1 else [B, config["B_scale"]], None
    if isinstance(lambda_, list):
        rest["λ"], lambda_ = lambda_, None
    if isinstance(frozen, list) and any(isinstance(f, list) or f in freeze_sets for f in frozen):
        rest["freeze"], frozen = frozen, []
    if not (target := str(sampler.get("_target_", ""))).startswith("mtl_bert.sampling.") and target:
        rest["_target_"] = target
    return Method(
        sampler=sampler["name"],
        B=None if B is None else index(B),
        B_scale=1.0 if B is None else float(config["B_scale"]),
        lambda_=None if lambda_ is None else float(lambda_),
        frozen=tuple(freeze_sets[frozen] if isinstance(frozen, str) else frozen),
        lambda_on=LOSS if lambda_ == 1 else sampler.get("lambda_on", LOSS),
        surgery="" if sampler["name"] in WITHOUT_SURGERY else ", ".join(words),
        rest=", ".join(f"{key}={setting_words(value)}" for key, value in sorted(rest.items())),
        adapter=_adapter(config["model"]),
    )


def _adapter(model: dict[str, Any]) -> str:
    """Those of the model's settings of ADAPTER that are not the usual ones, in words."""
    counts = ADAPTER if model.get("adapter", "none") != "none" else ("freeze_encoder",)
    told = {key: model[key] for key in counts if model.get(key, ADAPTER[key]) != ADAPTER[key]}
    return ", ".join(f"{key}={setting_words(value)}" for key, value in told.items())


def setting_of(results: Results, without: Sequence[str] = ()) -> dict[str, Any]:
    """Everything besides the method that could change a run's numbers, by name."""
    config, data = results.config, results.data
    trainer, given = config["trainer"], {k: v for k, v in config["data"].items() if v is not None}
    together = trainer["accumulate_grad_batches"] * trainer["devices"] * trainer["num_nodes"]
    alike = ("group_by_length", "lr", "optimizer", "scheduler")
    alike_trainer = ("gradient_clip_val", "precision", "check_val_every_n_epoch")
    words = {
        "data": _without(given, _PLACES) | {"name": data.name},
        "sizes": data.sizes,
        "encoder": results.encoder,
        "model": _without(config["model"], (*_PLACES, *ADAPTER)),
        "batch_size": config["batch_size"] * together,
        **{key: config[key] for key in alike},
        **{key: trainer[key] for key in alike_trainer},
        "patience": trainer.get("patience"),
        "callbacks": config.get("callbacks") or {},
        "dev_sample": results.dev_sample,
        "tasks": {
            name: _without(node, ("sources",))
            | ({"batch_size": own * together} if (own := node.get("batch_size")) else {})
            for name, node in config["tasks"].items()
        },
    }
    kept: dict[str, Any] = _without(words, without)  # lr is the optimizer's, too
    return kept


def _without(node: Any, keys: Sequence[str]) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: _without(value, keys) for key, value in node.items() if key not in keys}


def setting_words(value: Any) -> str:
    """A setting as people write it; a node is ``Class(key=value)``."""
    if isinstance(value, dict):
        settings = [f"{k}={setting_words(v)}" for k, v in value.items() if not k.startswith("_")]
        name = str(value.get("_target_", "")).rpartition(".")[2]
        return f"{name}({', '.join(settings)})" if settings else name or "{}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
