"""Secrets never reach a log, a status or a page: they are cut out here, in one place. Standard library only."""

from __future__ import annotations

import re

# //user:password@ up to the last '@' before a blank: people type '/', '?', '#' and '@' into users and passwords. Better
# to cut too much of a path than too little of a password.
_USERINFO = re.compile(r"//(?P<user>[^\s:]*):\S*@")
# Some cameras take the login in the path: rtsp://host/user=admin_password=secret_channel=1.
_QUERY = re.compile(
    r"(?i)(?P<key>[?&;/_](?:[a-z_-]*(?:passw|pwd|secret|token|signature|credential|api_?key)[a-z_-]*|pass|key|auth))"
    r"=[^&\s#]*"
)
_LOGIN = re.compile(r"([^\s'\":/@]+):[^\s'\"@]+@")


def redact(text: str) -> str:
    """*text* with passwords in URLs and secret query parameters replaced by ``***``."""
    return _QUERY.sub(r"\g<key>=***", _USERINFO.sub(r"//\g<user>:***@", text))


def safe(text: str) -> str:
    """*text* without a password, even where a URL stands in the wrong place and has lost its ``//``."""
    return _LOGIN.sub(r"\1:***@", redact(text))
