"""Every setting of a run, described once: its type and range, its default, a sentence, an example.

Error messages, ``--help``, ``docs/reference/settings.md`` and the defaults in ``conf`` are made
from it. Each object that a group names (sampler, source, head, ...) checks and describes its own
settings, beside its type.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from mtl_bert.utils.errors import UserError


class ConfigError(UserError):
    """A setting that cannot be."""


RENAMED = {
    "accumulate": "trainer.accumulate_grad_batches",
    "bucket": "group_by_length",
    "scheduler.warmup": "scheduler.warmup_ratio",
    "trainer.bar": "trainer.enable_progress_bar",
    "trainer.clip": "trainer.gradient_clip_val",
    "trainer.log_every": "trainer.log_every_n_steps",
    "trainer.nodes": "trainer.num_nodes",
    "trainer.save_every_minutes": "trainer.save_minutes",
    "trainer.save_every_steps": "trainer.save_steps",
    "trainer.validate_every": "trainer.check_val_every_n_epoch",
    "trainer.workers": "trainer.num_workers",
}
"""Settings that had another name once -> what Lightning and Hugging Face call them."""


def _setting(
    sentence: str,
    example: str,
    default: Any = ...,
    *,
    expected: str = "",
    only_with: str = "",
    **checks: Any,
) -> Any:
    """Declare a setting.

    Args:
        sentence: what it does, for a person who has never seen it.
        example: as one writes it on the command line.
        default: what it is if nobody sets it; left out for what a group brings.
        expected: the values that it takes, where its type does not say it well enough.
        only_with: the choice without which the setting does not exist.
        checks: what else pydantic's ``Field`` is to check.
    """
    extra: JsonDict = {"expected": expected, "only_with": only_with}
    return Field(
        default, description=sentence, examples=[example], json_schema_extra=extra, **checks
    )


Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Node = dict[str, Any]
_PerTask = Count | Annotated[dict[str, Count], Field(min_length=1)] | None
_PER_TASK = "a whole number ≥ 1, one for each task, or null"


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DataSettings(_Settings):
    """Where examples come from, and how many of them are used."""

    source: Node = _setting(
        "The object that reads the tasks' tables.", "data=demo", expected="what conf/data says"
    )
    max_bad_share: Annotated[Number, Field(le=1)] = _setting(
        "Share of a file's rows that may be unusable before the run refuses the file.",
        "data.max_bad_share=0.05",
        0.01,
    )
    share: Annotated[Positive, Field(le=1)] = _setting(
        "Share of every training set that is kept; a smaller share is part of a larger one.",
        "data.share=0.1",
        1.0,
    )
    limit: _PerTask = _setting(
        "Training examples of each task at most.",
        "data.limit=5000 or data.limit='{TASK: 5000}'",
        None,
        expected=_PER_TASK,
    )
    dev_limit: _PerTask = _setting(
        "Dev examples of each task at most.",
        "data.dev_limit=1000 or data.dev_limit='{TASK: 1000}'",
        None,
        expected=_PER_TASK,
    )
    imbalance: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] | None = _setting(
        "Cut every training set but the largest to the largest's size divided by this.",
        "data.imbalance=30",
        None,
    )
    seed: Annotated[int, Field(strict=True, ge=0)] = _setting(
        "Seed of which examples are kept, and of made-up text; the run's seed does not change it.",
        "data.seed=1",
        0,
    )
    dir: str | None = _setting(
        "Directory that holds the data files.", "data.dir=DIR", None, only_with="data=cs224n"
    )
    scale: Positive = _setting(
        "Share of the paper's training sizes that is made up.",
        "data.scale=0.11",
        1.0,
        only_with="data=demo",
    )


class ModelSettings(_Settings):
    """The encoder and what is put on it."""

    source: Node = _setting(
        "The object that loads or builds the encoder.",
        "model=tiny",
        expected="what conf/model says",
    )
    path: str | None = _setting(
        "Directory of an encoder, or its name on the Hugging Face hub.",
        "model.path=DIR",
        None,
        only_with="model=local or bert_base",
    )
    pairs: Literal["joint", "alone"] = _setting(
        "Encode the two texts of a pair as one sequence (joint) or each by itself (alone).",
        "model.pairs=alone",
        "joint",
    )
    dropout: Annotated[Number, Field(lt=1)] = _setting(
        "Dropout probability on the encoder's pooled output.", "model.dropout=0.1", 0.1
    )
    max_length: Count | None = _setting(
        "Tokens of a text at most; longer texts are cut. null: the encoder's own limit.",
        "model.max_length=128",
        None,
    )


class TrainerSettings(_Settings):
    """How a run is carried out; names that Lightning's Trainer has too mean the same."""

    accelerator: Literal["auto", "cpu", "gpu"] = _setting(
        "Kind of device to train on; auto takes a GPU if there is one.",
        "trainer.accelerator=cpu",
        "auto",
    )
    devices: Count = _setting("Processes on each machine.", "trainer.devices=2", 1)
    num_nodes: Count = _setting("Machines that train together.", "trainer.num_nodes=2", 1)
    accumulate_grad_batches: Count = _setting(
        "Parts of batch_size examples, added up before surgery, that make a step's batch.",
        "trainer.accumulate_grad_batches=2",
        1,
    )
    precision: Literal["auto", "32-true", "64-true", "bf16-mixed", "16-mixed"] = _setting(
        "Floating-point precision; auto is bf16-mixed on GPUs that have it.",
        "trainer.precision=bf16-mixed",
        "32-true",
    )
    packing: bool | None = _setting(
        "Compute without padding, with the same results to rounding. null: on CPUs only.",
        "trainer.packing=false",
        None,
    )
    gradient_clip_val: Number | None = _setting(
        "Largest norm of the combined gradient; a longer one is scaled down. null: no limit.",
        "trainer.gradient_clip_val=1.0",
        None,
    )
    num_workers: Annotated[int, Field(strict=True, ge=0)] = _setting(
        "Processes that prepare batches; 0 prepares them in the training process.",
        "trainer.num_workers=2",
        0,
    )
    cache: bool = _setting(
        "Keep the tokens of encoded texts for later runs.", "trainer.cache=false", True
    )
    cache_gib: Positive = _setting(
        "GiB that all kept tokens may take; the least recently used are deleted.",
        "trainer.cache_gib=20",
        10.0,
    )
    threads: Count | None = _setting(
        "CPU threads. null: all that this process may use.", "trainer.threads=2", None
    )
    check_val_every_n_epoch: Count = _setting(
        "Epochs between two scorings of the dev sets; the last epoch is always scored.",
        "trainer.check_val_every_n_epoch=2",
        1,
    )
    dev_sample: Count | None = _setting(
        "Dev examples of each task scored after an epoch to choose the best; the best epoch and "
        "the last are then scored on all. null: all after every epoch.",
        "trainer.dev_sample=2000",
        2000,
    )
    eval_batch_size: Count = _setting(
        "Examples of a batch when scoring.", "trainer.eval_batch_size=128", 64
    )
    skip_limit: Count = _setting(
        "Steps in a row without finite gradients that end the run.", "trainer.skip_limit=10", 10
    )
    save_steps: Count | None = _setting(
        "Steps between two checkpoints within an epoch. null: only by time.",
        "trainer.save_steps=1000",
        None,
    )
    save_minutes: Positive | None = _setting(
        "Minutes between two checkpoints within an epoch; every epoch ends with one.",
        "trainer.save_minutes=5",
        15.0,
    )
    keep: Literal["all", "best", "none"] = _setting(
        "Checkpoints that a finished run keeps; without the last it cannot be trained further.",
        "trainer.keep=best",
        "all",
    )
    log_every_n_steps: Count = _setting(
        "Steps between two log entries of the training losses.", "trainer.log_every_n_steps=10", 50
    )
    layers_every: Count | None = _setting(
        "Joint steps between two measurements of the tasks' conflicts in each layer. null: none.",
        "trainer.layers_every=50",
        None,
    )
    enable_progress_bar: bool | None = _setting(
        "Show a progress bar and tables, not log lines. null: if stderr is a terminal.",
        "trainer.enable_progress_bar=false",
        None,
    )
    baseline: bool = _setting(
        "Score the untrained model before training.", "trainer.baseline=false", True
    )
    profile: bool = _setting(
        "Record some steps of each phase of the first epoch, to show what takes how long.",
        "trainer.profile=true",
        False,
    )


