"""The V4L2 cameras that are plugged in, asked of the kernel; no picture is taken."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

# VIDIOC_QUERYCAP of linux/videodev2.h: _IOR('V', 0, struct v4l2_capability). The structure is driver, card and bus_info
# (16, 32 and 32 bytes), version, capabilities, device_caps and three reserved words.
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_QUERY = 2 << 30 | _CAPABILITY.size << 16 | ord("V") << 8 | 0
_HAS_DEVICE_CAPS = 0x80000000  # else `capabilities` are of this very node
_VIDEO_CAPTURE = 0x1  # of one plane: what libav's V4L2 input reads


@dataclass(frozen=True, slots=True)
class Device:
    """A camera: its *path*, one that stays the same whatever else is plugged in where there is one, and its name."""

    path: Path
    card: str

    @property
    def url(self) -> str:
        return f"v4l2://{quote(str(self.path))}"


def devices(dev: Path = Path("/dev")) -> list[Device]:
    """The cameras below *dev* that this user may look at, in the order of their numbers."""
    nodes = [path for path in dev.glob("video*") if re.fullmatch(r"video\d+", path.name)]
    links = {link.resolve(): link for link in sorted((dev / "v4l" / "by-id").glob("*"), reverse=True)}
    found = []
    for node in sorted(nodes, key=lambda path: int(path.name.removeprefix("video"))):
        card = camera_name(_ask(node))
        if card is not None:
            found.append(Device(links.get(node.resolve(), node), card))
    return found


def camera_name(capability: bytes) -> str | None:
    """What the camera calls itself, printable; None when *capability* is of no camera (a USB camera has such nodes).

    Pure.
    """
    if len(capability) != _CAPABILITY.size:
        return None
    _, card, _, _, capabilities, of_node = _CAPABILITY.unpack(capability)
    if not (of_node if capabilities & _HAS_DEVICE_CAPS else capabilities) & _VIDEO_CAPTURE:
        return None
    name = card.split(b"\0")[0].decode(errors="replace")
    return "".join(letter for letter in name if letter.isprintable()) or "camera"


def _ask(node: Path) -> bytes:
    """The kernel's answer for *node*; empty where there is none."""
    answer = bytearray(_CAPABILITY.size)
    try:
        descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        fcntl.ioctl(descriptor, _QUERY, answer)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return bytes(answer)
