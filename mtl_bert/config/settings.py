"""Every setting of a run, described once: its type and range, its default, a sentence, an example.

Error messages, ``--help``, ``docs/reference/settings.md`` and the defaults in ``conf`` are made
from it. Each object that a group names (sampler, source, head, ...) checks and describes its own
settings, beside its type.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from mtl_bert.utils.errors import UserError

CONFIG = "config.yaml"
"""The file in a run's folder that keeps its settings."""


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
    default: Any, example: str, *, expected: str = "", only_with: str = "", **checks: Any
) -> Any:
    """Declare a setting; the text below it says what it does.

    A group brings those whose default is ``...``. An example is a value as one writes it on the
    command line. Its type says which values it takes, or else ``expected``.
    """
    extra: JsonDict = {"expected": expected, "only_with": only_with}
    return Field(default, examples=[example], json_schema_extra=extra, **checks)


MOST = 2**31 - 1  # of anything that is counted: what fits into the integers of every library

Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
Processes = Annotated[int, Field(strict=True, ge=1, le=1024)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=0, le=MOST)]
Node = dict[str, Any]
TaskName = Annotated[str, Field(pattern=r"^[^\W\d]\w*$", max_length=100)]
"""It names parameters and files, and comes from configurations that others have written."""
_PerTask = Count | Annotated[dict[str, Count], Field(min_length=1)] | None
_PER_TASK = "a whole number ≥ 1, one for each task, or null"


class _Settings(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True,
        ser_json_inf_nan="constants",  # sampler.temperature=inf is not null when it is read again
    )  # fmt: skip


class DataSettings(_Settings):
    """Where examples come from, and how many of them are used."""

    source: Node = _setting(..., "data=demo", expected="what conf/data says")
    """The object that reads the tasks' tables."""
    max_bad_share: Annotated[Number, Field(le=1)] = _setting(0.01, "0.05")
    """Share of a file's rows that may be unusable before the run refuses the file."""
    share: Annotated[Positive, Field(le=1)] = _setting(1.0, "0.1")
    """Share of every training set that is kept; a smaller share is part of a larger one."""
    limit: _PerTask = _setting(None, "5000 or '{TASK: 5000}'", expected=_PER_TASK)
    """Training examples of each task at most."""
    dev_limit: _PerTask = _setting(None, "1000 or '{TASK: 1000}'", expected=_PER_TASK)
    """Dev examples of each task at most."""
    select: Annotated[Positive, Field(lt=1)] | None = _setting(None, "0.5")
    """Share of each dev set that chooses the best epoch; the others are what results are measured
    on. null: the same examples do both, as in the paper, which flatters the best epoch."""
    imbalance: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] | None = _setting(
        None, "30"
    )
    """Cut every training set but the largest to the largest's size divided by this."""
    seed: Whole = _setting(0, "1")
    """Seed of which examples are kept, and of made-up text; the run's seed does not change it."""
    dir: str | None = _setting(None, "DIR", only_with="data=cs224n, glue or files")
    """Directory that holds the data files."""
    scale: Positive = _setting(1.0, "0.11", only_with="data=demo")
    """Share of the paper's training sizes that is made up."""


