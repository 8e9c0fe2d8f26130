"""The class is changed again and again while a camera is recorded: every frame under exactly one class, none lost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.camera import Encoding
from edge_agent.control.commands import SetClass
from edge_agent.control.desired import DesiredState
from edge_agent.segment import ClassTag
from edge_agent.spool import Spool
from tests.support.capture import FIELDS, CaptureProcess, Recorded, capturing, job_for, recorded_in
from tests.support.clips import look, make_clip


def change_classes(capture: CaptureProcess, state: DesiredState, changes: int) -> list[str]:
    """Set a new class *changes* times, each as soon as the one before it is in force; the classes in order."""
    dice = random.Random(11)
    tags = ["yellow_box"]
    capture.wait_for("segment_opened")
    for number in range(changes):
        again = ClassTag(FIELDS, (dice.choice(["blue", "red"]), f"box{number}"))
        if dice.random() < 0.3:  # changed its mind before a keyframe came: either no segment bears it, or one does
            state.apply(SetClass("cam1", ClassTag(FIELDS, ("white", f"slip{number}"))), "shell:me", datetime.now(UTC))
        state.apply(SetClass("cam1", again), "shell:me", datetime.now(UTC))
        capture.wait_for_status(tag=str(again))
        tags.append(str(again))
    return tags


def recorded_under(capture: CaptureProcess, root: Path, wanted: list[str]) -> Recorded:
    """What was recorded, once the process has ended; every class that was in force has its segment."""
    assert capture.stop() == 0, capture.said()
    recorded = recorded_in(Spool(root / "spool"))
    tags = [str(segment.name.tag) for segment in recorded.segments]
    assert [tag for tag in tags if "slip" not in tag] == wanted
    assert all(segment.class_set_by == "shell:me" and segment.class_set_at for segment in recorded.segments[1:])
    return recorded


def test_class_change_storm(tmp_path: Path, storm: bool, account: Callable[..., None]) -> None:
    """Packets passed through as they come: the segments, end to end, are the source's packets, each just once."""
    changes = 100 if storm else 12
    clip = make_clip(tmp_path / "clip.mp4", frames=250, gop=5)
    source = look(clip).packets
    assert len(set(source)) == len(source)  # every frame tells by itself which one it is
    state = DesiredState(tmp_path / "state", FIELDS)
    with capturing(job_for(tmp_path, f"file:{clip}?loop=true", segment_seconds=3600.0)) as capture:
        wanted = change_classes(capture, state, changes)
        recorded = recorded_under(capture, tmp_path, wanted)
    count = len(recorded.packets)
    assert recorded.packets == [source[number % len(source)] for number in range(count)]
    assert sum(recorded.frames) == count
    account(f"{changes} changes, {count} frames passed through", "nothing", f"{len(recorded.segments)} segments")


def test_class_change_storm_while_encoding(tmp_path: Path, storm: bool, account: Callable[..., None]) -> None:
    """Pictures encoded here: each change forces one keyframe and no more, and the segments meet without a gap."""
    changes = 100 if storm else 12
    state = DesiredState(tmp_path / "state", FIELDS)
    job = job_for(tmp_path, "synthetic:?size=160x120&fps=25", encode=Encoding(gop=600), segment_seconds=3600.0)
    with capturing(job) as capture:
        wanted = change_classes(capture, state, changes)
        recorded = recorded_under(capture, tmp_path, wanted)
    segments = recorded.segments
    gaps = [
        (after.start - before.start).total_seconds() - before.duration for before, after in itertools.pairwise(segments)
    ]
    assert max(map(abs, gaps)) < 0.01  # a frame lasts 0.04 s
    assert [seen.pts[0] for seen in recorded.seen] == [0.0] * len(segments)
    frames = round((segments[-1].start - segments[0].start).total_seconds() * 25) + segments[-1].frames
    assert sum(recorded.frames) == frames
    keyframes = sum(len(seen.keyframes) for seen in recorded.seen)
    assert keyframes <= len(segments) + frames // 600 + 1
    account(
        f"{changes} changes, {frames} frames encoded", "nothing", f"{len(segments)} segments, {keyframes} keyframes"
    )
