"""Checksums of bodies, of slices of files, and of objects in parts."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime
from hashlib import md5, sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import IntegrityMismatch
from edge_agent.store.base import BLOCK, Checksum, FileSlice, ObjectInfo, Part
from edge_agent.store.checksum import (
    checksums,
    chunks_of,
    composite,
    crc64nvme,
    etag_of_parts,
    hex_of,
    is_object,
    is_part,
    paced_chunks,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_the_checksum_is_the_published_one() -> None:
    """The CRC-64/NVME of the standard's own example is the standard's own value."""
    assert b64decode(crc64nvme(b"123456789").value).hex() == "ae8b14860a799888"


@given(st.binary(max_size=2000), st.data())
def test_a_slice_has_the_checksum_of_its_bytes(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    """A slice of a file is its bytes from offset to offset plus size, to every kind of checksum."""
    path = tmp_path / "video"
    path.write_bytes(content)
    offset = data.draw(st.integers(0, len(content)))
    size = data.draw(st.integers(0, len(content) - offset))
    body = content[offset : offset + size]
    assert b"".join(chunks_of(FileSlice(path, offset, size))) == body
    found = checksums(chunks_of(FileSlice(path, offset, size)), "CRC64NVME", "SHA256", "MD5")
    digest = md5(body, usedforsecurity=False)
    assert [each.value for each in found] == [
        crc64nvme(body).value,
        b64encode(sha256(body).digest()).decode(),
        b64encode(digest.digest()).decode(),
    ]
    assert hex_of(found[2]) == digest.hexdigest()


def test_pacing_hears_every_step_before_it(tmp_path: Path) -> None:
    """A paced slice comes in steps of at most 64 KiB, each told before it is handed out."""
    path = tmp_path / "video"
    path.write_bytes(bytes(150_000))
    told: list[int] = []
    for chunk in paced_chunks(FileSlice(path, 0, 150_000, told.append)):
        assert len(chunk) == told[-1]
    assert told == [BLOCK, BLOCK, 150_000 - 2 * BLOCK]
    with pytest.raises(IntegrityMismatch, match="shorter"):
        list(paced_chunks(FileSlice(path, 0, 150_001, told.append)))


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6))
def test_parts_together_are_as_s3_documents_it(bodies: list[bytes]) -> None:
    """The SHA-256 and the ETag of an object in parts are those over its parts' digests, with their number."""
    digests = [sha256(body).digest() for body in bodies]
    etags = [md5(body, usedforsecurity=False) for body in bodies]
    parts = [
        Part(number, len(body), etag.hexdigest(), Checksum("SHA256", b64encode(digest).decode()))
        for number, (body, digest, etag) in enumerate(zip(bodies, digests, etags, strict=True), 1)
    ]
    assert all(is_part(part, body) for part, body in zip(parts, bodies, strict=True))
    together = composite(parts)
    assert together is not None
    assert together.value == f"{b64encode(sha256(b''.join(digests)).digest()).decode()}-{len(parts)}"
    joined = b"".join(etag.digest() for etag in etags)
    assert etag_of_parts(parts) == f"{md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


@pytest.mark.parametrize(
    ("etag", "checksum", "part_size", "expected"),
    [
        ("opaque", crc64nvme(b"abcde"), None, True),
        ("opaque", crc64nvme(b"other"), None, False),
        ("opaque", checksums([b"abcde"], "SHA256")[0], None, True),
        ("opaque", checksums([b"other"], "SHA256")[0], None, False),
        ("opaque", None, None, None),
        (md5(b"abcde", usedforsecurity=False).hexdigest(), None, None, True),
        (md5(b"other", usedforsecurity=False).hexdigest(), None, None, None),
        ("e-2", Checksum("SHA256", "x-2"), 3, None),
        ("e-9", None, 3, None),
        ("e-2", None, None, None),
    ],
)
def test_an_object_is_told_only_by_what_can_tell(
    tmp_path: Path, etag: str, checksum: Checksum | None, part_size: int | None, expected: bool | None
) -> None:
    """Equal by a checksum or MD5 is yes, another checksum of the whole is no; all else is for its bytes to say."""
    path = tmp_path / "video"
    path.write_bytes(b"abcde")
    info = ObjectInfo("a", 5, etag, NOW, checksum=checksum)
    assert is_object(info, path, crc64nvme(path), part_size) is expected


def test_an_object_of_another_size_is_another(tmp_path: Path) -> None:
    """No ETag and no part size can make an object of another size the file."""
    path = tmp_path / "video"
    path.write_bytes(b"abcde")
    assert is_object(ObjectInfo("a", 6, "e-2", NOW), path, crc64nvme(path), None) is False