class Settings(_Settings):
    """Everything that decides a run."""

    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = _setting(
        "Seed of all randomness: draws, initial heads, dropout, order of projections.",
        "seed=2",
        1,
        expected="a whole number from 0 to 2**63 − 1",
    )
    epochs: Count = _setting("Epochs to train.", "epochs=10", 10)
    batch_size: Count = _setting(
        "Examples of each task in a step, in each process.", "batch_size=16", 8
    )
    group_by_length: Annotated[int, Field(strict=True, ge=2)] | None = _setting(
        "Batch texts of similar length within windows of this many steps. null: random batches, as "
        "in the paper.",
        "group_by_length=50",
        None,
    )
    lr: Number = _setting("Learning rate.", "lr=3e-5", 1e-5)
    lambda_: Number | None = _setting(
        "The penalty λ on arrp's fine-tuning phase.", "lambda=0.5", None, alias="lambda"
    )
    B: Count | None = _setting(
        "Examples per epoch: of arrp's fine-tuning phase (null: all that are left), of each task "
        "with rr (null: the smallest task's), or B / batch_size steps of a batch for each task "
        "with annealed and vanilla (null: as many examples as there are).",
        "B=24000",
        None,
    )
    B_scale: Positive = _setting(
        "Factor on B, to use one data set's B on a smaller one.", "B_scale=0.11", 1.0
    )
    freeze: str | list[str] = _setting(
        "Parameters that arrp's fine-tuning phase leaves as they are: none (F=0), all_but_head "
        "(F=1), or patterns of names, where !pattern exempts.",
        "freeze=['encoder.embeddings.*']",
        "none",
        expected="none, all_but_head or a list of parameter-name patterns",
    )
    freeze_sets: dict[str, list[str]] = _setting(
        "The patterns that each name for freeze stands for; {task} is the largest task.",
        "freeze=none",
        {"none": [], "all_but_head": ["*", "!heads.{task}.*"]},
        expected="names of lists of patterns",
    )
    tasks: Annotated[dict[str, Node], Field(min_length=1)] = _setting(
        "The tasks, a file each below conf/task.",
        "task=[sst,qqp,sts]",
        expected="at least one task",
    )
    sampler: Node = _setting(
        "Which examples each step sees.", "sampler=arrp", expected="a choice from conf/sampler"
    )
    surgery: Node = _setting(
        "How the tasks' gradients become one update.",
        "surgery=pcgrad_paper",
        expected="a choice from conf/surgery",
    )
    data: DataSettings = _setting(
        "Where examples come from.", "data=demo", expected="a choice from conf/data"
    )
    model: ModelSettings = _setting(
        "The encoder.", "model=tiny", expected="a choice from conf/model"
    )
    optimizer: Node = _setting(
        "The optimizer.", "optimizer=adamw", expected="a choice from conf/optimizer"
    )
    scheduler: Node = _setting(
        "How the learning rate changes over the run.",
        "scheduler=constant",
        expected="a choice from conf/scheduler",
    )
    trainer: TrainerSettings = _setting(
        "How the run is carried out.", "trainer=default", expected="a choice from conf/trainer"
    )
    logger: dict[str, Node] = _setting(
        "Where metrics go besides the run's directory.",
        "logger=wandb",
        {},
        expected="choices from conf/logger",
    )
    overrides: list[str] | None = Field(default=None)
    """The command line that the settings come from: a note, and no setting."""

    def plain(self) -> dict[str, Any]:
        """The settings as they were given, under the names that people use, with the note."""
        return self.model_dump(by_alias=True, mode="json", exclude_unset=True)

    def config(self) -> dict[str, Any]:
        """The same without the note of the command line, which results keep beside them."""
        return {key: value for key, value in self.plain().items() if key != "overrides"}

    def complete(self) -> dict[str, Any]:
        """The same, with the defaults of what was not given."""
        return self.model_dump(by_alias=True, mode="json")

    @property
    def processes(self) -> int:
        """That train together."""
        return self.trainer.devices * self.trainer.num_nodes

    @property
    def step_size(self) -> int:
        """Examples of a step's batch, over all processes and parts."""
        return self.batch_size * self.trainer.accumulate_grad_batches * self.processes

    @property
    def drawn(self) -> int | None:
        """Examples that B stands for with the data at hand."""
        return None if self.B is None else max(1, round(self.B * self.B_scale))

    @property
    def frozen(self) -> tuple[str, ...]:
        """Θ' as patterns."""
        if isinstance(self.freeze, list):
            return tuple(self.freeze)
        if self.freeze not in self.freeze_sets:
            raise ConfigError(
                f"freeze: expected {', '.join(self.freeze_sets)} or a list of parameter-name "
                f"patterns, found {self.freeze!r}; write for example freeze=[{self.freeze!r}]"
            )
        return tuple(self.freeze_sets[self.freeze])


