"""The terminal, for tables and coloured text: names that others have chosen stay plain text."""

from typing import Any

from rich.console import Console
from rich.text import Text

from mtl_bert.utils.errors import printable


class Screen(Console):
    """rich's console, but a string is neither markup nor an escape sequence.

    Colours are given by ``style=`` or as rich's ``Text``.
    """

    def render_str(self, text: str, **settings: Any) -> Text:
        """Every string comes through here: printed, in a cell, a heading or a title."""
        plain = {"highlight": False, "markup": False, "emoji": False}
        return super().render_str(printable(text), **(settings | plain))
