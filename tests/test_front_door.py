"""``import mtl_bert``: quick, typed, documented, and without what it does not need."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import mtl_bert

ROOT = Path(__file__).parents[1]
Run = Callable[..., str]

TORCH_S = (
    "torch", "torchgen", "functorch", "filelock", "typing_extensions", "sympy", "mpmath",
    "networkx", "jinja2", "markupsafe", "fsspec",
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program where these packages, the project and Python's own can be imported alone."""

    def program(code: str, *packages: str) -> str:
        for package in packages:
            for found in Path(torch.__file__).parents[1].glob(f"{package}*"):
                if found.name.partition(".")[0] in (package, f"{package}.py"):
                    (tmp_path / found.name).symlink_to(found)
        done = subprocess.run(
            [sys.executable, "-S", "-W", "ignore", "-c", "import sys\n" + code],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{ROOT}"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return program


def test_the_import_brings_nothing(run: Run) -> None:
    told = run(
        "import mtl_bert\n"
        "print(mtl_bert.__version__)\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'torch', 'numpy', 'hydra'}))"
    )
    assert told.splitlines() == [mtl_bert.__version__, "[]"]


def test_samplers_need_numpy_alone(run: Run) -> None:
    told = run(
        "from mtl_bert import ARRP\n"
        "from mtl_bert.sampling import Annealed, Vanilla\n"
        "plan = ARRP(batch_size=4, B=8)({'a': 100, 'b': 9}, 1, 3, 1)\n"
        "print([(phase.name, len(steps)) for phase, steps in plan.phases()])",
        "numpy",
    )
    assert told == "[('rr', 3), ('finetune', 2)]"


def test_surgery_needs_torch_alone(run: Run) -> None:
    told = run(
        "import torch\n"
        "from mtl_bert import PCGrad, Surgeon\n"
        "net = torch.nn.Linear(3, 2)\n"
        "surgeon, optimizer = Surgeon(net, PCGrad()), torch.optim.AdamW(net.parameters())\n"
        "with surgeon.step(optimizer):\n"
        "    for k, task in enumerate('ab'):\n"
        "        surgeon.backward(task, net(torch.ones(3))[k].square())\n"
        "print(surgeon.last.tasks, 'numpy' in sys.modules)",
        *TORCH_S,
    )
    assert told == "('a', 'b') False"


def test_the_loader_needs_both_and_no_more(run: Run) -> None:
    told = run(
        "from mtl_bert import PlanLoader, RoundRobin\n"
        "loader = PlanLoader({'a': [1.0, 2.0], 'b': [3.0]}, RoundRobin(2), epochs=1)\n"
        "print([sorted(step.batches) for step in loader])",
        "numpy",
        *TORCH_S,
    )
    assert told == "[['a', 'b']]"


def test_everything_public_is_there_and_says_what_it_is() -> None:
    assert mtl_bert.__version__ == version("mtl-bert")
    assert (Path(mtl_bert.__file__).parent / "py.typed").exists()
    assert set(mtl_bert.__all__) <= set(dir(mtl_bert))
    for name in set(mtl_bert.__all__) - {"__version__"}:
        thing = getattr(mtl_bert, name)
        assert len((inspect.getdoc(thing) or "").split()) >= 5, name
        if inspect.isclass(thing):
            for attribute, member in vars(thing).items():
                if not attribute.startswith("_") and callable(member):
                    assert inspect.getdoc(member), f"{name}.{attribute}"


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="'mtl_bert' has no attribute 'PCGard'"):
        mtl_bert.PCGard  # noqa: B018


def test_commands_do_not_hide_the_functions_of_their_names() -> None:
    import mtl_bert.plan
    import mtl_bert.train

    assert inspect.isfunction(mtl_bert.train)
    assert inspect.isfunction(mtl_bert.plan)
    assert inspect.ismodule(sys.modules["mtl_bert.train"])
