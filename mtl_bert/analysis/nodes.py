"""Settings in words."""

import json
from typing import Any


def node_words(value: Any) -> str:
    """A setting as people write it; a node is ``Class(key=value)``."""
    if isinstance(value, dict):
        settings = [f"{k}={node_words(v)}" for k, v in value.items() if not k.startswith("_")]
        name = str(value.get("_target_", "")).rpartition(".")[2]
        return f"{name}({', '.join(settings)})" if settings else name or "{}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
