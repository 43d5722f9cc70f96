"""JSON lines and Parquet, whose fields have names and types; a part is in memory at a time."""

import json
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mtl_bert.data.sources.records import Record
from mtl_bert.data.table import DataError
from mtl_bert.utils.errors import first_line

HEAD, ROWS = 100, 4096  # lines that say which fields there are; rows that are read at once


def json_lines(path: Path) -> tuple[list[str], Iterator[Record]]:
    """The names of the fields, and the records: an object in each line."""
    records = _objects(path)
    first = list(islice(records, HEAD))
    names = list(dict.fromkeys(name for record in first for name in record.fields))
    return names, chain(first, records)


def _objects(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            fault, found = "", None
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                fault = f"no JSON ({first_line(error)})"
            fields: Mapping[str, Any] = found if isinstance(found, dict) else {}
            fault = fault or ("" if isinstance(found, dict) else "no JSON object")
            yield Record(f"{path.name} line {number}", fields, fault)


def parquet(path: Path) -> tuple[list[str], Iterator[Record]]:
    """The names of the columns, and the records; DataError if the file is damaged."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(
            f"{path}: expected pyarrow to read Parquet with, found none installed; write "
            "pip install 'mtl-bert[hub]', or name a .csv or .jsonl file"
        ) from None
    try:
        file = ParquetFile(path)
    except (OSError, ValueError) as error:  # of which its own errors are
        raise DataError(
            f"{path}: expected a Parquet file, found something else ({first_line(error)}); name "
            "another file"
        ) from error
    rows = (row for part in file.iter_batches(ROWS) for row in part.to_pylist())
    names: list[str] = file.schema_arrow.names
    return names, (Record(f"{path.name} row {n}", fields) for n, fields in enumerate(rows))
