"""The stores that are held to the contract: every adapter, and the S3 adapter at servers of two makes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from edge_agent.store import ObjectStore
from edge_agent.store.s3 import S3Store
from tests.support import localstack


@pytest.fixture(scope="session")
def localstack_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a LocalStack that all tests share: use names of your own in it."""
    if reason := localstack.missing():
        pytest.skip(reason)
    with localstack.localstack(tmp_path_factory.mktemp("localstack")) as url:
        yield url


@pytest.fixture
def localstack_store(localstack_endpoint: str, aws_environment: None) -> Iterator[S3Store]:
    """A store on a new, empty bucket of a server that verifies what it is sent."""
    store = S3Store(f"bucket-{uuid.uuid4().hex}", endpoint_url=localstack_endpoint, region="us-east-1")
    store.client.create_bucket(Bucket=store.name)
    yield store
    store.close()


@pytest.fixture(params=["directory", "s3", "localstack"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """An empty store of each kind in turn."""
    found: ObjectStore = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture(params=["directory", "localstack"])
def verifying_store(request: pytest.FixtureRequest) -> ObjectStore:
    """An empty store of each kind that compares checksums itself; moto does not."""
    found: ObjectStore = request.getfixturevalue(f"{request.param}_store")
    return found
