"""A wrong value ends in one line that says what to do, and leaves nothing behind."""

from pathlib import Path

import pytest
import torch

from tests.cli.driving import SMALL, Command, program, tree

WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")

# The overrides, and pieces of the message: what was expected, what was found, what to write.
WRONG = [
    ("sampler=rr lambda=0.3", "lambda: expected no value with sampler=rr|found lambda=0.3|leave"),
    ("sampler=full B=10", "B: expected no value with sampler=full|found B=10|leave B out"),
    ("sampler=rr freeze=all_but_head", "freeze: expected no value|found freeze=all_but_head|leave"),
    ("unknown=1", "expected a known setting|found unknown|see --help"),
    ("+unknown=1", "expected a known setting|found unknown|see --help"),
    ("+trainer.unknown=1", "expected a known setting|found trainer.unknown|see --help"),
    ("smapler=rr", "expected a known setting|found smapler|did you mean sampler?"),
    ("lamda=1", "expected a known setting|found lamda|did you mean lambda?"),
    ("data.path=x", "expected a known setting|found data.path|there are data.|data.dir"),
    ("trainer.precison=1", "expected a known setting|did you mean trainer.precision?"),
    ("trainer.clip=1", "expected a known setting|found trainer.clip|trainer.gradient_clip_val"),
    ("bucket=50", "bucket: expected a known setting, found bucket; write group_by_length"),
    ("scheduler.warmup=0.1", "expected a known setting|write scheduler.warmup_ratio"),
    ("+accumulate=2", "expected a known setting|write trainer.accumulate_grad_batches"),
    ("sampler=nope", "sampler: expected one of annealed, arrp|found 'nope'|see --help"),
    ("sampler=ar", "sampler: expected one of|found 'ar'|did you mean arrp?"),
    (
        "task=[sst,nope]",
        "task: expected one of cola, mnli, mrpc|found 'nope'|mtl-bert new-task FILE --name NAME",
    ),
    ("data.dir=x", "data.dir: expected no value|leave it out, or write data=cs224n, glue or files"),
    ("lambda=null", "lambda: expected a finite number ≥ 0|found None|lambda=0.5"),
    (
        "freeze=[nope]",
        "expected patterns of parameter names|found 'nope', which matches none|write",
    ),
    ("freeze=['*']", "expected something left to train|found all|write freeze=all_but_head"),
    ("data=nope", "data: expected one of cs224n, demo, files, glue, hub|found 'nope'|see --help"),
    ("model=/", "model: expected one of|found the place '/'|write model=local model.path=/"),
    ("data=/", "data: expected one of|found the place '/'|write data=files data.dir=/"),
    ("model=local", "model.path: expected the directory of a|found nothing|model.path=DIR"),
    (
        "model=local model.path=gone",
        "expected the directory|found no config.json in|gone|model.path=DIR",
    ),
    (
        "model.max_length=4096",
        "model.max_length: expected 5 to 128 tokens|found 4096|model.max_length=",
    ),
    ("+model.source.settings.nope=1", "expected settings of BertConfig|no setting nope|mend"),
    ("model.source.settings.hidden_size=a", "expected settings of|found|expected int|mend"),
    ("model.source.settings.num_attention_heads=5", "expected settings of|not a multiple|mend"),
    ("model.max_length=2", "model.max_length: expected 5 to 128 tokens|found 2|write"),
    ("sampler.B=3", "sampler.B: expected a known setting|found sampler.B|write B"),
    ("sampler.lambda_=3", "sampler.lambda_: expected a known setting|write lambda"),
    ("+sampler.B=3", "sampler.B: expected no value|the run's B|found 3|write B=3"),
    ("sampler._target_=nope", "sampler._target_: expected|imported|found nope|mend the file"),
    (
        "freeze=[encoder.*,heads.*]",
        "freeze: expected something left to train for|parameters frozen|write freeze=all_but_head",
    ),
    ("tasks.sts.score.low=1", "score: expected low < high|found low=1|write"),
    (
        "tasks.sst.head.names=[a,b]",
        "tasks.sst.metric: expected one that fits|for 5 classes, the head has 2|mend",
    ),
    ("tasks.sst.loss._target_=torch.nn.Nope", "can be imported|found torch.nn.Nope|mend"),
    (
        "tasks.sst.sources.demo.train=abc",
        "task sst: sources.demo.train: expected|a whole number|found 'abc'|mend",
    ),
    ("optimizer.nope=1", "expected a known setting|found optimizer.nope"),
    ("+optimizer.nope=1", "optimizer: expected settings that it takes|'nope'|mend optimizer"),
    ("optimizer.eps=-1", "optimizer: expected settings that it takes|epsilon value: -1|mend"),
    ("optimizer.betas=abc", "optimizer: expected settings that it takes|'str'|mend optimizer"),
    (
        "scheduler.warmup_ratio=3",
        "scheduler.warmup_ratio: expected a share|found 3|scheduler.warmup_ratio=0.1",
    ),
    (
        "scheduler.warmup_ratio=abc",
        "scheduler.warmup_ratio: expected a number|found 'abc'|leave it out",
    ),
    ("scheduler.name=greedy", "scheduler.name: expected one of linear|found 'greedy'|write"),
    ("+scheduler.nope=1", "scheduler: expected name and warmup_ratio|'nope'|leave it out"),
    ("surgery.scope=x", "surgery.scope: expected all or shared|found 'x'|surgery.scope=all"),
    (
        "surgery=pcgrad surgery.normalise=x",
        "surgery.normalise: expected none or loss|found 'x'|surgery.normalise=none",
    ),
    ("surgery=pcd", "surgery.method.main: expected the task that leads|found None|main=TASK"),
    (
        "surgery=pcd surgery.method.main=nope",
        "surgery.method.main: expected one of sst, sts|found 'nope'|surgery.method.main=sst",
    ),
    ("surgery=nope", "surgery: expected one of aligned_mtl|found 'nope'|did you mean none?"),
    ("sampler.lambda_on=x", "sampler.lambda_on: expected loss or update|found 'x'|write"),
    (
        "surgery=fixed +surgery.method.task_weights.nope=1",
        "task_weights: expected tasks of sst, sts|found 'nope'|task_weights={sst: 0.5}",
    ),
    ("+sampler.nope=1", "sampler: expected settings that|ARRP takes|'nope'|--cfg job"),
    ("sampler=full sampler.order=[sst]", "expected each of sst, sts once|found sst|write"),
    ("sampler=full sampler.order=5", "sampler.order: expected a list|found 5|write"),
    ("logger=nope", "logger: expected one of tensorboard, wandb|found 'nope'|see --help"),
    ("logger=wandb logger.wandb.mode=x", "logger.wandb.mode: expected auto|found 'x'|write"),
    ("freeze=nope", "freeze: expected none, all_but_head or a list|found 'nope'|write"),
    ("B==3", "B: expected a value in Hydra's grammar|found '=3'|write for example B=24000"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG, ids=[case[0] for case in WRONG])
def test_a_wrong_value(command: Command, tmp_path: Path, overrides: str, message: str) -> None:
    outcome = command("train", *SMALL, *overrides.split())
    refused(outcome.code, outcome.err, message)
    assert outcome.out == ""
    assert tree(tmp_path) == []


@WITHOUT_CUDA
def test_a_device_that_is_not_there(command: Command, tmp_path: Path) -> None:
    outcome = command("train", *SMALL, "trainer.accelerator=gpu")
    expected = "trainer: expected a device|found accelerator=gpu|write trainer.accelerator=auto"
    refused(outcome.code, outcome.err, expected)
    assert tree(tmp_path) == []


HEADER = "\tid\tsentence\tsentiment\n"
FILES = {
    "no file": (None, "expected a data file of task sst|found nothing|data.dir"),
    "empty": (b"", "expected a header line|found an empty file|name another file"),
    "header only": (HEADER.encode(), "expected rows for task sst|none that can be used|name"),
    "binary": (b"PK\x03\x04\x00\x00\xff", "expected text|found a zip archive|unpack it"),
    "column": (b"\tid\tsentiment\n0\ta\t1\n", "expected the columns|found '', 'id'|add sentence"),
    "labels": (f"{HEADER}0\ta\tfine\t9\n".encode(), "none that can be used|not one of 0 to 4|name"),
}


@pytest.mark.parametrize("case", FILES)
def test_data_that_cannot_be_used(
    command: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, case: str
) -> None:
    content, message = FILES[case]
    data = tmp_path_factory.mktemp("data")
    if content is not None:
        (data / "ids-sst-dev.csv").write_bytes(content)
    outcome = command("train", "task=[sst]", "data=cs224n", f"data.dir={data}")
    refused(outcome.code, outcome.err, message)
    assert str(data / "ids-sst-dev.csv") in outcome.err
    assert tree(tmp_path) == []


@pytest.mark.parametrize("given", [[], ["data.dir=gone"]])
def test_no_data(command: Command, tmp_path: Path, given: list[str]) -> None:
    outcome = command("train", "data=cs224n", *given)
    refused(outcome.code, outcome.err, "data.dir: expected|found nothing|write data.dir=DIR")
    assert tree(tmp_path) == []


def test_no_tasks(command: Command, tmp_path: Path) -> None:
    outcome = command("train", "task=[]")
    refused(outcome.code, outcome.err, "tasks: expected at least one task|found none|write")
    assert tree(tmp_path) == []


def test_a_setting_of_something_that_was_not_chosen(command: Command) -> None:
    outcome = command("train", "data=cs224n", "data.scale=0.5")
    refused(outcome.code, outcome.err, "data.scale: expected no value|not chosen|leave it out")


def test_tensorboard_that_is_not_installed(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtl_bert.tracking.loggers.find_spec", lambda name: None)
    outcome = command("train", *SMALL, "logger=tensorboard")
    refused(outcome.code, outcome.err, "expected the tensorboard package|found none|pip install")
    assert tree(tmp_path) == []


def test_a_directory_that_holds_a_run(command: Command, trained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    outcome = command("train", *SMALL, f"hydra.run.dir={trained}")
    refused(
        outcome.code,
        outcome.err,
        "B: expected 16, with which the run began|found|write hydra.run.dir=ANOTHER",
    )
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


@pytest.mark.parametrize("module", ["plan", "evaluate"])
def test_the_directory_that_one_works_in_stays(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    here = tmp_path / "empty" / "emptier"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    wrong = {"plan": ["sampler=rr", "lambda=0.3"], "evaluate": ["gone"]}
    assert command(module, *wrong[module]).code == 2
    assert here.is_dir()


def test_the_traceback_can_be_had(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="lambda: expected"):
        command("train", *SMALL, "lambda=-1")


def test_a_wrong_value_from_outside(tmp_path: Path) -> None:
    """What is said above of this process, of one that ends with it."""
    ended = program("train", *SMALL, "freeze=[nope]", "hydra.run.dir=a/b", cwd=tmp_path)
    refused(ended.code, ended.err, "expected patterns|found 'nope'|write")
    assert not [path for path in tree(tmp_path) if not path.startswith(".")]


def refused(code: object, err: str, message: str) -> None:
    """Check that a command ended in one line with these pieces, in this order."""
    assert code == 2
    assert "Traceback" not in err
    said = [line for line in err.splitlines() if not line.startswith("encoded ")]
    assert len(said) == 1, err
    at = 0
    for piece in message.split("|"):
        assert piece in said[0][at:], said[0]
        at = said[0].index(piece, at)
    assert len(said[0]) < 500