class ModelSettings(_Settings):
    """The encoder and what is put on it."""

    source: Node = _setting(..., "model=tiny", expected="what conf/model says")
    """The object that loads or builds the encoder."""
    path: str | None = _setting(None, "DIR", only_with="model=local or bert_base")
    """Directory of an encoder, or its name on the Hugging Face hub."""
    pairs: Literal["joint", "alone"] = _setting("joint", "alone")
    """Encode the two texts of a pair as one sequence (joint) or each by itself (alone)."""
    pooling: Literal["auto", "pooler", "cls", "mean", "max", "last"] = _setting("auto", "mean")
    """What a text's vector is: the pooler's output, the first token's state, the tokens' mean or
    maximum, or the last token's state. auto: as the encoder was trained, if its directory says so
    for sentence-transformers; else its pooler, if trained; else the mean."""
    layers: Count | None = _setting(None, "2")
    """Layers of the encoder that are used, the first ones. null: all."""
    adapter: Literal["none", "pals", "low_rank", "lora", "lora_per_task"] = _setting("none", "pals")
    """What is put on the encoder: projected attention layers (Stickland and Murray 2019) or
    low-rank ones for each task, or LoRA's changes of its weights, for all tasks or for each."""
    adapter_size: Count | None = _setting(None, "204")
    """Numbers in a token's inner state of a task's layers, or LoRA's rank. null: as published, by
    the encoder's width: 204 of 768 for pals, 100 of 768 for low_rank; 8 for LoRA."""
    adapter_heads: Count = _setting(6, "12")
    """Attention heads of pals."""
    adapter_layers: Annotated[list[Whole], Field(min_length=1)] | None = _setting(None, "[10,11]")
    """Numbers of the encoder's layers that have the adapter, from 0. null: all."""
    lora_alpha: Count = _setting(16, "16")
    """LoRA's α: its changes count α / rank times."""
    freeze_encoder: bool | None = _setting(None, "true")
    """Leave the encoder as it is in all phases and train heads and adapters alone. null: with LoRA
    only."""
    gradient_checkpointing: bool = _setting(False, "true")
    """Compute the encoder's layers again in the backward pass: less memory, more time, the same
    numbers."""
    dropout: Annotated[Number, Field(lt=1)] = _setting(0.1, "0.1")
    """Dropout probability on the encoder's pooled output."""
    max_length: Count | None = _setting(None, "128")
    """Tokens of a text at most; longer texts are cut. null: the encoder's own limit."""


class TrainerSettings(_Settings):
    """How a run is carried out; names that Lightning's Trainer has too mean the same."""

    accelerator: Literal["auto", "cpu", "gpu"] = _setting("auto", "cpu")
    """Kind of device to train on; auto takes a GPU if there is one."""
    devices: Processes = _setting(1, "2")
    """Processes on each machine."""
    num_nodes: Processes = _setting(1, "2")
    """Machines that train together."""
    accumulate_grad_batches: Count = _setting(1, "2")
    """Parts of batch_size examples, added up before surgery, that make a step's batch."""
    precision: Literal["auto", "32-true", "64-true", "bf16-mixed", "16-mixed"] = _setting(
        "32-true", "bf16-mixed"
    )
    """Floating-point precision; auto is bf16-mixed on GPUs that have it."""
    packing: bool | None = _setting(None, "false")
    """Compute without padding, with the same results to rounding. null: on CPUs only."""
    passes: Literal["auto", "one", "per_task"] = _setting("auto", "per_task")
    """Passes through the encoder in a step with several tasks: one for all, or one for each. The
    gradients are the same to rounding; dropout draws other masks. auto: one where batches are so
    small that it is faster, by their tokens."""
    gradient_clip_val: Positive | None = _setting(None, "1.0")
    """Largest norm of the combined gradient; a longer one is scaled down. null: no limit."""
    num_workers: Annotated[int, Field(strict=True, ge=0, le=1024)] = _setting(0, "2")
    """Processes that prepare batches; 0 prepares them in the training process."""
    cache: bool = _setting(True, "false")
    """Keep the tokens of encoded texts for later runs."""
    cache_gib: Positive = _setting(10.0, "20")
    """GiB that all kept tokens may take; the least recently used are deleted."""
    threads: Processes | None = _setting(None, "2")
    """CPU threads. null: all that this process may use."""
    check_val_every_n_epoch: Count = _setting(1, "2")
    """Epochs between two scorings of the dev sets; the last epoch is always scored."""
    dev_sample: Count | None = _setting(2000, "2000")
    """Dev examples of each task scored after an epoch to choose the best; the best epoch and the
    last are then scored on all. null: all after every epoch."""
    patience: Count | None = _setting(None, "3")
    """Scorings of the dev sets without a better score after which the run ends. null: no end."""
    eval_batch_size: Count = _setting(64, "128")
    """Examples of a batch when scoring."""
    skip_limit: Count = _setting(10, "10")
    """Steps in a row without finite gradients that end the run."""
    save_steps: Count | None = _setting(None, "1000")
    """Steps between two checkpoints within an epoch. null: only by time."""
    save_minutes: Positive | None = _setting(15.0, "5")
    """Minutes between two checkpoints within an epoch; every epoch ends with one."""
    keep: Literal["all", "best", "none"] = _setting("all", "best")
    """Checkpoints that a finished run keeps; without the last it cannot be trained further."""
    best_per_task: bool = _setting(False, "true")
    """Keep the weights of each task's own best epoch, too, a file for each; commands about the run
    take them by --checkpoint TASK."""
    log_every_n_steps: Count = _setting(50, "10")
    """Steps between two log entries of the training losses."""
    layers_every: Count | None = _setting(None, "50")
    """Joint steps between two measurements of the tasks' conflicts in each layer. null: none."""
    enable_progress_bar: bool | None = _setting(None, "false")
    """Show a progress bar and tables, not log lines. null: if stderr is a terminal."""
    baseline: bool = _setting(True, "false")
    """Score the untrained model before training."""
    profile: bool = _setting(False, "true")
    """Record some steps of each phase of the first epoch, to show what takes how long."""


