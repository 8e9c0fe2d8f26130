"""From answers to a settings file, and from the kernel's answer to a camera."""

from __future__ import annotations

import struct
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import Settings, load
from edge_agent.errors import EdgeCaptureError
from edge_agent.init.answers import (
    Answers,
    check_store,
    check_url,
    device_of,
    lacks_password,
    parse_camera,
    parse_tag,
    settings_text,
    with_password,
)
from edge_agent.init.devices import Device, camera_name, devices
from edge_agent.init.flow import write_settings
from edge_agent.segment import check_device

ODD = st.text(max_size=40) | st.text("s3://file:.~ab_-{}'\"#\\&*!%@", max_size=20)
CAPABILITY = struct.Struct("16s32s32sIII12x")


@given(text=ODD)
def test_any_host_name_makes_a_device(text: str) -> None:
    """Whatever a machine is called, the name suggested for the box can be used."""
    check_device(device_of(text))


@given(store=ODD, camera=ODD, tag=ODD, region=st.none() | ODD)
def test_odd_answers_are_refused_or_stand_in_the_file_as_they_were_given(
    tmp_path: Path, store: str, camera: str, tag: str, region: str | None
) -> None:
    """Quotes, braces, comments, line ends: what is accepted comes back from the file unchanged."""
    path = tmp_path / "edge-agent.yaml"
    path.unlink(missing_ok=True)
    try:
        chosen = parse_tag(tag, "dock7")
        answers = Answers(
            "dock7", tmp_path, check_store(store), region, None, {"cam1": check_url(f"exec:{camera}")}, chosen
        )
        write_settings(path, settings_text(answers), force=False)
    except EdgeCaptureError:
        assert not path.exists()
        return
    settings = load(path)
    assert settings.store.url == store
    assert settings.store.region == (region or None)
    assert settings.cameras["cam1"].source.get_secret_value() == f"exec:{camera}"
    assert settings.tag_of("cam1") == chosen


@given(password=st.text(max_size=30))
def test_any_password_fits_into_its_url(password: str) -> None:
    """A password of any characters is encoded: the URL stays one that the agent takes, and gives it back."""
    if not password.isascii() and any("\ud800" <= letter <= "\udfff" for letter in password):
        return
    url = check_url(with_password("rtsp://bob@10.0.0.2:554/live?x=1", password))
    assert unquote(urlsplit(url).password or "") == password
    assert urlsplit(url).hostname == "10.0.0.2"


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("rtsp://bob@host/x", "bob"),
        ("rtsp://bob:pw@host/x", ""),
        ("rtsp://host/x", ""),
        ("v4l2:///dev/video0", ""),
        ("exec:cat rtsp://bob@host", ""),
    ],
)
def test_a_password_is_asked_for_only_where_a_user_has_none(url: str, user: str) -> None:
    """Only an RTSP URL with a user and no password lacks one."""
    assert lacks_password(url) == user


@pytest.mark.parametrize("text", ["cam1", "=rtsp://host/x", "cam-1=rtsp://host/x", "cam1=ftp://host/x", "cam1="])
def test_a_camera_that_cannot_be_is_refused(text: str) -> None:
    """No name, a name with a hyphen, no URL, an unknown kind: one line each."""
    with pytest.raises(EdgeCaptureError) as caught:
        parse_camera(text)
    assert "\n" not in str(caught.value)


def test_the_file_is_commented_and_holds_what_was_answered(tmp_path: Path) -> None:
    """Every section says what it is for, and the document is just the answers and the defaults that are shown."""
    tag = parse_tag("color=yellow object=box", "dock7")
    cameras = {"cam1": "rtsp://bob:p%40ss@host/x", "cam2": "v4l2:///dev/video0"}
    text = settings_text(
        Answers("dock7", tmp_path, "s3://bucket", "eu-central-1", "http://10.0.0.1:9000", cameras, tag)
    )
    assert sum(line.lstrip().startswith("#") for line in text.splitlines()) >= 10
    assert max(map(len, text.splitlines())) <= 120
    settings = Settings.model_validate(yaml.safe_load(text))
    assert (settings.device, settings.spool, settings.store.url) == ("dock7", tmp_path, "s3://bucket")
    assert (settings.store.region, settings.store.endpoint_url) == ("eu-central-1", "http://10.0.0.1:9000")
    assert {name: camera.source.get_secret_value() for name, camera in settings.cameras.items()} == cameras
    assert str(settings.tag_of("cam2")) == "yellow_box"
    assert settings.upload.bandwidth is None


@pytest.mark.parametrize(
    ("card", "capabilities", "of_node", "name"),
    [
        (b"HD Pro Webcam C920", 0x84A00001, 0x04200001, "HD Pro Webcam C920"),
        (b"HD Pro Webcam C920", 0x84A00001, 0x04A00000, None),  # the second node of a USB camera: metadata
        (b"old driver", 0x00000001, 0, "old driver"),
        (b"bcm2835-isp", 0x85200000, 0x04200002, None),  # an output
        (b"\x1b[31m\xff", 0x80000001, 0x00000001, "[31m\ufffd"),
        (b"", 0x80000001, 0x00000001, "camera"),
    ],
)
def test_cameras_are_told_from_other_nodes(card: bytes, capabilities: int, of_node: int, name: str | None) -> None:
    """What a node itself can do counts, not what its device can; and a name cannot drive the terminal."""
    answer = CAPABILITY.pack(b"uvcvideo", card, b"usb", 0, capabilities, of_node)
    assert camera_name(answer) == name
    assert camera_name(answer[:-1]) is None


def test_what_is_no_device_is_passed_over(tmp_path: Path) -> None:
    """Files that are only named like cameras, and ones that cannot be opened, are none."""
    for name in ("video0", "video1", "videos"):
        (tmp_path / name).write_bytes(b"x")
    assert devices(tmp_path) == []
    assert devices(tmp_path / "nowhere") == []


def test_a_cameras_url_leads_back_to_its_path() -> None:
    """Characters that mean something in a URL are encoded."""
    path = Path("/dev/v4l/by-id/usb-A#B?c d-video-index0")
    url = check_url(Device(path, "camera").url)
    assert unquote(urlsplit(url).path) == str(path)
