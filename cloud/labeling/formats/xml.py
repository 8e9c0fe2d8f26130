"""XML of other tools, read without letting it expand entities or fetch anything, and text made fit for XML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import InvalidInput

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class XmlInvalid(InvalidInput):
    """The file is no XML, or XML with entities of its own, which could expand without end."""


def elements(path: Path, tag: str) -> Iterator[Element]:
    """Every element *tag* of the file *path*, whole, as it is read: memory does not grow with their number.

    *tag* ``*`` stands for the one root. Raises XmlInvalid.
    """
    from defusedxml.ElementTree import iterparse

    root: Element | None = None
    with _errors(path):
        for event, element in iterparse(str(path), events=("start", "end"), forbid_dtd=False):
            if event == "start":
                root = element if root is None else root
            elif element.tag == tag or (tag == "*" and element is root):
                yield element
                if root is not None and element is not root:
                    root.clear()


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException

    try:
        yield
    except ParseError as error:
        raise XmlInvalid(f"is no XML: {error}", where=str(path)) from error
    except DefusedXmlException as error:
        raise XmlInvalid("declares entities of its own, which is refused", where=str(path)) from error
    except OSError as error:
        raise XmlInvalid(f"cannot be read: {error.strerror}", where=str(path)) from error


def escaped(text: str) -> str:
    """*text* as the value of an attribute or the text of an element, with both quotes escaped.

    Control characters, which XML cannot hold at all, become ``�``; classes that have any are refused before.
    """
    from xml.sax.saxutils import escape

    kept = "".join(char if char in "\t\n\r" or (" " <= char < "\ud800") or char > "\udfff" else "�" for char in text)
    kept = kept.replace("￾", "�").replace("￿", "�")
    return escape(kept, {'"': "&quot;", "'": "&apos;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def child_text(element: Element, path: str) -> str:
    """The text at *path* below *element*, without outer blanks; "" when there is none."""
    return (element.findtext(path) or "").strip()