class TaskSettings(_Settings):
    """What any task may have besides what it is."""

    weight: Positive = _setting(1.0, "0.5")
    """Factor on the task's loss, with whatever surgery."""
    batch_size: Count | None = _setting(None, "16")
    """Examples of the task's batches. null: the run's batch_size."""
    max_repeats: Positive | None = _setting(None, "2")
    """Times that an epoch may use the task's training set at most; after that the task is left out
    of the epoch's steps. null: no limit."""
    balance: Literal["classes"] | None = _setting(None, "classes")
    """Deal the task's examples so that every class comes up equally often; the rarer ones start
    over."""
    class_weights: Literal["balanced"] | list[Positive] | None = _setting(
        None, "balanced", expected="balanced, a list with a number > 0 for each class, or null"
    )
    """Factors on the losses of examples by their class; balanced: inverse to how often it is in the
    training set."""
    max_length: Count | None = _setting(None, "64")
    """Tokens of the task's texts at most; longer ones are cut. null: the run's model.max_length."""
    hidden: Count | None = _setting(None, "128")
    """Width of a hidden layer (GELU, with the run's dropout) between features and outputs. null: a
    linear head. module: in the task's file takes any layers of your own."""


class Settings(_Settings):
    """Everything that decides a run."""

    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = _setting(
        1, "2", expected="a whole number from 0 to 2**63 − 1"
    )
    """Seed of all randomness: draws, initial heads, dropout, order of projections."""
    epochs: Annotated[int, Field(strict=True, ge=1, le=100_000)] = _setting(10, "10")
    """Epochs to train."""
    batch_size: Count = _setting(8, "16")
    """Examples of each task in a step, in each process."""
    group_by_length: Annotated[int, Field(strict=True, ge=2, le=MOST)] | None = _setting(None, "50")
    """Batch texts of similar length within windows of this many steps. null: random batches, as in
    the paper."""
    lr: Number = _setting(1e-5, "3e-5")
    """Learning rate."""
    lambda_: Number | Annotated[list[Number], Field(min_length=1)] | None = _setting(
        None, "0.5", alias="lambda", expected="a number ≥ 0 or null"
    )
    """The penalty λ on arrp's fine-tuning phase, or on the phases after the first with tiers (a
    list has one for each)."""
    B: Count | Annotated[list[Count | None], Field(min_length=1)] | None = _setting(
        None, "24000", expected="a whole number ≥ 1 or null"
    )
    """Examples per epoch: of arrp's fine-tuning phase (null: all that are left), with tiers of each
    phase after the first (a list has one for each), of each task with rr (null: the smallest
    task's), or B / batch_size steps of a batch for each task where a mixture draws batches (null:
    as many examples as there are)."""
    B_scale: Positive = _setting(1.0, "0.11")
    """Factor on B, to use one data set's B on a smaller one."""
    freeze: str | list[str | list[str]] = _setting(
        "none",
        "['encoder.embeddings.*']",
        expected="none, all_but_head or a list of parameter-name patterns",
    )
    """Parameters that arrp's fine-tuning phase leaves as they are: none (F=0), all_but_head (F=1),
    or patterns of names, where !pattern exempts. With tiers also a list of such choices, one for
    each phase after the first."""
    freeze_sets: dict[str, list[str]] = _setting(
        {"none": [], "all_but_head": ["*", "!heads.{task}.*"]},
        "freeze=none",
        expected="names of lists of patterns",
    )
    """The patterns that each name for freeze stands for; {task} is the largest task."""
    tasks: Annotated[dict[TaskName, Node], Field(min_length=1)] = _setting(
        ..., "task=[sst,qqp,sts]", expected="at least one task, named by letters, digits and _"
    )
    """The tasks, a file each below conf/task."""
    sampler: Node = _setting(..., "arrp")
    """Which examples each step sees."""
    surgery: Node = _setting(..., "pcgrad_paper")
    """How the tasks' gradients become one update."""
    data: DataSettings = _setting(..., "demo")
    """Where examples come from."""
    model: ModelSettings = _setting(..., "tiny")
    """The encoder."""
    optimizer: Node = _setting(..., "adamw")
    """The optimizer."""
    scheduler: Node = _setting(..., "constant")
    """How the learning rate changes over the run."""
    trainer: TrainerSettings = _setting(..., "default")
    """How the run is carried out."""
    logger: dict[str, Node] = _setting({}, "wandb", expected="choices from conf/logger")
    """Where metrics go besides the run's directory."""
    callbacks: dict[str, Node] = _setting({}, "time_limit", expected="choices from conf/callbacks")
    """Lightning callbacks of one's own."""
    # Notes, and no settings: the command line that these come from, and what marks checkpoints.
    overrides: list[str] | None = None
    run_key: str | None = None

    def plain(self) -> dict[str, Any]:
        """The settings as they were given, under the names that people use, with the notes."""
        return self.model_dump(by_alias=True, mode="json", exclude_unset=True)

    def config(self) -> dict[str, Any]:
        """The same without the notes."""
        return {k: v for k, v in self.plain().items() if k not in ("overrides", "run_key")}

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
        return self.batch_size * self.parts

    @property
    def parts(self) -> int:
        """Of a step's batch, over all processes."""
        return self.trainer.accumulate_grad_batches * self.processes

    @property
    def own_step_sizes(self) -> dict[str, int]:
        """The same of the tasks that have a batch size of their own."""
        own = {name: node.get("batch_size") for name, node in self.tasks.items()}
        return {name: size * self.parts for name, size in own.items() if isinstance(size, int)}

    @property
    def drawn(self) -> int | list[int | None] | None:
        """Examples that B stands for with the data at hand."""
        if isinstance(self.B, list):
            return [self._scaled(B) for B in self.B]
        return self._scaled(self.B)

    def _scaled(self, B: int | None) -> int | None:
        return None if B is None else max(1, round(B * self.B_scale))

    @property
    def freezes(self) -> list[list[str]]:
        """Θ' as patterns: one list, or one for each phase that freezes."""
        choices = self.freeze if isinstance(self.freeze, list) else [self.freeze]
        each = [choice if isinstance(choice, list) else [choice] for choice in choices]
        named = [isinstance(c, list) or c in self.freeze_sets for c in choices]
        if isinstance(self.freeze, list) and not all(named):
            if any(named):
                raise ConfigError(
                    f"freeze: expected patterns, or a choice for each phase (of "
                    f"{', '.join(self.freeze_sets)} and lists of patterns), found both in "
                    f"{self.freeze}; write for example freeze=[none,[encoder.embeddings.*]]"
                )
            return [[pattern for patterns in each for pattern in patterns]]
        if not all(named):
            raise ConfigError(
                f"freeze: expected {', '.join(self.freeze_sets)} or a list of parameter-name "
                f"patterns, found {self.freeze!r}; write for example freeze=[{self.freeze!r}]"
            )
        return [
            list(self.freeze_sets[choice]) if isinstance(choice, str) else choice
            for choice in choices
        ]

    @property
    def frozen(self) -> tuple[str, ...]:
        """All patterns of Θ', of whichever phase."""
        return tuple(pattern for patterns in self.freezes for pattern in patterns)


