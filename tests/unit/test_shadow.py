"""What the shadow wants: hostile input read field by field, each subject obeyed once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.control.commands import (
    ClearClass,
    Desired,
    PauseUpload,
    SetBandwidth,
    SetClass,
    SetSampling,
    StartRecording,
    TagChoice,
    Tuning,
)
from edge_agent.control.reported import Camera, Upload, merge_patch, reported
from edge_agent.control.shadow import MAX_REFUSALS, Box, Decision, Handled, decide
from edge_agent.control.shadow_document import MAX_DOCUMENT, Document, parse_document, parse_message
from edge_agent.errors import EdgeCaptureError, EventInvalid
from edge_agent.segment import ClassTag

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIELDS = ("color", "object")
BLUE = {"color": "blue", "object": "crate"}
BOX = Box("dock7", FIELDS, ("cam1", "cam2"), lambda _, every: "cannot" if every == 7 else "")


def stamped(state: Any, at: float) -> Any:
    """The metadata of *state*, all of it written at *at*."""
    if isinstance(state, dict):
        return {key: stamped(value, at) for key, value in state.items()}
    return {"timestamp": at}


def decided(
    desired: Any, handled: Mapping[str, Handled] | None = None, at: float = 100.0, stamps: Any = None, **changes: Any
) -> Decision:
    document = Document(1, desired, {}, stamped(desired, at) if stamps is None else stamps)
    changes = {"changed_here": {}, "now": NOW, "clock_is_right": True, **changes}
    return decide(document, BOX, handled or {}, **changes)


def test_each_subject_becomes_its_command() -> None:
    """Class with its end, start, sampling, pause and bandwidth of one document are five orders."""
    until = "2026-11-22T18:30:00.000Z"
    found = decided(
        {
            "cameras": {"cam1": {"class": BLUE, "until": until, "recording": True, "sampling": {"keep_every": 5}}},
            "upload": {"paused": True, "bandwidth": "2M"},
        }
    )
    end = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
    assert found.orders == {
        "cameras.cam1.class": SetClass("cam1", ClassTag.of(BLUE, FIELDS), end),
        "cameras.cam1.recording": StartRecording("cam1"),
        "cameras.cam1.sampling": SetSampling("cam1", 5),
        "upload.paused": PauseUpload(),
        "upload.bandwidth": SetBandwidth(False, 2 << 20),
    }
    assert not found.refused
    assert found.handled.keys() == found.orders.keys()


def test_default_means_as_the_settings_say() -> None:
    """The word stands in place of null, which a shadow cannot hold."""
    found = decided(
        {
            "cameras": {"cam1": {"class": "default", "sampling": {"keep_every": "default"}}},
            "upload": {"bandwidth": "default"},
        }
    )
    assert list(found.orders.values()) == [ClearClass("cam1"), SetSampling("cam1", None), SetBandwidth(True)]


def test_an_order_is_obeyed_once_until_it_is_written_again() -> None:
    """The same document again orders nothing; the same value with a later stamp does; an older stamp never."""
    wanted = {"cameras": {"cam1": {"class": BLUE}}}
    first = decided(wanted)
    assert first.orders
    assert not decided(wanted, first.handled).orders
    assert decided(wanted, first.handled, at=200).orders
    other = {"cameras": {"cam1": {"class": {"color": "red", "object": "cup"}}}}
    assert not decided(other, first.handled, at=50).orders
    assert decided(other, first.handled, at=100).orders


def test_the_end_of_an_earlier_order_does_not_end_a_later_one() -> None:
    """``until`` written before the class belongs to the class before it; written after, it is the order's."""
    past = "2026-11-21T18:30:00.000Z"
    wanted = {"cameras": {"cam1": {"class": BLUE, "until": past}}}
    stamps = {"cameras": {"cam1": {"class": stamped(BLUE, 200), "until": {"timestamp": 100}}}}
    (order,) = decided(wanted, stamps=stamps).orders.values()
    assert order == SetClass("cam1", ClassTag.of(BLUE, FIELDS))
    assert "past" in decided(wanted).refused["cameras.cam1.class"]


@pytest.mark.parametrize(("later", "right", "obeyed"), [(10, True, False), (-10, True, True), (10, False, True)])
def test_the_last_writer_wins(later: float, right: bool, obeyed: bool) -> None:
    """A change made here later than the shadow's stands, unless nobody vouches for the clock that says so."""
    here = {"upload.paused": (datetime.fromtimestamp(1000 + later, UTC), "shell:tom")}
    found = decided({"upload": {"paused": True}}, at=1000, changed_here=here, clock_is_right=right)
    assert bool(found.orders) is obeyed
    assert ("shell:tom" in found.refused.get("upload.paused", "")) is not obeyed
    again = decided({"upload": {"paused": True}}, found.handled, at=1000, changed_here={})
    assert not again.orders
    assert again.refused == found.refused


def test_what_is_wrong_is_refused_and_what_is_right_beside_it_obeyed() -> None:
    """Unknown cameras and keys, wrong types, classes that are none, sampling that cannot be: each with its path."""
    found = decided(
        {
            "cameras": {
                "cam1": {"class": {"color": "No!", "object": "x"}, "recording": "on", "sampling": {"keep_every": 7}},
                "cam2": {"class": {"color": "blue"}, "extra": 1, "recording": True},
                "cam9": {"recording": True},
            },
            "upload": [],
            "secret": {},
        }
    )
    assert list(found.orders) == ["cameras.cam2.recording"]
    assert set(found.refused) == {
        *("cameras.cam1.class", "cameras.cam1.recording", "cameras.cam1.sampling"),
        *("cameras.cam2.class", "cameras.cam2.extra", "cameras.cam9", "upload", "secret"),
    }


