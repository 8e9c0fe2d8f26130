"""Secrets never reach a log, a status or a page: they are cut out here, in one place. Standard library only."""

from __future__ import annotations

import re

# scheme://user:password@ -- the password may hold anything but '/', '?', '#' and blanks, even '@' typed by hand.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^\s/?#:@]*):[^\s/?#]*@")
_QUERY = re.compile(
    r"(?i)(?P<key>[?&](?:[a-z-]*(?:password|passwd|pwd|secret|token|signature|credential|apikey|api_key)[a-z-]*|key|auth))"
    r"=[^&\s#]*"
)


def redact(text: str) -> str:
    """*text* with passwords in URLs and secret query parameters replaced by ``***``."""
    return _QUERY.sub(r"\g<key>=***", _USERINFO.sub(r"\g<scheme>\g<user>:***@", text))