class Described(NamedTuple):
    """A setting as people read about it; a choice brings a group, and with it more settings."""

    key: str  # its dotted name on the command line
    group: bool
    default: Any
    sentence: str  # what it does
    expected: str  # the values that it takes, in words
    example: str  # KEY=VALUE, or two of them with " or " between
    only_with: str  # the choice without which it does not exist; empty for most
    named: bool  # its values have names of their own


def described(model: type[BaseModel] = Settings, place: str = "") -> Iterator[Described]:
    """Every setting that is declared here, in order."""
    for name, field in model.model_fields.items():
        if field.description is None:
            continue  # a note, and no setting
        key, nested = f"{place}.{field.alias or name}".lstrip("."), field.annotation
        below = nested if isinstance(nested, type) and issubclass(nested, BaseModel) else None
        group = below is not None or field.is_required() or name in ("logger", "callbacks")
        extra: Any = field.json_schema_extra
        in_general = f"a choice from conf/{key}" if group else in_words(nested, field.metadata)
        examples = str((field.examples or [""])[0]).split(" or ")
        yield Described(
            key,
            group,
            field.get_default(),
            " ".join(field.description.split()),
            extra["expected"] or in_general,
            " or ".join(e if re.match(r"\w+=", e) else f"{key}={e}" for e in examples),
            extra["only_with"],
            get_origin(nested) is dict,
        )
        if below:
            yield from described(below, key)


