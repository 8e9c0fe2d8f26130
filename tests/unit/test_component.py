"""Settings that come with a Greengrass deployment: the same schema, whatever the nucleus made of the scalars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.component import chosen, place
from edge_agent.config import Settings, load
from edge_agent.errors import ConfigInvalid
from tests.support.agent import ROOT

EVERYTHING: dict[str, Any] = {
    "device": "dock7",
    "fields": ["color", "object"],
    "spool": "/data/spool",
    "store": {"url": "s3://raw-bucket", "region": "eu-central-1", "checksum": "sha256"},
    "cameras": {
        "cam1": {
            "source": "rtsp://user:password@192.168.1.20/stream1",
            "class": {"color": "yellow", "object": "box"},
            "segment_seconds": 12.5,
            "stall_seconds": 10,
            "transport": "udp",
            "audio": True,
            "gate": {
                "mode": "motion",
                "schedule": ["mon-fri 08:00-18:00"],
                "sensitivity": 0.75,
                "pre_roll_bytes": 1 << 20,
                "ignore": [[0, 0, 1, 0.1]],
            },
            "health": {"check_seconds": 0, "frozen_seconds": 30},
        },
        "cam2": {"source": "v4l2:///dev/video0", "encode": {"fps": 10, "gop": 10, "quality": 20}, "audio": False},
    },
    "disk": {
        "quota": 20_000_000_000,
        "free": "1GiB",
        "when_full": "drop_oldest",
        "priorities": {"yellow_box": 1},
        "keep_uploaded": {"age": 604800, "size": "10GB"},
    },
    "upload": {
        "rescan_seconds": 15,
        "mode": "on_demand",
        "bandwidth": 2_000_000,
        "timetable": {"mon-fri 08:00-18:00": "512k", "sat-sun 00:00-24:00": 0},
    },
    "foreign": [{"path": "/data/drop", "class": {"color": "blue", "object": "crate"}, "settle_seconds": 5}],
    "control": {"telemetry_seconds": 30},
    "log": {"level": "debug"},
}


def _stringified(node: Any) -> Any:
    """As nucleus lite hands out what a YAML recipe gave it: every scalar as it was written."""
    match node:
        case dict():
            return {key: _stringified(value) for key, value in node.items()}
        case list():
            return [_stringified(value) for value in node]
        case bool():
            return str(node).lower()
    return str(node)


def test_strings_mean_what_they_spell(tmp_path: Path) -> None:
    """With every number and every yes or no made a string, the settings are the same."""
    place(EVERYTHING, tmp_path / "typed.yaml")
    place(_stringified(EVERYTHING), tmp_path / "strings.yaml")
    typed, strings = load(tmp_path / "typed.yaml"), load(tmp_path / "strings.yaml")
    assert strings == typed
    assert strings.cameras["cam1"].audio is True
    assert strings.disk.keep_uploaded.age == 604800


def test_the_shipped_settings_survive_being_strings() -> None:
    """The example file, too."""
    shipped = yaml.safe_load((ROOT / "config" / "edge-agent.yaml").read_text())
    assert Settings.model_validate(_stringified(shipped)) == Settings.model_validate(shipped)


@given(st.sampled_from(["maybe", "", "1.5x", "0x10", "null", "１０"]))
def test_strings_that_spell_nothing_are_refused(text: str) -> None:
    """A string is coerced only where it spells a value of the setting's own type."""
    cameras = {"cam1": {"source": "synthetic:", "audio": text}}
    with pytest.raises(ValueError, match=r"cameras\.cam1\.audio"):
        Settings.model_validate({"device": "d", "spool": "/s", "store": {"url": "/o"}, "cameras": cameras})


def test_what_the_deployment_holds_comes_before_the_file_of_the_box() -> None:
    """Agent wins over ConfigFile, whose default is always there."""
    assert chosen({"Agent": EVERYTHING, "ConfigFile": "/etc/x.yaml", "accessControl": {}}) == EVERYTHING
    assert chosen({"Agent": {}, "ConfigFile": "/etc/x.yaml"}) == Path("/etc/x.yaml")


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({}, "ConfigFile: is no absolute path; name a file, or give Agent"),
        ({"ConfigFile": "edge-agent.yaml"}, "ConfigFile: is no absolute path"),
        ({"Agent": "device: dock7"}, "Agent: is no object"),
        ({"agent": {"device": "dock7"}, "ConfigFile": "/etc/x.yaml"}, "agent: is unknown; Agent or ConfigFile"),
    ],
)
def test_a_configuration_that_says_nothing_is_refused(configuration: dict[str, Any], said: str) -> None:
    """What cannot be meant is told in one line, before anything is written."""
    with pytest.raises(ConfigInvalid) as caught:
        chosen(configuration)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_settings_in_force_stand_at_one_path(tmp_path: Path) -> None:
    """A file after a link after a file: each replaces the other, and neither is written through."""
    path, of_box = tmp_path / "work" / "edge-agent.yaml", tmp_path / "of-box.yaml"
    of_box.write_text(yaml.safe_dump({**EVERYTHING, "device": "dock8"}))
    before = of_box.read_bytes()
    devices = []
    for settings in (EVERYTHING, of_box, EVERYTHING, of_box):
        place(settings, path)
        devices.append(load(path).device)
    assert devices == ["dock7", "dock8", "dock7", "dock8"]
    assert of_box.read_bytes() == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]
