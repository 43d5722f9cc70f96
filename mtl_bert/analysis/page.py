"""A report, or a page beside it, as one file that needs nothing else: no script, no network."""

import itertools
from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined

from mtl_bert.analysis.document import Block, Document, Figure
from mtl_bert.analysis.figures.canvas import inline

TEMPLATE = "page.html.j2"


def page(document: Document) -> str:
    """The page; all texts are escaped."""
    environment = Environment(
        loader=PackageLoader("mtl_bert.analysis", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = itertools.count(1)

    def drawing(figure: Figure) -> str:
        """A figure's SVG, which matplotlib has made: the only markup that is not the template's."""
        return inline(figure, next(numbers))

    kind: Callable[[Block], str] = lambda block: type(block).__name__  # noqa: E731
    template = environment.get_template(TEMPLATE)
    return template.render(document=document, kind=kind, drawing=drawing) + "\n"
