"""The terminal, for tables and coloured text: names that others have chosen stay plain text."""

from typing import Any

from rich.console import Console
from rich.text import Text

from mtl_bert.utils.errors import printable


class Screen(Console):
    """rich's console, but a string is neither markup nor an escape sequence.

    Colours are given by ``style=`` or as rich's ``Text``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"highlight": False, "markup": False, "emoji": False} | settings))

    def render_str(self, text: str, **settings: Any) -> Text:
        """Every string comes through here: printed, in a cell, a heading or a title."""
        return super().render_str(printable(text), **settings)