def settings_of(group: str) -> dict[str, Described]:
    """The settings that belong to a group itself, or with "" to none, by their own names."""
    split = ((setting.key.rpartition("."), setting) for setting in described())
    return {name: each for (of, _, name), each in split if of == group and not each.group}


def in_words(annotation: Any, checks: Sequence[Any] = ()) -> str:
    """A type and its range: "a whole number ≥ 1 or null"."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = (c.metadata if isinstance(c, FieldInfo) else [c] for c in parts[1:])
        return in_words(parts[0], [check for several in inner for check in several])
    if origin in (Union, UnionType, Literal):
        words = [p if isinstance(p, str) else in_words(p) for p in parts]
        *first, last = [word for several in words for word in several.split(" or ")]
        return f"{', '.join(first)} or {last}" if first else last
    simple = {
        bool: "true or false", str: "text", NoneType: "null", list: "a list", Sequence: "a list",
        dict: "{NAME: VALUE}", Mapping: "{NAME: VALUE}",
    }  # fmt: skip
    if (kind := origin or annotation) in simple:
        return f"a list of {in_words(parts[0])}" if simple[kind] == "a list" else simple[kind]
    kind = {int: "a whole number", float: "a number"}.get(annotation, "an object (_target_: ...)")
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(check, name):,}"
        for check in checks
        for name, sign in signs.items()
        if getattr(check, name, MOST) != MOST
    ]
    return f"{kind} {' and '.join(bounds)}".rstrip()


def unknown_setting(key: str, known: Sequence[str] = (), own: bool = False) -> str:
    """What to say of a setting that does not exist: its new name, or one that looks alike.

    It may be the object's ``own`` that its place names, which says so itself.
    """
    name = key.rpartition(".")[2].rstrip("_")
    if key in RENAMED:
        advice = f"write {RENAMED[key]}"
    elif name in known:  # the sampler's lambda_ is the run's lambda
        advice = f"write {name}"
    else:
        group = f"{key.rpartition('.')[0]}."
        beside = [each for each in known if each.startswith(group) and group != "."]
        close = difflib.get_close_matches(key, beside or known, n=1, cutoff=0.8 if beside else 0.6)
        advice = f"did you mean {close[0]}?" if close else "leave it out, or see --help"
        if beside and not close:
            advice = f"there are {', '.join(beside)}"
        if own:
            advice += f" Write +{key}=VALUE to add one that {key.rpartition('.')[0]} takes"
    return f"{shown(key)[1:-1]}: expected a known setting, found {shown(key)[1:-1]}; {advice}"


def explain(error: ValidationError, model: type[BaseModel] = Settings, place: str = "") -> str:
    """Say the first thing that is wrong, in the words of the setting's own declaration.

    ``model`` declares it, at a ``place`` among the settings.
    """
    first = error.errors()[0]
    path = [part for part in (place, *first["loc"]) if isinstance(part, str) and part]
    path = ".".join(path).split(".")
    if first["type"] == "extra_forbidden":
        return unknown_setting(".".join(path))
    settings = {setting.key: setting for setting in described(model, place)}
    # The place of an error may go on below the setting: into a list, or a type of several.
    places = (".".join(path[:length]) for length in range(len(path), 0, -1))
    setting = next(settings[key] for key in places if key in settings)
    found = "none" if first["type"] == "missing" else shown(first["input"])
    expected = setting.expected
    if first.get("ctx", {}).get("le") == MOST:
        expected += f" and ≤ {MOST:,}"
    below = ".".join(path) != setting.key and "[key]" not in path  # which is said of a name itself
    named = setting.named and below
    key = ".".join(path[: setting.key.count(".") + 2]) if named else setting.key
    return (
        f"{key}: expected {'its settings' if named else expected}, found {found}; write for "
        f"example {setting.example}"
    )


def shown(value: object) -> str:
    """A value that was found, as a message has it: what is long is cut."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-10:]}"
