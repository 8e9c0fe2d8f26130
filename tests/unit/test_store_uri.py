"""How places are written and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.store.uri import Uri, split_uri


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("s3://bucket/a/b.jpg", Uri("s3", "bucket", "/a/b.jpg")),
        ("S3://bucket", Uri("s3", "bucket", "")),
        ("s3://bucket/a#1?x=2;y.jpg", Uri("s3", "bucket", "/a#1?x=2;y.jpg")),
        ("s3://[bad/x.jpg", Uri("s3", "[bad", "/x.jpg")),
        ("file:///data/a%20b.jpg", Uri("file", "", "/data/a%20b.jpg")),
        ("data/a#1.manifest", Uri("", "", "data/a#1.manifest")),
        ("c:data", Uri("", "", "c:data")),
        ("://x", Uri("", "", "://x")),
        ("", Uri("", "", "")),
    ],
)
def test_a_place_has_a_scheme_a_bucket_and_a_path(text: str, parts: Uri) -> None:
    """Keys and file names keep each of their letters, also those that mean something in a web address."""
    assert split_uri(text) == parts


@given(st.text())
def test_no_text_breaks_the_reading_of_places(text: str) -> None:
    """Whatever stands in a manifest has parts, and nothing of it is lost."""
    scheme, netloc, path = split_uri(text)
    assert (path == text) if not scheme else text[len(scheme) :] == f"://{netloc}{path}"
