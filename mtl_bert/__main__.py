"""All commands by one name: ``mtl-bert COMMAND``, or ``python -m mtl_bert COMMAND``.

What a command needs is imported when it runs, so that help and completion are there at once.
"""

import sys
from collections.abc import Sequence

import typer

from mtl_bert import cache, dashboard, evaluate, export, new_task, predict, report, sweep
from mtl_bert.plan import main as plan
from mtl_bert.train import main as train
from mtl_bert.utils import console

app = console.application(add_completion=True)


@app.callback(invoke_without_command=True)
def commands(context: typer.Context) -> None:
    """Fine-tune one encoder on several tasks of very unequal size."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("train", context_settings=console.UNREAD)
def _train(context: typer.Context) -> None:
    """Train a run, or with -m a sweep of them: KEY=VALUE settings."""
    train(context.args)


@app.command("plan", context_settings=console.UNREAD)
def _plan(context: typer.Context) -> None:
    """Show what each epoch would see, without training."""
    plan(context.args)


for module in (new_task, evaluate, predict, export, report):
    app.add_typer(module.app)
app.add_typer(sweep.app, name="sweep")
app.add_typer(cache.app, name="cache")
app.add_typer(dashboard.app)


def main(arguments: Sequence[str] | None = None, name: str = "mtl-bert") -> None:
    """Run the command."""
    if "" not in sys.path:  # as `python -m` does: settings may name modules of the user's own
        sys.path.append("")
    console.run(app, name, arguments)


if __name__ == "__main__":
    main(name="python -m mtl_bert")
