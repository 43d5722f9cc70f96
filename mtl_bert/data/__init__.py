"""Reading, checking, encoding and collating examples."""

from mtl_bert.data.corpus import Corpus, Source, load, load_rows
from mtl_bert.data.sources.delimited import Delimited
from mtl_bert.data.sources.hub_datasets import Hub
from mtl_bert.data.sources.synthetic import Synthetic
from mtl_bert.data.table import DataError, Table

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
