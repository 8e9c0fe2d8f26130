"""A real moto server in a process of its own, on a free loopback port.

Run as a module it serves until it is ended, and prints its port first. Requests are handled one at a time, so that
conditional writes are as atomic as S3's: moto itself checks the condition and writes in two steps.
"""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

running: set[int] = set()
"""Process ids of the servers that are meant to be running now."""


@contextmanager
def moto_server() -> Iterator[str]:
    """The endpoint URL of a server that runs as long as the block lasts."""
    arguments = [sys.executable, "-W", "ignore", "-m", "tests.support.moto_server"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        running.add(process.pid)
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port.isdigit(), "the moto server did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()
            running.discard(process.pid)


def one_at_a_time(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """*app*, never entered by two requests at once; a request counts only when its body is there whole."""
    lock = threading.Lock()

    def serialised(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH")
        stream = environ["wsgi.input"]
        body = stream.read(int(length)) if length else stream.read() if environ.get("wsgi.input_terminated") else b""
        if length and len(body) < int(length):
            start_response("400 Incomplete Body", [("Content-Length", "0")])
            return [b""]
        environ["wsgi.input"] = io.BytesIO(body)
        if environ.get("HTTP_X_AMZ_TARGET") == "AmazonSQS.ReceiveMessage":  # a long poll would hold up everybody
            return app(environ, start_response)
        with lock:
            # The one time at which moto has every upload begin: years before, any sweep would take it for forgotten.
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z").encode()
            return [chunk.replace(b"2010-11-10T20:48:33.000Z", now) for chunk in app(environ, start_response)]

    return serialised


def know_what_is_gone() -> None:
    """Let moto say NoSuchUpload of every upload it does not know, as S3 does, instead of failing (5.2)."""
    from moto.s3.exceptions import NoSuchUpload
    from moto.s3.models import FakeBucket, MultipartDict

    class Multiparts(MultipartDict):
        def __missing__(self, upload_id: str) -> Any:
            raise NoSuchUpload(upload_id=upload_id)

    made = FakeBucket.__init__

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self.multiparts = Multiparts()

    FakeBucket.__init__ = make  # type: ignore[method-assign]


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    know_what_is_gone()
    app = one_at_a_time(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
