"""Source URLs."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.errors import ConfigInvalid
from edge_agent.source_url import EXAMPLES, check_settings, check_source

SECRET = "hunter2xyz"


@pytest.mark.parametrize("url", EXAMPLES.values())
def test_every_example_is_taken(url: str) -> None:
    """What a message tells a person to write is right."""
    assert check_source(url).kind == url.partition(":")[0]


@pytest.mark.parametrize(
    ("url", "target", "options"),
    [
        ("v4l2:///dev/video0", "/dev/video0", {}),
        (
            "v4l2:///dev/v4l/by-id/cam?format=mjpeg&size=640x480",
            "/dev/v4l/by-id/cam",
            {"format": "mjpeg", "size": "640x480"},
        ),
        ("opencv://0", "0", {}),
        ("file:clip.mp4", "clip.mp4", {}),
        ("file:my%20clip%231.mp4?loop=3", "my clip#1.mp4", {"loop": "3"}),
        ("file:my clip.mp4", "my clip.mp4", {}),
        ("file:///data/clip.mp4?loop=true", "/data/clip.mp4", {"loop": "true"}),
        ("synthetic:", "", {}),
        ("synthetic:?seconds=2.5", "", {"seconds": "2.5"}),
        ("RTSP://cam/x", "RTSP://cam/x", {}),
        ("exec:gst-launch-1.0 -q a ! b?c#d ! fdsink", "gst-launch-1.0 -q a ! b?c#d ! fdsink", {}),
        ("EXEC:sh -c 'a | b'", "sh -c 'a | b'", {}),
    ],
)
def test_a_url_names_what_is_opened(url: str, target: str, options: dict[str, str]) -> None:
    """Target and options come out decoded."""
    source = check_source(url)
    assert (source.target, source.options) == (target, options)


def test_numbers_and_sizes_are_read() -> None:
    """Options have their types, or the default."""
    source = check_source("synthetic:?size=320x240&fps=12.5")
    assert source.size((1, 1)) == (320, 240)
    assert source.number("fps", 25) == 12.5
    assert check_source("synthetic:").size((640, 480)) == (640, 480)
    assert check_source("synthetic:").number("fps", 25) == 25


@pytest.mark.parametrize(
    "url",
    [
        "",
        "camera",
        "http://cam/x",
        "rtsp://",
        "rtsp:///stream",
        "rtsp://[::1/stream",
        "rtsp://cam:port/x",
        "rtsp://cam:99999/x",
        "rtsp://cam/a b",
        "rtsp://cam/a\nb",
        "rtsp://ca\u2100m/x",
        "v4l2:",
        "v4l2:///dev/video0?brightness=5",
        "v4l2:///dev/video0?format=",
        "opencv://front",
        "opencv://²",
        "opencv://-1",
        "opencv://0?size=big",
        "opencv://0?size=640",
        "opencv://0?size=²x²",
        "opencv://0?fps=0",
        "opencv://0?fps=nan",
        "file:",
        "file:clip.mp4#t=5",
        "file:clip.mp4?loop=²",
        "file:clip.mp4?loop=0",
        "file:clip.mp4?loop=maybe",
        "synthetic:?size=1x1",
        "synthetic:?size=99999x16",
        "synthetic:?seconds=-1",
        "synthetic:?password=x",
        "exec:",
        "exec:  ",
        "exec:''",
        "exec:tool 'x",
        "exec:tool\0x",
    ],
)
def test_what_cannot_be_opened_is_refused_in_one_line(url: str) -> None:
    """Each fault is named, with what to write instead, before any camera is tried."""
    with pytest.raises(ConfigInvalid) as caught:
        check_source(url)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("url", "transport", "audio", "keep_every", "says"),
    [
        ("v4l2:///dev/video0", "udp", False, 1, "transport: udp is for rtsp:// sources"),
        ("rtsps://cam/x", "udp", False, 1, "transport: udp is for rtsp:// sources"),
        ("v4l2:///dev/video0", "tcp", True, 1, "v4l2: sources have no sound"),
        ("file:clip.mp4", "tcp", True, 1, "file: sources have no sound"),
        ("opencv://0", "tcp", False, 2, "set encode.fps instead"),
        ("synthetic:", "tcp", False, 2, "set encode.fps instead"),
    ],
)
def test_settings_a_source_can_never_honour_are_refused(
    url: str, transport: str, audio: bool, keep_every: int, says: str
) -> None:
    """Before a camera is tried, and the same settings are taken where they mean something."""
    with pytest.raises(ConfigInvalid) as caught:
        check_settings(check_source(url), transport=transport, audio=audio, keep_every=keep_every)
    assert says in str(caught.value)
    check_settings(check_source(url), transport="tcp", audio=False, keep_every=1)
    check_settings(check_source("rtsp://cam/x"), transport=transport, audio=audio, keep_every=keep_every)


@given(st.text(max_size=60))
@example("rtsp://[")
@example("opencv://²")
@example("file:?loop=" + "9" * 5000)
def test_any_text_is_a_source_or_refused(text: str) -> None:
    """Nothing typed for a source ends in anything but a source or a refusal."""
    for prefix in ("", "rtsp://", "file:", "opencv://", "synthetic:?", "v4l2://", "exec:"):
        try:
            source = check_source(prefix + text)
        except ConfigInvalid:
            continue
        assert source.kind in EXAMPLES
        source.number("fps", 25)
        source.size((640, 480))


@given(
    st.sampled_from([*EXAMPLES, "http", "", "rtsp:"]),
    st.text(max_size=6),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), max_size=6),
    st.sampled_from(["", "cam", "ca\u2100m", "[::1", "cam:port", "cam:0", "cam/a b"]),
)
def test_no_refusal_and_no_repr_quotes_a_password(scheme: str, user: str, after: str, host: str) -> None:
    """However broken a URL is, its password stays out of what is shown."""
    url = f"{scheme}://{user}:{SECRET}{after}@{host}"
    try:
        shown = repr(check_source(url))
    except ConfigInvalid as error:
        shown = str(error)
    if not any(character.isspace() or not character.isprintable() for character in user):
        assert SECRET not in shown
