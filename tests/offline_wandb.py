"""Reading what W&B keeps on disk of a run, finished or not."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

Row = dict[str, Any]


def records_in(directory: Path) -> list[Record]:
    """Everything in the one offline run of a run's directory."""
    (file,) = directory.glob("wandb/offline-run-*/run-*.wandb")
    return list(_records(file))


def history_of(records: list[Record]) -> list[Row]:
    """The rows of metrics, in order."""
    return [_nested(record.history.item) for record in records if record.HasField("history")]


def summary_of(records: list[Record]) -> Row:
    """What the summary has come to."""
    summary: Row = {}
    for record in records:
        if record.HasField("summary"):
            assert not record.summary.remove
            summary |= _nested(record.summary.update)
    return summary


def config_of(records: list[Record]) -> Row:
    """The configuration that the run began with."""
    (started,) = (record.run for record in records if record.HasField("run"))
    config = {update.key: json.loads(update.value_json) for update in started.config.update}
    return {key: value for key, value in config.items() if key != "_wandb"}


def _nested(items: Any) -> Row:
    """Values by their keys; those of an image or table together."""
    row: Row = {}
    for item in items:
        first, *rest = item.nested_key or [item.key]
        value = json.loads(item.value_json)
        if rest:
            row.setdefault(first, {})[".".join(rest)] = value
        else:
            row[first] = value
    return row


def _records(path: Path) -> Iterator[Record]:
    """A W&B file is LevelDB's log format: blocks of 32 KiB, pieces with a header of 7 bytes.

    W&B's own reader is inside its service, and reads for uploading only. As it does, this stops at
    a piece that was cut off.
    """
    raw, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(raw):
        left = 32_768 - at % 32_768
        if left < 7:  # no room for a header: padding
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", raw, at)
        if at + 7 + length > len(raw):
            return
        record += raw[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(record)
            record = b""
