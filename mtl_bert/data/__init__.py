"""Reading, checking, encoding and collating examples.

Names are imported when they are asked for: the cache of tokens needs neither torch nor tasks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl_bert.data.corpus import Corpus, Source, load, load_rows
    from mtl_bert.data.sources.delimited import Delimited
    from mtl_bert.data.sources.hub_datasets import Hub
    from mtl_bert.data.sources.synthetic import Synthetic
    from mtl_bert.data.table import DataError, Table

_FILES = {
    "Corpus": "corpus",
    "DataError": "table",
    "Delimited": "sources.delimited",
    "Hub": "sources.hub_datasets",
    "Source": "corpus",
    "Synthetic": "sources.synthetic",
    "Table": "table",
    "load": "corpus",
    "load_rows": "corpus",
}

__all__ = [
    "Corpus",
    "DataError",
    "Delimited",
    "Hub",
    "Source",
    "Synthetic",
    "Table",
    "load",
    "load_rows",
]


def __getattr__(name: str) -> Any:
    """Import the file that defines a name."""
    if name in _FILES:
        return getattr(import_module(f"mtl_bert.data.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
