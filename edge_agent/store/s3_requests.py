"""How a call asks S3 to verify what it is sent. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_agent.store.base import Checksum, Part
from edge_agent.store.checksum import ALGORITHM, MD5


def put_arguments(checksum: Checksum) -> dict[str, Any]:
    """For a put or a part: the server compares, and refuses with BadDigest what does not match."""
    if checksum.algorithm == MD5:
        return {"ContentMD5": checksum.value}
    return {"ChecksumAlgorithm": checksum.algorithm, f"Checksum{checksum.algorithm}": checksum.value}


def create_arguments(algorithm: str) -> dict[str, Any]:
    """For a new multipart upload. The type is named where it is not the default: older servers do not know the word."""
    if algorithm == MD5:
        return {}
    if algorithm == ALGORITHM:
        return {"ChecksumAlgorithm": algorithm, "ChecksumType": "FULL_OBJECT"}
    return {"ChecksumAlgorithm": algorithm}


def complete_arguments(algorithm: str, parts: Sequence[Part], whole: Checksum) -> dict[str, Any]:
    """For the completion of *parts*, which together are to have the checksum *whole*."""
    listed = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} | _checksum_of(part) for part in parts]
    arguments: dict[str, Any] = {"MultipartUpload": {"Parts": listed}}
    if algorithm == ALGORITHM:
        size = sum(part.size for part in parts)
        arguments |= {"ChecksumCRC64NVME": whole.value, "ChecksumType": "FULL_OBJECT", "MpuObjectSize": size}
    return arguments


def _checksum_of(part: Part) -> dict[str, str]:
    if part.checksum is None or part.checksum.algorithm == MD5:
        return {}
    return {f"Checksum{part.checksum.algorithm}": part.checksum.value}
