"""What an encoder's model card says of the data that it was trained on."""

import logging
from pathlib import Path

from huggingface_hub import ModelCard, constants, try_to_load_from_cache

from mtl_bert.utils.hub import HubError, require_hub

log = logging.getLogger(__name__)


def data_sets_of(path: str) -> list[str]:
    """The data sets that the card of an encoder names; none where no card can be read.

    Args:
        path: a directory, whose card is the ``README.md`` in it, or a model's name on the hub.
    """
    try:
        text = _text(path)
        if not text.lstrip().startswith("---"):  # no metadata, of which the library would warn
            return []
        named = getattr(ModelCard(text).data, "datasets", None) or []
    except Exception as error:
        # Cards are written by hand, and their readers have no error in common.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.info("%s: no model card that says what the encoder was trained on (%s)", path, first)
        return []
    return [str(name) for name in (named if isinstance(named, list) else [named])]


def _text(path: str) -> str:
    """The card's text; the hub is asked only for what is neither a directory nor in the cache."""
    if Path(path).is_dir():
        card = Path(path) / constants.REPOCARD_NAME
        return card.read_text("utf-8-sig") if card.is_file() else ""
    cached = try_to_load_from_cache(path, constants.REPOCARD_NAME)
    if isinstance(cached, str):
        return Path(cached).read_text("utf-8-sig")
    try:
        require_hub(f"model card of {path}", "nothing depends on it")
    except HubError:
        return ""
    return str(ModelCard.load(path))