class Described(NamedTuple):
    """A setting as people read about it.

    Attributes:
        key: its dotted name on the command line.
        field: its declaration.
        group: whether a choice brings it, and with it settings of its own.
    """

    key: str
    field: FieldInfo
    group: bool

    @property
    def expected(self) -> str:
        """The values that it takes, in words."""
        return expected_of(self.field)

    @property
    def only_with(self) -> str:
        """The choice without which the setting does not exist; empty for most."""
        return str(_extra(self.field).get("only_with", ""))


def described(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Described]:
    """Every setting that is declared here, in order."""
    for name, field in model.model_fields.items():
        if field.description is None:
            continue  # a note, and no setting
        key, nested = prefix + (field.alias or name), field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield Described(key, field, group=True)
            yield from described(nested, f"{key}.")
        else:
            group = field.is_required() or name == "logger"
            yield Described(key, field, group=group)


def setting_names() -> list[str]:
    """Every setting, as people write it on the command line."""
    return [setting.key for setting in described()]


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The defaults of a model's own settings, without those that only some choices have."""
    return {
        field.alias or name: field.get_default()
        for name, field in model.model_fields.items()
        if field.description and name != "logger"
        if not field.is_required() and not _extra(field).get("only_with")
    }


def expected_of(field: FieldInfo) -> str:
    """The values that a setting takes, in words."""
    return str(_extra(field).get("expected") or "") or _words(field.annotation, field.metadata)


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _words(annotation: Any, checks: Sequence[Any] = ()) -> str:
    """A type and its range: "a whole number ≥ 1 or null"."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = (c.metadata if isinstance(c, FieldInfo) else [c] for c in parts[1:])
        return _words(parts[0], [check for several in inner for check in several])
    if origin in (Union, UnionType, Literal):
        words = [p if isinstance(p, str) else _words(p) for p in parts]
        *first, last = [word for several in words for word in several.split(" or ")]
        return f"{', '.join(first)} or {last}"
    simple = {bool: "true or false", str: "text", NoneType: "null"}
    if annotation in simple:
        return simple[annotation]
    kind = {int: "a whole number", float: "a number"}.get(annotation, "a value")
    bounds = [
        f"{sign} {getattr(check, name):g}"
        for check in checks
        for bound, name, sign in (
            (Ge, "ge", "≥"),
            (Gt, "gt", ">"),
            (Le, "le", "≤"),
            (Lt, "lt", "<"),
        )
        if isinstance(check, bound)
    ]
    return f"{kind} {' and '.join(bounds)}".rstrip()


def unknown_setting(key: str, known: Sequence[str] = ()) -> str:
    """What to say of a setting that does not exist: its new name, or one that looks alike."""
    close = difflib.get_close_matches(key, known, n=1)
    name = key.rpartition(".")[2].rstrip("_")
    if key in RENAMED:
        advice = f"write {RENAMED[key]}"
    elif name in known:  # the sampler's lambda_ is the run's lambda
        advice = f"write {name}"
    elif close:
        advice = f"did you mean {close[0]}?"
    else:
        advice = "leave it out, or see --help"
    return f"{key}: expected a known setting, found {key}; {advice}"


def refuse_old_names(plain: Mapping[str, Any]) -> None:
    """Check that no setting has the name that it had once.

    Raises:
        ConfigError: one that has, with its new name.
    """
    for old in RENAMED:
        group, _, name = old.rpartition(".")
        if name in (plain.get(group, {}) if group else plain):
            raise ConfigError(unknown_setting(old))


def explain(error: ValidationError) -> str:
    """Say the first thing that is wrong, in the words of the setting's own declaration."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if isinstance(part, str)]
    key, field = _locate(path)
    if first["type"] == "extra_forbidden":
        key = ".".join(path)
        return unknown_setting(key)
    missing = first["type"] == "missing"
    expected = expected_of(field) if field else "a value" if missing else first["msg"]
    found = "none" if missing else repr(first["input"])
    advice = f"write for example {field.examples[0]}" if field and field.examples else "see --help"
    return f"{key}: expected {expected}, found {found}; {advice}"


def _locate(path: list[str]) -> tuple[str, Any]:
    """The dotted key of an error, and the declaration of the setting it is about."""
    model: Any = Settings
    keys: list[str] = []
    field: Any = None
    for part in path:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            break
        field = {f.alias or name: f for name, f in model.model_fields.items()}.get(part)
        keys.append(part)
        model = field.annotation if field else None
    return ".".join(keys), field
