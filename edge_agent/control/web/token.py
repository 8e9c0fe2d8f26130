"""The token that opens the page from elsewhere: one file, made once, read by the agent's user alone."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from edge_agent.durable import os_errors, write_durably

FILE_NAME = "web-token"
_BYTES = 24  # of randomness: nobody guesses 192 bits, however slowly or fast


class TokenFile:
    """The file in the state *directory*. A new token is in force at once. Methods raise SpoolError."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME

    def read(self) -> str:
        """The token; made when there is none."""
        with os_errors(self.path):
            try:
                return self.path.read_text(encoding="ascii").strip()
            except FileNotFoundError:
                return self.renew()

    def renew(self) -> str:
        """Another token from now on: every link and every browser that was let in is locked out."""
        token = secrets.token_urlsafe(_BYTES)
        with os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            before = os.umask(0o177)  # write_durably makes a new file
            try:
                write_durably(self.path, f"{token}\n".encode())
            finally:
                os.umask(before)
            owner = self.path.parent.stat()
            if os.geteuid() == 0:  # or the agent's own user could not read what root has made
                os.chown(self.path, owner.st_uid, owner.st_gid)
        return token


def session(token: str) -> str:
    """What a browser's cookie holds in place of *token*: valid as long as it, and of no use to make another. Pure."""
    return hmac.new(token.encode(), b"edge-agent session", hashlib.sha256).hexdigest()


def is_same(given: str, wanted: str) -> bool:
    """Whether they are equal, in a time that does not tell how nearly; an empty one equals nothing. Pure."""
    return bool(wanted) and hmac.compare_digest(
        hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest(), hashlib.sha256(wanted.encode()).digest()
    )
