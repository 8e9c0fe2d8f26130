"""The store: the way to it, who we are there, and whether it takes what this device sends, where it sends it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from edge_agent.credential_services import GREENGRASS_URL
from edge_agent.credentials import session_factory
from edge_agent.doctor.examination import Patient
from edge_agent.doctor.finding import Finding, ok
from edge_agent.doctor.network import NETWORK, network
from edge_agent.errors import IntegrityMismatch
from edge_agent.jobs import upload_job
from edge_agent.store import ObjectStore, open_store
from edge_agent.store.s3_errors import translated
from edge_agent.upload.job import UploadJob
from edge_agent.upload_process import link_url

if TYPE_CHECKING:
    import boto3

CREDENTIALS, WRITE = "credentials", "store write"
STORE = (NETWORK, CREDENTIALS, WRITE)
PROBE = ".doctor"
"""The probe's last name, below ``videos/<device>/``: no video's, so the cloud would pass it over were it ever there."""
_STS_SECONDS = 5


def examine_store(patient: Patient) -> Iterator[Finding]:
    """The way, the keys, a write; each only after the one before, since each fails for the cause of the one before."""
    job = upload_job(patient.settings)
    url = link_url(job)
    if url is None:
        yield ok(NETWORK, "a directory is on this machine")
        yield ok(CREDENTIALS, "a directory needs none")
        store = open_store(job.store)
    else:
        yield from network(url, patient.clock)
        make = session_factory(patient.clock, profile=job.profile, iot=job.iot)
        yield who_am_i(job, make())
        store = open_store(
            job.store, endpoint_url=job.endpoint_url, region=job.region, session=make, checksum=job.checksum
        )
    yield from write(store, job.device)


def who_am_i(job: UploadJob, session: boto3.session.Session) -> Finding:
    """Whose the keys of *session* are, which has some. Raises StoreError."""
    credentials = session.get_credentials()
    assert credentials is not None  # noqa: S101 - session_factory makes no session without
    where = f"role alias {job.iot.role_alias} of {job.iot.endpoint}" if job.iot else _chain(credentials.method)
    with translated(where):
        credentials.get_frozen_credentials()  # fetches them
    if job.endpoint_url:  # keys of a server of its own: AWS does not know them, and is not told of them
        return ok(CREDENTIALS, f"{where}; {job.endpoint_url} is asked by the write below")
    from botocore.config import Config

    config = Config(
        connect_timeout=_STS_SECONDS, read_timeout=_STS_SECONDS, retries={"mode": "standard", "total_max_attempts": 2}
    )
    with translated("sts:GetCallerIdentity"):
        client = session.client("sts", region_name=job.region or session.region_name or "us-east-1", config=config)
        with closing(client):
            identity = client.get_caller_identity()
    return ok(CREDENTIALS, f"{identity['Arn']}, by {where}")


def write(store: ObjectStore, device: str) -> Iterator[Finding]:
    """Begin an object where this device's videos go, send bytes, let the store prove them, and give it all up again.

    Nothing ever appears under a name: no event, no version, nothing to delete, for which a device has no right. It
    takes what the device's role has, s3:PutObject, s3:ListMultipartUploadParts and s3:AbortMultipartUpload.
    """
    key = f"videos/{device}/{PROBE}"
    body = uuid.uuid4().bytes * 64
    upload = store.create_multipart(key)
    try:
        sent = store.upload_part(key, upload, 1, body)
        if [part.size for part in store.list_parts(key, upload)] != [sent.size]:
            raise IntegrityMismatch("took a part and does not list it", where=store.uri(key), fix="check the server")
    finally:
        store.abort_multipart(key, upload)
    yield ok(WRITE, f"took and proved {len(body)} bytes below {store.uri(f'videos/{device}')}; nothing is left there")


def _chain(method: str) -> str:
    """boto3's word for where keys come from, as a person says it."""
    if GREENGRASS_URL in os.environ and method in ("greengrass", "container-role"):
        return "Greengrass's token exchange service"
    return {"env": "the environment", "shared-credentials-file": "the shared credentials file"}.get(method, method)
