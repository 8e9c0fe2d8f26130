"""What can go wrong on the way to a store, to be injected into a proxy."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.s3_http import Operation


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset once *after* bytes of the body have been passed on."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class LoseReply:
    """The request is carried out, its reply swallowed, the connection reset."""


@dataclass(frozen=True, slots=True)
class FlipBit:
    """One bit of the body, in the byte at *at*, arrives flipped."""

    at: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The request is read and not passed on; an error of S3 is the answer."""

    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Portal:
    """The request is read and not passed on; a login page is the answer, as a captive portal gives to everything."""


@dataclass(frozen=True, slots=True)
class Blackhole:
    """The request is read to its end and never answered."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The request is passed on *seconds* late."""

    seconds: float


Fault = Reset | LoseReply | FlipBit | Answer | Portal | Blackhole | Delay

SLOW_DOWN = Answer(503, "SlowDown")
TOO_MANY = Answer(429, "TooManyRequests")
INTERNAL_ERROR = Answer(500, "InternalError")
SKEWED = Answer(403, "RequestTimeTooSkewed")
EXPIRED = Answer(400, "ExpiredToken")


@dataclass(slots=True)
class Injected:
    """A fault that waits for requests. ``done`` counts those it met; ``left`` is how many more, None without end."""

    fault: Fault
    operations: frozenset[Operation]
    key: str
    spare: int
    left: int | None
    done: int = 0

    def meets(self, operation: Operation, key: str) -> bool:
        return (not self.operations or operation in self.operations) and self.key in key and self.left != 0
