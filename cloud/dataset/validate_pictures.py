"""Whether the pictures a manifest names are there, are pictures, and are what the service takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cloud.dataset.lines import Line
from cloud.dataset.pictures import AHEAD, THREADS, Header, Pictures
from cloud.dataset.validate_rules import Fault
from cloud.pipelining import pipelined
from edge_agent.errors import (
    ConfigInvalid,
    ContainerMissing,
    CredentialsRefused,
    KeyInvalid,
    ObjectNotFound,
    Scope,
    StoreError,
)
from edge_agent.store.s3_errors import code_of, translated

MAX_PICTURE = 40_000_000  # bytes, of a picture to be labelled


def check_pictures(lines: Iterable[Line], pictures: Pictures) -> Iterator[tuple[Line, list[Fault]]]:
    """What is wrong with the picture of each line. Raises what keeps the whole store from being read."""
    return pipelined(lines, lambda line: look(line, pictures), workers=THREADS, ahead=AHEAD)


def look(line: Line, pictures: Pictures) -> list[Fault]:
    """What is wrong with the picture of *line*, of which one request tells."""
    try:
        header = pictures.header(line.source)
    except (ObjectNotFound, ContainerMissing) as error:
        what = f"its picture ({error.where}): {error.what}"
        return [("missing_picture", what, error.fix or "put it there, or take the line out")]
    except (StoreError, ConfigInvalid, KeyInvalid) as error:
        if error.scope is Scope.LINK:
            raise
        return [("broken_picture", f"its picture ({error.where}): {error.what}", error.fix)]
    return list(header_faults(line, header))


def header_faults(line: Line, header: Header) -> Iterator[Fault]:
    """What *header* says against the picture of *line*. Pure."""
    if header.size > MAX_PICTURE:
        what = f"its picture has {header.size:,} bytes of {MAX_PICTURE:,} allowed"
        yield "picture_too_large", what, "store it smaller"
    suffix = line.source.rpartition(".")[2].lower()
    if (header.kind == "png") != (suffix == "png") and suffix in ("png", "jpg", "jpeg"):
        yield "wrong_type", f"its picture is named .{suffix} and is {header.kind.upper()}", "rename it, or convert it"
    for name, width, height in _told_sizes(line):
        if (width, height) != (header.width, header.height):
            what = f"{name!a} says {width}x{height}, its picture has {header.width}x{header.height}"
            yield "wrong_size", what, "the boxes are of another picture: scale them, or put that picture back"


def _told_sizes(line: Line) -> Iterator[tuple[str, object, object]]:
    """What labels say of the size of their picture: ``{"image_size": [{"width": …, "height": …}]}``."""
    for name, value in line.fields.items():
        sizes = value.get("image_size") if isinstance(value, dict) else None
        if isinstance(sizes, list) and sizes and isinstance(sizes[0], dict):
            yield name, sizes[0].get("width"), sizes[0].get("height")


def region_of(pictures: Pictures, bucket: str) -> str | None:
    """The AWS region of *bucket*; None when it does not say."""
    where = f"s3://{bucket}"
    try:
        with translated(where):
            reply = pictures.store(bucket).client.head_bucket(Bucket=bucket)
    except (StoreError, ConfigInvalid):
        return None  # the pictures in it will tell what is wrong
    return reply.get("BucketRegion") or None


def lacks_cors(pictures: Pictures, bucket: str) -> bool:
    """Whether *bucket* does not let a labelling page load its pictures; False where it does not say."""
    where = f"s3://{bucket}"
    try:
        with translated(where):
            rules = pictures.store(bucket).client.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except (ConfigInvalid, CredentialsRefused):  # of a name that is no bucket's, its lines tell
        return False
    except StoreError as error:
        return code_of(error.__cause__) == "NoSuchCORSConfiguration"
    return not any("GET" in rule["AllowedMethods"] for rule in rules)
