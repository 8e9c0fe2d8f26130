"""Objects in parts: begun, sent part by part, looked up after a crash, completed on a condition, or given up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from edge_agent.errors import ObjectExists, PreconditionFailed, UploadGone
from edge_agent.store.base import Body, Checksum, ObjectInfo, Part, PendingUpload, check_metadata
from edge_agent.store.checksum import MD5
from edge_agent.store.s3_body import outgoing
from edge_agent.store.s3_client import is_key
from edge_agent.store.s3_errors import CONFLICT, code_of, translated
from edge_agent.store.s3_reader import S3Reader
from edge_agent.store.s3_replies import (
    OCTETS,
    Reply,
    checksum_in,
    date_in,
    etag_in,
    no_store,
    verify_complete,
    verify_put,
    version_in,
)
from edge_agent.store.s3_requests import complete_arguments, create_arguments, put_arguments


class S3Multipart(S3Reader):
    """The multipart methods of :class:`~edge_agent.store.base.ObjectStore` on a bucket."""

    def create_multipart(
        self, key: str, *, content_type: str = OCTETS, metadata: Mapping[str, str] | None = None
    ) -> str:
        where = self.uri(key)
        described = {"ContentType": content_type, "Metadata": check_metadata(metadata)}
        with translated(where):
            reply: Reply = self.client.create_multipart_upload(
                Bucket=self.bucket, Key=key, **(described | create_arguments(self.algorithm))
            )
        if not reply.get("UploadId") or reply.get("Key") != key:
            raise no_store(where)
        return str(reply["UploadId"])

    def upload_part(
        self, key: str, upload_id: str, number: int, body: Body, *, checksum: Checksum | None = None
    ) -> Part:
        where = self.uri(key)
        with outgoing(body, self.algorithm, checksum) as sent:
            with translated(where):
                reply: Reply = self.client.upload_part(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=sent.content,
                    **put_arguments(sent.checksum),
                )
            if "ETag" not in reply:
                raise no_store(where)
            stored = checksum_in(reply)
            verify_put(stored, sent.checksum, body, etag_in(reply), where)
        return Part(number, sent.size, etag_in(reply), stored)

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        """An upload begun under another ``checksum`` setting takes no more parts: it is given up, and gone."""
        where = self.uri(key)
        found: list[Part] = []
        following: dict[str, Any] = {}
        while True:
            with translated(where):
                page: Reply = self.client.list_parts(Bucket=self.bucket, Key=key, UploadId=upload_id, **following)
            if page.get("UploadId") != upload_id:
                raise no_store(where)
            if self.algorithm != MD5 and page.get("ChecksumAlgorithm", self.algorithm) != self.algorithm:
                self.abort_multipart(key, upload_id)
                raise UploadGone("the upload was begun with another kind of checksum", where=where)
            found += [
                Part(entry["PartNumber"], entry["Size"], etag_in(entry), checksum_in(entry))
                for entry in page.get("Parts", ())
            ]
            if not page.get("IsTruncated") or not page.get("NextPartNumberMarker"):
                return sorted(found, key=lambda part: part.number)
            following = {"PartNumberMarker": page["NextPartNumberMarker"]}

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], checksum: Checksum) -> ObjectInfo:
        where = self.uri(key)
        try:
            with translated(where):
                reply: Reply = self.client.complete_multipart_upload(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload_id,
                    IfNoneMatch="*",
                    **complete_arguments(self.algorithm, parts, checksum),
                )
        except PreconditionFailed as error:
            self._refused(key, upload_id, error)
        if "ETag" not in reply or reply.get("Key") != key:
            raise no_store(where)
        proof = checksum_in(reply) or self.head(key).checksum
        verify_complete(proof, self.algorithm, parts, checksum, etag_in(reply), where)
        return ObjectInfo(
            key=key,
            size=sum(part.size for part in parts),
            etag=etag_in(reply),
            modified=date_in(reply) or self.clock.now(),
            checksum=proof,
            version=version_in(reply),
        )

    def _refused(self, key: str, upload_id: str, error: PreconditionFailed) -> NoReturn:
        """What a completion that lost its condition, or was overtaken (409), means to the caller."""
        if code_of(error.__cause__) == CONFLICT and not self.exists(key):
            # S3: "On a 409 failure you should re-initiate the multipart upload and re-upload each part."
            self.abort_multipart(key, upload_id)
            raise UploadGone("overtaken by another writer, to be sent anew", where=self.uri(key)) from error
        raise ObjectExists("the object exists already", where=self.uri(key)) from error

    def abort_multipart(self, key: str, upload_id: str) -> None:
        where = self.uri(key)
        try:
            with translated(where):
                reply = self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except UploadGone:
            return
        if reply["ResponseMetadata"]["HTTPStatusCode"] != 204:
            raise no_store(where)

    def list_multiparts(self, prefix: str = "") -> Iterator[PendingUpload]:
        """Uploads to keys that no other store could take are not ours, and are passed over."""
        where = f"s3://{self.bucket}/{prefix}"
        following: dict[str, Any] = {}
        while True:
            with translated(where):
                page: Reply = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=prefix, **following)
            if "Bucket" not in page:
                raise no_store(where)
            for entry in page.get("Uploads", ()):
                if is_key(entry["Key"]):
                    yield PendingUpload(entry["Key"], entry["UploadId"], entry["Initiated"])
            if not page.get("IsTruncated") or not page.get("NextKeyMarker"):
                return
            following = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}
