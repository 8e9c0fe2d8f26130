"""Segment names, class tags and sidecars: the contract between the box and the cloud. Standard library only."""

from __future__ import annotations

from edge_agent.segment.moments import format_moment, parse_moment, utc_milliseconds
from edge_agent.segment.names import (
    DEFAULT_FIELDS,
    MAX_STEM,
    MAX_VALUE,
    ClassTag,
    SegmentName,
    Take,
    check_camera,
    check_device,
    check_fields,
    check_name_length,
    parse_frame,
)
from edge_agent.segment.sidecar import Segment, video_key

__all__ = [
    "DEFAULT_FIELDS",
    "MAX_STEM",
    "MAX_VALUE",
    "ClassTag",
    "Segment",
    "SegmentName",
    "Take",
    "check_camera",
    "check_device",
    "check_fields",
    "check_name_length",
    "format_moment",
    "parse_frame",
    "parse_moment",
    "utc_milliseconds",
    "video_key",
]
