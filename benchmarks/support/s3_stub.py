"""The least of an S3 server that every client in the benchmark can upload to: ``s3_stub.py LOG PORT``.

It keeps sizes and checksums, no bytes, so that it costs far less than the clients do; each peer meets the same one. It
verifies a CRC-64/NVME where a client sends one. It prints its port, and appends to LOG one JSON line a
request: operation, key, bytes, and monotonic times of its head's arrival and of its reply. Loopback only; no signature
is looked at.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script

from awscrt.checksums import crc64nvme

from tests.support.s3_http import Head, Operation, error_xml, operation_of, query_of, read_head

_READ = 1 << 18
_SUM = "x-amz-checksum-crc64nvme"
Reply = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Stored:
    """An object or a part: its size, ETag and CRC-64/NVME; user metadata as headers."""

    size: int
    etag: str
    crc: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Upload:
    """A multipart upload. Parts keep their bytes until it is completed: the whole's checksum is made from them."""

    key: str
    full: bool
    headers: Mapping[str, str]
    parts: dict[int, Stored] = field(default_factory=dict)


def _spelt(value: int) -> str:
    return base64.b64encode(value.to_bytes(8, "big")).decode()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, its body measured."""

    operation: Operation
    key: str
    number: int
    query: Mapping[str, str]
    fields: Mapping[str, str]
    body: Stored


class Refused(Exception):
    """The request is answered with this status and code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Stub:
    """The objects, and what is done with them."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._objects: dict[str, Stored] = {}
        self._uploads: dict[str, Upload] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All requests of one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (head := await read_head(reader)) is not None:
                await self._request(head, reader, writer)
        writer.close()

    async def _request(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        fields = head.fields
        operation, key, number = operation_of(head.method, head.target)
        query = query_of(head.target)
        if fields.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        keep = operation in (Operation.PART, Operation.COMPLETE)
        body = await _receive(reader, int(fields.get("content-length", 0)), fields, keep=keep)
        try:
            # The checksum that comes with a completion is the whole object's.
            if operation is not Operation.COMPLETE and fields.get(_SUM, body.crc) != body.crc:
                raise Refused(400, "BadDigest")
            status, headers, content = self._answer(Asked(operation, key, number, query, fields, body))
        except Refused as refused:
            status, headers, content = refused.status, {}, error_xml(refused.code)
        lines = [
            f"HTTP/1.1 {status} Stub",
            f"Date: {formatdate(usegmt=True)}",
            f"x-amz-request-id: {uuid.uuid4().hex[:16]}",
            *(f"{name}: {value}" for name, value in ({"Content-Length": str(len(content))} | headers).items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if head.method == "HEAD" else content))
        await writer.drain()
        line = {"op": operation, "key": key, "bytes": body.size, "status": status, "began": began}
        self._log.write(json.dumps({**line, "ended": time.monotonic()}) + "\n")
        self._log.flush()

    def _answer(self, asked: Asked) -> Reply:
        answers: dict[Operation, Callable[[Asked], Reply]] = {
            Operation.PUT: self._put,
            Operation.HEAD: self._head,
            Operation.CREATE: self._create,
            Operation.PART: self._part,
            Operation.LIST_PARTS: self._list_parts,
            Operation.COMPLETE: self._complete,
            Operation.ABORT: self._abort,
            Operation.LIST: lambda _: _xml("ListBucketResult", "<Name>bench</Name><KeyCount>0</KeyCount>"),
            Operation.LIST_UPLOADS: lambda _: _xml("ListMultipartUploadsResult", "<Bucket>bench</Bucket>"),
            Operation.BUCKET: lambda _: (200, {}, b""),
        }
        if asked.operation not in answers:
            raise Refused(501, "NotImplemented")
        return answers[asked.operation](asked)

    def _put(self, asked: Asked) -> Reply:
        self._refuse_existing(asked)
        self._objects[asked.key] = replace(asked.body, headers=_kept(asked.fields))
        return 200, _proof(asked.body), b""

    def _head(self, asked: Asked) -> Reply:
        if asked.key not in self._objects:
            raise Refused(404, "NoSuchKey")
        found = self._objects[asked.key]
        described = {"Content-Length": str(found.size), "Last-Modified": formatdate(usegmt=True)}
        return 200, {**described, **_proof(found), **found.headers}, b""

    def _create(self, asked: Asked) -> Reply:
        upload_id = uuid.uuid4().hex
        full = asked.fields.get("x-amz-checksum-algorithm", "").upper() == "CRC64NVME"
        self._uploads[upload_id] = Upload(asked.key, full, _kept(asked.fields))
        content = f"<Key>{escape(asked.key)}</Key><UploadId>{upload_id}</UploadId>"
        return _xml("InitiateMultipartUploadResult", content)

    def _part(self, asked: Asked) -> Reply:
        self._upload(asked).parts[asked.number] = asked.body
        return 200, _proof(asked.body), b""

    def _abort(self, asked: Asked) -> Reply:
        self._uploads.pop(asked.query["uploadId"], None)
        return 204, {}, b""

    def _refuse_existing(self, asked: Asked) -> None:
        if asked.fields.get("if-none-match") == "*" and asked.key in self._objects:
            raise Refused(412, "PreconditionFailed")

    def _upload(self, asked: Asked) -> Upload:
        upload = self._uploads.get(asked.query["uploadId"])
        if upload is None or upload.key != asked.key:
            raise Refused(404, "NoSuchUpload")
        return upload

    def _list_parts(self, asked: Asked) -> Reply:
        upload = self._upload(asked)
        found = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{part.etag}&quot;</ETag><Size>{part.size}</Size>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            + (f"<ChecksumCRC64NVME>{part.crc}</ChecksumCRC64NVME>" if part.crc else "")
            + "</Part>"
            for number, part in sorted(upload.parts.items())
        )
        which = f"<Bucket>bench</Bucket><Key>{escape(upload.key)}</Key><UploadId>{asked.query['uploadId']}</UploadId>"
        return _xml("ListPartsResult", f"{which}<IsTruncated>false</IsTruncated>{found}")

    def _complete(self, asked: Asked) -> Reply:
        upload = self._upload(asked)
        self._refuse_existing(asked)
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", asked.body.body)]
        if not numbers or any(number not in upload.parts for number in numbers):
            raise Refused(400, "InvalidPart")
        parts = [upload.parts[number] for number in numbers]
        digest, crc = hashlib.md5(usedforsecurity=False), 0
        for part in parts:
            digest.update(bytes.fromhex(part.etag))
            if upload.full:
                crc = crc64nvme(part.body, crc)
        checksum = _spelt(crc) if upload.full else ""
        if asked.fields.get(_SUM, checksum) != checksum:
            raise Refused(400, "BadDigest")
        etag = f"{digest.hexdigest()}-{len(parts)}"
        self._objects[asked.key] = Stored(sum(part.size for part in parts), etag, checksum, upload.headers)
        del self._uploads[asked.query["uploadId"]]
        proof = f"<ChecksumCRC64NVME>{checksum}</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>"
        content = f"<Key>{escape(asked.key)}</Key><ETag>&quot;{etag}&quot;</ETag>{proof if upload.full else ''}"
        return _xml("CompleteMultipartUploadResult", content)


async def _receive(reader: asyncio.StreamReader, left: int, fields: Mapping[str, str], *, keep: bool) -> Stored:
    """The body, measured; its bytes too with *keep*. Checksums the client sent are compared."""
    wants_crc = _SUM in fields or "CRC64NVME" in fields.get("x-amz-sdk-checksum-algorithm", "").upper()
    digest, crc, size, kept = hashlib.md5(usedforsecurity=False), 0, left, bytearray()
    while left:
        piece = await reader.read(min(left, _READ))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
        digest.update(piece)
        if wants_crc:
            crc = crc64nvme(piece, crc)
        if keep:
            kept += piece
    return Stored(size, digest.hexdigest(), _spelt(crc) if wants_crc else "", body=bytes(kept))


def _kept(fields: Mapping[str, str]) -> dict[str, str]:
    """The request's headers that are given back with the object."""
    return {name: value for name, value in fields.items() if name.startswith("x-amz-meta-") or name == "content-type"}


def _proof(found: Stored) -> dict[str, str]:
    extra = {_SUM: found.crc, "x-amz-checksum-type": "FULL_OBJECT"} if found.crc else {}
    return {"ETag": f'"{found.etag}"', **extra}


def _xml(name: str, content: str) -> Reply:
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{namespace}">{content}</{name}>'
    return 200, {"Content-Type": "application/xml"}, text.encode()


async def main(log: Path, port: int, host: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        server = await asyncio.start_server(Stub(file).serve, host, port, limit=_READ)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
