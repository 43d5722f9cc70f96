"""See or empty the cache of encoded texts: ``mtl-bert cache``, ``mtl-bert cache clear``."""

from datetime import datetime
from functools import partial

import typer

from mtl_bert.utils import console

app = console.application()
main = partial(console.run, app, "python -m mtl_bert.cache")


@app.callback(
    invoke_without_command=True,
    epilog="\b\nExamples\n  mtl-bert cache\n  mtl-bert cache clear",
)
def cache(context: typer.Context) -> None:
    """List or remove the encoded texts that are kept for later runs.

    $MTL_BERT_CACHE says where they lie, trainer.cache_gib how much is kept at most.
    """
    if context.invoked_subcommand is not None:
        return
    from rich.table import Column, Table

    from mtl_bert.data.token_cache import Cache, directory
    from mtl_bert.utils.screen import Screen

    entries = Cache(directory(), 0).entries()
    print(f"{directory()}: {_summed([entry.size for entry in entries])}")
    rows, size = (Column(heading, justify="right") for heading in ("rows", "size"))
    table = Table("texts", rows, size, "last used")
    for entry in entries:
        about = entry.about or {"origin": f"{entry.path.name} (damaged)", "rows": ""}
        used = f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}"
        count = f"{about['rows']:,}" if entry.about else ""
        table.add_row(str(about["origin"]), count, _written(entry.size), used)
    if entries:
        Screen().print(table)


@app.command(cls=console.Command)
def clear() -> None:
    """Remove all of it; what runs have open stays theirs."""
    from mtl_bert.data.token_cache import Cache, directory

    print(f"{directory()}: removed {_summed([e.size for e in Cache(directory(), 0).clear()])}")


def _summed(sizes: list[int]) -> str:
    return f"{len(sizes):,} {'entry' if len(sizes) == 1 else 'entries'}, {_written(sum(sizes))}"


def _written(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


if __name__ == "__main__":
    main()
