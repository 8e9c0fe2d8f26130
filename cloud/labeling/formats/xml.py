"""XML of other tools, read without letting it expand entities or fetch anything, and text made fit for XML."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import InvalidInput

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class XmlInvalid(InvalidInput):
    """The file is no XML, or XML with entities of its own, which could expand without end."""


_HEAD = 256  # bytes; the declaration stands first
_FIX = "save it as UTF-8"
_MULTIBYTE = frozenset(("big5", "cp932", "cp949", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "shift_jis"))
"""Encodings, by Python's names, that the parser does not know; label tools of East Asia declare them."""
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


def elements(path: Path, *tags: str) -> Iterator[Element]:
    """Every element of *tags* in the file *path*, whole, as it is read: memory holds one child of the root.

    Raises XmlInvalid.
    """
    root: Element | None = None
    depth = 0
    for event, element in _events(path):
        root = element if root is None else root
        depth += 1 if event == "start" else -1
        if event == "end":
            if element.tag in tags:
                yield element
            if depth == 1:
                root.clear()


def root_of(path: Path) -> Element:
    """The root of the file *path* with all that is in it. Raises XmlInvalid."""
    *_, (_, root) = _events(path)
    return root


def _events(path: Path) -> Iterator[tuple[str, Element]]:
    from xml.etree.ElementTree import TreeBuilder

    from defusedxml.ElementTree import DefusedXMLParser, iterparse

    with _errors(path), path.open("rb") as file:
        declared = _DECLARED.match(file.read(_HEAD))
        file.seek(0)
        name = codecs.lookup(declared[1].decode("ascii")).name if declared else "utf-8"
        if name in _MULTIBYTE:
            parser = DefusedXMLParser(target=TreeBuilder(), encoding="utf-8")
            yield from iterparse(codecs.EncodedFile(file, "utf-8", name), ("start", "end"), parser)
        else:
            yield from iterparse(file, ("start", "end"))


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
    except (LookupError, ValueError) as error:
        raise XmlInvalid(f"is in an encoding that cannot be read: {error}", where=str(path), fix=_FIX) from error
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
    """The text at *path* below *element*; "" when there is none. Line breaks at its ends are indentation, and go."""
    text = element.findtext(path) or ""
    return text.strip() if "\n" in text else text