def test_what_is_reported_of_refusals_is_bounded() -> None:
    """A document of thousands of faults makes a short report."""
    found = decided({"cameras": {f"no{number}" * 50: {} for number in range(1000)}})
    assert len(found.refused) == MAX_REFUSALS + 1
    assert len(json.dumps(found.refused)) < 8192


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("cameras", "cam1", "upload", "class", "until", "recording", "sampling", "keep_every", "paused"),
                    *("bandwidth", "color", "object", "timestamp", "desired", "state", "version", "metadata"),
                ]
            )
            | st.text(max_size=10),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)
SECTION = st.fixed_dictionaries({}, optional={"cameras": st.dictionaries(st.just("cam1"), JSON), "upload": JSON})


@given(JSON | SECTION, JSON)
def test_no_document_whatever_does_more_than_order_and_refuse(desired: Any, stamps: Any) -> None:
    """Any JSON as desired state, and as its metadata: orders, refusals of one bounded line, never an exception."""
    found = decided(desired, stamps=stamps)
    for path, reason in found.refused.items():
        assert "\n" not in path + reason
        assert len(path) + len(reason) <= 300
    json.dumps(found.refused).encode()
    again = decided(desired, found.handled, stamps=stamps)
    assert not again.orders


@given(st.binary(max_size=200) | JSON.map(lambda it: json.dumps(it).encode()))
def test_any_bytes_are_a_document_or_refused(payload: bytes) -> None:
    """Nothing but our own error comes of a message."""
    try:
        parse_document(parse_message(payload))
    except EdgeCaptureError as error:
        assert isinstance(error, EventInvalid)


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"[]", b"nul", b"\xff", b'{"a":NaN}'),
        *(b"[" * 60_000, b'{"v":' + b"9" * 5000 + b"}", b" " * (MAX_DOCUMENT + 1)),
    ],
)
def test_a_message_that_is_none_is_refused(payload: bytes) -> None:
    """Empty, torn, too deep, too large, no number, no text."""
    with pytest.raises(EventInvalid):
        parse_message(payload)


def test_half_a_character_is_refused() -> None:
    """A surrogate alone is valid JSON, and no text anywhere else."""
    with pytest.raises(EventInvalid):
        parse_message(b'{"cameras": {"\\ud800": {}}}')


def camera(status: Mapping[str, Any], choice: TagChoice | None) -> Camera:
    wanted = Desired(choice if choice and choice.set_at else None)
    return Camera({"state": "recording", "healthy": True, **status}, wanted, choice, 1)


def test_reported_says_what_is_recorded_not_what_was_asked() -> None:
    """Until its first segment the class before it stands; with a camera that is away nobody can say."""
    black = ClassTag.of({"color": "black", "object": "cup"}, FIELDS)
    choice = TagChoice(ClassTag.of(BLUE, FIELDS), "shadow", "2026-11-22T12:00:00.000Z")
    status = {"gate": "open", "wanted": "blue_crate", "wanted_at": choice.set_at, "segment": "s", "tag": "black_cup"}

    def told(status: Mapping[str, Any], choice: TagChoice | None) -> Any:
        upload = Upload(None, None, None)
        state = reported({"cam1": camera(status, choice)}, upload, Tuning(), {}, {}, "1")
        return state["cameras"]["cam1"]["class"]

    assert told(status, choice) == black.as_dict()
    assert told({**status, "tag": "blue_crate"}, choice) == BLUE
    assert told({"gate": None}, choice) is None
    at_rest = {"gate": "off", "wanted": "black_cup", "wanted_at": "", "segment": None, "tag": None}
    assert told(at_rest, TagChoice(black)) == "default"


def test_an_end_is_reported_as_it_was_written() -> None:
    """Another spelling of the same moment would leave a delta for ever."""
    until = NOW + timedelta(hours=1)
    choice = TagChoice(ClassTag.of(BLUE, FIELDS), "shadow", "2026-11-22T12:00:00.000Z", until)
    status = {"gate": "open", "wanted": "blue_crate", "wanted_at": choice.set_at, "segment": "s", "tag": "blue_crate"}
    handled = {"cameras.cam1.class": Handled(1, json.dumps([BLUE, "2026-11-22T14:00:00+01:00"]))}
    state = reported({"cam1": camera(status, choice)}, None, Tuning(), handled, {}, "1")
    assert state["cameras"]["cam1"]["until"] == "2026-11-22T14:00:00+01:00"


STATE = st.dictionaries(
    st.sampled_from("abc"),
    st.none() | st.booleans() | st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2)
    | st.dictionaries(st.sampled_from("xyz"), st.integers(0, 2) | st.none(), max_size=3),
    max_size=3,
)  # fmt: skip


def merged(state: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """What the shadow service makes of *patch*."""
    result = dict(state)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result


def solid(state: Any) -> Any:
    """*state* without what a shadow does not keep: nulls and empty objects."""
    if not isinstance(state, dict):
        return state
    kept = {key: solid(value) for key, value in state.items()}
    return {key: value for key, value in kept.items() if value is not None and value != {}}


@given(STATE, STATE)
def test_a_patch_makes_the_shadow_hold_the_new_state(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Whatever it held before; and once it holds it, nothing is sent."""
    held = merged(solid(old), merge_patch(solid(old), new))
    assert solid(held) == solid(new)
    assert merge_patch(new, new) == {}
