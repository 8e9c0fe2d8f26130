"""An SQS queue, or anything that speaks its protocol, through boto3; its errors are errors of ours."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import edge_agent
from edge_agent.errors import ConfigInvalid, ContainerMissing, CredentialsRefused, ObjectNotFound, StoreError
from edge_agent.store.s3_errors import code_of, translated

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

MAX_BATCH = 10  # SQS: messages in one request
MAX_VISIBILITY = 12 * 3600  # SQS: seconds from the receipt on
_FALLBACK_REGION = "us-east-1"  # servers other than AWS sign with it unless told otherwise
_AWS_HOST = re.compile(r"sqs[.-](?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
# An expired receipt, or a message that was deleted or went to somebody else.
_NOT_OURS = frozenset(
    {
        "AWS.SimpleQueueService.MessageNotInflight",
        "InvalidParameterValue",
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
    }
)


@dataclass(frozen=True, slots=True)
class Letter:
    """A received message. ``receipt`` speaks for it until it is visible again; ``receives`` counts this receipt too."""

    id: str
    body: str
    receipt: str
    receives: int


class Queue:
    """The queue at *url*, at AWS or at the server the URL names. Nothing is contacted yet. Raises ConfigInvalid.

    Every method may raise ContainerMissing, CredentialsRefused, StoreUnreachable or StoreThrottled, and ConfigInvalid
    where boto3 cannot be set up. May be used by several threads.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.count("/") < 2:
            raise ConfigInvalid(
                "is no queue URL", where=url, fix="write https://sqs.<region>.amazonaws.com/<account>/<name>"
            )
        self.url = url
        aws = _AWS_HOST.fullmatch(parts.hostname)
        self._region = aws["region"] if aws else None
        self._endpoint_url = None if aws else f"{parts.scheme}://{parts.netloc}"
        self._lock = threading.Lock()
        self._client: SQSClient | None = None

    @classmethod
    def of_arn(cls, arn: str) -> Queue:
        """The queue that *arn* names, at AWS. Raises ConfigInvalid."""
        _, partition, _, region, account, name = arn.split(":", 5) if arn.count(":") >= 5 else ("",) * 6
        suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
        return cls(f"https://sqs.{region}.{suffix}/{account}/{name}" if name else arn)

    @property
    def client(self) -> SQSClient:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def close(self) -> None:
        """Let go of idle connections; the next call makes new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def receive(self, wait: int, visibility: int) -> Letter | None:
        """The next message, hidden from others for *visibility* seconds; None when none came within *wait* seconds."""
        with self._translated():
            reply = self.client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=1,
                WaitTimeSeconds=wait,
                VisibilityTimeout=visibility,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        for message in reply.get("Messages", ()):
            receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
            return Letter(message["MessageId"], message["Body"], message["ReceiptHandle"], receives)
        return None

    def hide(self, letter: Letter, seconds: int) -> None:
        """Keep *letter* from others for *seconds* from now; with 0 it is theirs. Raises ObjectNotFound: it was lost."""
        with self._translated():
            self.client.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=letter.receipt, VisibilityTimeout=seconds
            )

    def delete(self, letter: Letter) -> None:
        """Acknowledge *letter*. Raises ObjectNotFound: it was lost, and somebody else will do it again."""
        with self._translated():
            self.client.delete_message(QueueUrl=self.url, ReceiptHandle=letter.receipt)

    def send(self, bodies: Sequence[str]) -> dict[int, str]:
        """Send up to ten *bodies* in one request; the positions of those that the queue did not take, and why.

        Raises ConfigInvalid when the queue says that one of them is at fault: sending it again would not help.
        """
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(position), "MessageBody": body} for position, body in enumerate(bodies)
        ]
        with self._translated():
            reply = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
        failed = reply.get("Failed", [])
        for failure in failed:
            if failure["SenderFault"]:
                reason = failure.get("Message") or failure["Code"]
                raise ConfigInvalid(f"refuses a message: {reason}", where=self.url, fix="check the queue's settings")
        return {int(failure["Id"]): failure["Code"] for failure in failed}

    def _connect(self) -> SQSClient:
        with self._translated():
            import boto3
            from botocore.config import Config

            session = boto3.session.Session()
            region = self._region or session.region_name or _FALLBACK_REGION
            config = Config(
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "total_max_attempts": 3},
                user_agent_extra=f"edge-capture/{edge_agent.__version__}",
            )
            return session.client("sqs", region_name=region, endpoint_url=self._endpoint_url, config=config)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self.url):
                yield
        except CredentialsRefused:
            with self._lock:  # others may still be using the client; the next call makes one that reads its keys anew
                self._client = None
            raise
        except StoreError as error:
            code = code_of(error.__cause__).rpartition("#")[2]
            if code in _NO_QUEUE:
                raise ContainerMissing("no such queue", where=self.url, fix="create it, or correct its URL") from error
            if code in _NOT_OURS:
                raise ObjectNotFound("the message went to somebody else, or is done", where=self.url) from error
            raise
