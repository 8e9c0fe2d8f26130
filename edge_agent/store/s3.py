"""Objects in a bucket of S3, or of anything that speaks its protocol, through boto3."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping

from edge_agent.errors import ObjectExists, ObjectNotFound, PreconditionFailed, StoreThrottled
from edge_agent.store.base import Body, Checksum, ObjectInfo, check_metadata
from edge_agent.store.checksum import MD5
from edge_agent.store.s3_body import outgoing
from edge_agent.store.s3_errors import CONFLICT, code_of, translated
from edge_agent.store.s3_multipart import S3Multipart
from edge_agent.store.s3_replies import (
    OCTETS,
    Reply,
    checksum_in,
    date_in,
    etag_in,
    no_store,
    verify_put,
    version_in,
)
from edge_agent.store.s3_requests import put_arguments

_CONFLICT_ATTEMPTS = 5
_CONFLICT_SECONDS = 0.1  # first of the doubling pauses, fully jittered


class S3Store(S3Multipart):
    """The :class:`~edge_agent.store.base.ObjectStore` on *bucket*. Nothing is contacted before the first call.

    A put counts only when the store's reply proves that it has our bytes: whatever answers 200 to anything, as the
    login page of a guest network does, stores nothing. A *body* file that cannot be read raises its own OSError.

    A put whose reply was lost is tried again by the library, and a condition then fails because of our own first try:
    ObjectExists and PreconditionFailed may stand for a success of which nobody heard. The caller looks and compares.
    """

    def put(
        self, key: str, body: Body, *, content_type: str = OCTETS, metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        return self._put(key, body, content_type, metadata, {})

    def put_if_absent(
        self,
        key: str,
        body: Body,
        *,
        content_type: str = OCTETS,
        metadata: Mapping[str, str] | None = None,
        checksum: Checksum | None = None,
    ) -> ObjectInfo:
        try:
            return self._put_if(key, body, content_type, metadata, {"IfNoneMatch": "*"}, checksum)
        except PreconditionFailed as error:
            if code_of(error.__cause__) == CONFLICT and not self.exists(key):
                raise StoreThrottled("overtaken by other writers again and again", where=self.uri(key)) from error
            raise ObjectExists("the object exists already", where=self.uri(key)) from error

    def put_if_match(
        self, key: str, body: Body, etag: str, *, content_type: str = OCTETS, metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        try:
            return self._put_if(key, body, content_type, metadata, {"IfMatch": f'"{etag}"'})
        except ObjectNotFound as error:
            raise PreconditionFailed("the object is gone", where=self.uri(key)) from error

    def delete(self, key: str) -> None:
        where = self.uri(key)
        with translated(where):
            reply = self.client.delete_object(Bucket=self.bucket, Key=key)
        if reply["ResponseMetadata"]["HTTPStatusCode"] != 204:
            raise no_store(where)

    def _put_if(
        self,
        key: str,
        body: Body,
        content_type: str,
        metadata: Mapping[str, str] | None,
        condition: dict[str, str],
        checksum: Checksum | None = None,
    ) -> ObjectInfo:
        """A conditional put, started anew when S3 says that another one overtook it."""
        for attempt in range(_CONFLICT_ATTEMPTS - 1):
            try:
                return self._put(key, body, content_type, metadata, condition, checksum)
            except PreconditionFailed as error:
                if code_of(error.__cause__) != CONFLICT:
                    raise
                self.clock.wait(threading.Event(), random.uniform(0, _CONFLICT_SECONDS * 2**attempt))
        return self._put(key, body, content_type, metadata, condition, checksum)

    def _put(
        self,
        key: str,
        body: Body,
        content_type: str,
        metadata: Mapping[str, str] | None,
        condition: dict[str, str],
        checksum: Checksum | None = None,
    ) -> ObjectInfo:
        where = self.uri(key)
        checked = check_metadata(metadata)
        with outgoing(body, self.algorithm, checksum) as sent:
            with translated(where):
                reply: Reply = self.client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=sent.content,
                    ContentType=content_type,
                    Metadata=checked,
                    **(put_arguments(sent.checksum) | condition),
                )
            if "ETag" not in reply:
                raise no_store(where)
            proof = checksum_in(reply)
            if proof is None and sent.checksum.algorithm != MD5:
                proof = self.head(key).checksum
            verify_put(proof, sent.checksum, body, etag_in(reply), where)
        return ObjectInfo(
            key=key,
            size=sent.size,
            etag=etag_in(reply),
            modified=date_in(reply) or self.clock.now(),
            content_type=content_type,
            metadata=checked,
            checksum=sent.checksum,
            version=version_in(reply),
        )
