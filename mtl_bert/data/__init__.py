"""Reading, checking, encoding and collating examples.

Each name is imported when it is first asked for: most need torch, which takes seconds to import,
and listing the token cache needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl_bert.data.corpus import Corpus, load, load_rows
    from mtl_bert.data.sources.delimited import Delimited
    from mtl_bert.data.sources.hub_datasets import Hub
    from mtl_bert.data.sources.records import Source
    from mtl_bert.data.sources.synthetic import Synthetic
    from mtl_bert.data.table import DataError, Table

__all__ = ["Corpus", "DataError", "Delimited", "Hub", "Source", "Synthetic", "Table"]
__all__ += ["load", "load_rows"]

_HOMES = {
    "corpus": "Corpus load load_rows",
    "sources.delimited": "Delimited",
    "sources.hub_datasets": "Hub",
    "sources.records": "Source",
    "sources.synthetic": "Synthetic",
    "table": "DataError Table",
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
