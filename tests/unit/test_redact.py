"""Secrets are cut out in one place."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.redact import redact

SECRET = "hunter2xyz"

no_blanks = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=0, max_size=12)


@given(st.text("abcXYZ019._@-", max_size=8), no_blanks, no_blanks, st.sampled_from(["rtsp", "http", "RTSPS", "s3"]))
@example("admin", "/", "#?", "rtsp")
@example("me@example.org", "", "", "rtsp")
@example("admin", "a@b/", "//x:y@", "rtsp")
def test_a_password_in_a_url_never_survives(user: str, before: str, after: str, scheme: str) -> None:
    """Whatever a password is made of and whatever text stands around it, it is cut out."""
    text = f"cannot open {scheme}://{user}:{before}{SECRET}{after}@camera.local:554/stream?x=1 (refused)"
    cut = redact(text)
    assert SECRET not in cut
    assert "camera.local:554/stream" in cut
    assert cut.startswith("cannot open ")


@pytest.mark.parametrize(
    "text",
    [
        f"https://bucket/key?X-Amz-Signature={SECRET}&x=1",
        f"https://bucket/key?x=1&X-Amz-Security-Token={SECRET}",
        f"https://bucket/key?X-Amz-Credential={SECRET}",
        f"rtsp://cam/stream?user=admin&password={SECRET}",
        f"rtsp://cam/stream?user=admin&pass={SECRET}",
        f"rtsp://cam/stream?PWD={SECRET}",
        f"rtsp://cam/stream?api_key={SECRET}",
        f"rtsp://cam/stream?auth={SECRET}",
        f"rtsp://cam:554/user=admin&password={SECRET}&channel=1",
        f"rtsp://cam:554/user=admin_password={SECRET}_channel=1",
        f"//admin:{SECRET}@cam/x",
    ],
)
def test_secret_parameters_are_cut_out(text: str) -> None:
    """Logins in the query or the path, presigned signatures and tokens are cut out."""
    assert SECRET not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://camera.local:554/stream1",
        "rtsp://admin@camera.local:554/stream1",
        "file:clip.mp4?loop=true",
        "v4l2:///dev/video0",
        "s3://bucket/videos/dock7/2026/11/22/x.mp4",
        "10:31:05 user@host said: nothing",
        "",
    ],
)
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    """What holds no secret is shown whole."""
    assert redact(text) == text


@given(st.text())
def test_cutting_twice_changes_nothing(text: str) -> None:
    """Text that went through once may go through again."""
    assert redact(redact(text)) == redact(text)
