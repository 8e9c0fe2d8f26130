"""What a person answers, checked, and the settings file that comes of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import yaml

from edge_agent.errors import ConfigInvalid
from edge_agent.segment import DEFAULT_FIELDS, MAX_VALUE, ClassTag, check_camera, check_name_length
from edge_agent.source_url import EXAMPLES, check_source
from edge_agent.store import open_store

_TAG_HINT = "write " + " ".join(f"{field}=…" for field in DEFAULT_FIELDS) + ", as in color=yellow object=box"


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything the file needs. ``cameras``: name to URL, which may hold a password; ``repr`` leaves them out."""

    device: str
    spool: Path
    store: str
    region: str | None
    endpoint_url: str | None
    cameras: Mapping[str, str]
    tag: ClassTag | None

    def __repr__(self) -> str:
        return f"Answers({self.device})"


def device_of(host: str) -> str:
    """A device's name made of a host's."""
    return re.sub("[^A-Za-z0-9]+", "-", host)[:MAX_VALUE].strip("-") or "box1"


def check_store(url: str) -> str:
    """*url*, if a store can be opened there. Raises ConfigInvalid."""
    if not url.strip() or not url.isprintable():
        raise ConfigInvalid("names no store", fix="write s3://bucket or a directory")
    open_store(url)
    return url


def check_url(url: str) -> str:
    """*url*, if it is a camera's. Raises ConfigInvalid, without quoting a password."""
    if not url.isprintable():
        raise ConfigInvalid("source holds control characters", fix=f"write for example {EXAMPLES['rtsp']}")
    check_source(url)
    return url


def parse_camera(text: str) -> tuple[str, str]:
    """Name and URL in ``NAME=URL``. Raises InvalidInput."""
    name, mark, url = text.partition("=")
    if not mark:
        raise ConfigInvalid("names no camera", where="--camera", fix="write NAME=URL, as in cam1=rtsp://user@host/path")
    return check_camera(name), check_url(url)


def parse_tag(text: str, device: str) -> ClassTag | None:
    """The class in ``color=yellow object=box``; None where *text* is blank. Raises InvalidInput."""
    if not text.strip():
        return None
    pairs = [word.partition("=") for word in text.split()]
    values = {field: value for field, _, value in pairs}
    if len(values) < len(pairs) or not all(mark for _, mark, _ in pairs):
        raise ConfigInvalid("is no class", fix=_TAG_HINT)
    tag = ClassTag.of(values, DEFAULT_FIELDS)
    check_name_length(tag, device, "x" * 20)
    return tag


def lacks_password(url: str) -> str:
    """The user in *url*, of an RTSP camera, whose password does not stand there; "" where nothing is lacking."""
    if check_source(url).kind not in ("rtsp", "rtsps"):
        return ""
    parts = urlsplit(url)
    return "" if parts.password is not None else parts.username or ""


def with_password(url: str, password: str) -> str:
    """*url* with *password* for its user, whatever characters are in it."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def settings_text(answers: Answers) -> str:
    """The commented settings file."""
    store = [f"  url: {_yaml(answers.store)}"]
    store += [f"  region: {_yaml(answers.region)}"] if answers.region else []
    store += [f"  endpoint_url: {_yaml(answers.endpoint_url)}"] if answers.endpoint_url else []
    tag = f"    class: {_yaml(answers.tag.as_dict())}" if answers.tag else "    # class: {color: yellow, object: box}"
    cameras = "\n".join(
        f"  {_yaml(name)}:\n    source: {_yaml(url)}\n{tag}\n    segment_seconds: 60"
        for name, url in answers.cameras.items()
    )
    return _TEXT.format(
        device=_yaml(answers.device),
        fields=_yaml(list(DEFAULT_FIELDS)),
        spool=_yaml(str(answers.spool)),
        store="\n".join(store),
        cameras=cameras,
    )


def _yaml(value: object) -> str:
    """*value* as YAML on one line."""
    text: str = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**9)
    return text.strip()[1:-1]


_TEXT = """\
# Settings of this capture box, made by `edge-agent init`. After a change: edge-agent check-config
# A running agent takes changes over by itself. All there is: config/edge-agent.yaml and docs/operations.
# A camera's URL may hold a password: keep this file readable by its owner alone (chmod 600).

# Name of this box, in every segment's name.
device: {device}

# What a class is made of; the cloud side must use the same, in the same order.
fields: {fields}

# Where segments lie until they are uploaded: a disk with room for a day offline.
spool: {spool}

# Where uploaded segments go: s3://bucket, or a directory. Keys: docs/operations/credentials.md
store:
{store}

cameras:
  # source: docs/sources. class: until somebody sets another (edge-agent label cam1 color=blue object=crate); without
  # one nothing is recorded. segment_seconds: a segment ends at the first keyframe after that.
{cameras}

disk:
  # What stays free on the spool's disk. Uploaded copies are removed first; when footage that waits is all that is left,
  # recording pauses (pause), or the oldest is dropped unsent (drop_oldest): docs/operations/disk.md
  free: 1GiB
  when_full: pause

upload:
  # Bytes a second of all uploads together: 512k, 2M, 20Mbit; off is no limit. docs/operations/limits.md
  bandwidth: off

# The page on this box (docs/operations/page.md): what each camera sees, the class at a tap.
# For this box alone; with 0.0.0.0:8080 also for the network: then `edge-agent web-link` opens it.
web:
  listen: 127.0.0.1:8080
"""
