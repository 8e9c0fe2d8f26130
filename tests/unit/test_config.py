"""The settings file: taken whole or refused whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.config import Settings, load
from edge_agent.errors import ConfigInvalid
from edge_agent.jobs import upload_job

ROOT = Path(__file__).parents[2]
SECRET = "hunter2xyz"
GOOD = """\
device: dock7
spool: spool
store: {url: store}
cameras:
  cam1:
    source: synthetic:?fps=25
    class: {color: yellow, object: box}
"""


def refusal(path: Path, text: str | bytes) -> list[str]:
    """The lines that refuse *text*."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigInvalid) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert all(line.isprintable() and str(path) in line for line in lines)
    return [line.replace(str(path), "FILE") for line in lines]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edge-agent.yaml"


def load_text(file: Path, text: str) -> Settings:
    file.write_text(text)
    return load(file)


def test_the_shipped_settings_are_good() -> None:
    """The commented example in config/ loads as it is."""
    settings = load(ROOT / "config" / "edge-agent.yaml")
    assert settings.device == "dock7"
    tag = settings.tag_of("cam1")
    assert tag is not None
    assert tag.as_dict() == {"color": "yellow", "object": "box"}
    assert settings.state_directory == settings.spool / "state"


def test_every_setting_has_a_default_but_what_only_the_operator_knows(file: Path) -> None:
    """Device, spool, store and one camera are enough."""
    settings = load_text(file, GOOD)
    assert settings.cameras["cam1"].segment_seconds == 60
    assert settings.fields == ("color", "object")
    assert settings.upload.rescan_seconds == 30


def test_all_faults_are_named_at_once_with_their_paths(file: Path) -> None:
    """A person fixes a file in one go, not fault by fault."""
    faults = refusal(
        file,
        """
device: dock_7
colour: red
spool: [1]
store: {url: "ftp://host", region: 5}
fields: [color, source]
cameras:
  cam-1:
    source: rtsq://host
    segment_seconds: soon
    class: {color: 7}
  cam2: {stall_seconds: 0}
upload: {rescan_seconds: .inf}
log: {level: loud}
""",
    )
    for path in (
        "device",
        "colour",
        "spool",
        "store.url",
        "store.region",
        "fields",
        "cameras.cam-1",
        "cameras.cam-1.source",
        "cameras.cam-1.segment_seconds",
        "cameras.cam-1.class.color",
        "cameras.cam2.source",
        "cameras.cam2.stall_seconds",
        "upload.rescan_seconds",
        "log.level",
    ):
        assert any(line.startswith(f"FILE: {path}: ") for line in faults), (path, faults)


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        ("{color: yellow}", "no object"),
        ("{color: yellow, object: box, size: big}", "unknown field 'size'"),
        ("{color: Yellow, object: box}", "cannot be 'Yellow'"),
        ("{color: yellow_green, object: box}", "cannot be 'yellow_green'"),
        ("{color: " + "x" * 63 + ", object: " + "x" * 63 + "}", "too long"),
    ],
)
def test_a_class_that_does_not_fit_the_fields_is_refused_together_with_other_faults(
    file: Path, chosen: str, fault: str
) -> None:
    """The camera and what its class lacks are named, also while something else is wrong."""
    text = GOOD.replace("{color: yellow, object: box}", chosen).replace("cam1", "c" * 63) + "typo: 1\n"
    faults = refusal(file, text)
    assert any(f"cameras.{'c' * 63}.class: " in line and fault in line for line in faults), faults
    assert any("typo" in line for line in faults)


def test_a_camera_without_a_class_waits_for_one(file: Path) -> None:
    """No class is a setting: nothing is recorded until somebody sets one."""
    settings = load_text(file, GOOD.replace("    class: {color: yellow, object: box}\n", ""))
    assert settings.tag_of("cam1") is None


@pytest.mark.parametrize(
    "value",
    [
        "!!bool x",
        "!!timestamp x",
        '!!int ""',
        "!!map x",
        "!!map [a]",
        "!!set [[a, b]]",
        "2026-13-45",
        "9" * 5000,
        "[" * 1200,
    ],
)
def test_a_value_that_cannot_be_is_one_line(tmp_path: Path, value: str) -> None:
    """Dates, numbers and tags that cannot be, and nesting beyond reason: whatever PyYAML makes of them."""
    path = tmp_path / "edge-agent.yaml"
    path.write_text(f"device: {value}\n")
    with pytest.raises(ConfigInvalid, match=r"edge-agent\.yaml(:\d+:\d+)?: is no valid YAML: ") as caught:
        load(path)
    assert str(caught.value).isprintable()


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """The path and the reason stand in one line."""
    with pytest.raises(ConfigInvalid, match=r"gone\.yaml: no such file"):
        load(tmp_path / "gone.yaml")
    with pytest.raises(ConfigInvalid, match="Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("device: [dock7\nspool: x\n", "FILE:2:6: "),
        ("device: dock7\n\tspool: x\n", "FILE:2:1: "),
        ("device: dock7\nspool: a\ndevice: dock8\n", "FILE:3:1: "),
        (GOOD + "  cam1: {source: 'synthetic:'}\n", "FILE:8:3: "),
        ("? [a]\n: b\n", "FILE:1:3: "),
        ("? {a: b}\n: b\n", "FILE:1:3: "),
        ("device: !!python/object:os.system x\n", "FILE:1:9: "),
    ],
)
def test_malformed_yaml_is_placed_by_line_and_column(file: Path, text: str, where: str) -> None:
    """An editor can jump to it."""
    (line,) = refusal(file, text)
    assert line.startswith(where)


def test_a_camera_that_stands_there_twice_is_not_lost_silently(file: Path) -> None:
    """YAML's own rule, which the library forgets, is kept."""
    (line,) = refusal(file, GOOD + "  cam1: {source: 'synthetic:'}\n")
    assert "'cam1' stands here twice" in line


def test_merge_keys_work(file: Path) -> None:
    """Cameras may share settings by YAML's own means, and override what they share."""
    settings = load_text(
        file,
        GOOD.replace("  cam1:\n", "  cam1: &common\n") + "  cam2: {<<: *common, source: 'synthetic:?fps=5'}\n",
    )
    assert settings.cameras["cam2"].source.get_secret_value() == "synthetic:?fps=5"
    assert settings.cameras["cam2"].class_ == {"color": "yellow", "object": "box"}


@pytest.mark.parametrize(
    "text", ["", "5", "- a", "\x00", b"\xff\xfe", "device: 2026-99-99", "a: " + "[" * 5000, "device: &a [*a]"]
)
def test_what_holds_no_settings_is_refused(file: Path, text: str | bytes) -> None:
    """Empty, binary, absurd and endless files are refused in a line, like any other."""
    assert refusal(file, text)


@pytest.mark.parametrize(
    "source",
    [
        f"rtsp://admin:{SECRET}@",
        f"rtsp://admin:{SECRET}@[::1/x",
        f"rtsp://admin:{SECRET}@cam:port/x",
        f"rtsp://admin:{SECRET}@cam/a b",
        f"rtsq://admin:{SECRET}@cam/x",
        f"admin:{SECRET}@cam/x",
        f"//admin:{SECRET}@cam/x",
        f"rstp//admin:{SECRET}@cam/x",
        f"file://admin:{SECRET}@cam/x?loop=x",
        f"file://admin:{SECRET}@cam/x?password={SECRET}",
    ],
)
def test_a_password_is_in_no_refusal(file: Path, source: str) -> None:
    """A login with a typing mistake around it is refused without being shown."""
    for text in (
        GOOD.replace("synthetic:?fps=25", f'"{source}"'),
        GOOD.replace("cam1:", f'"{source}":'),
        GOOD.replace("class:", f'"{source}": 1\n    class:'),
        GOOD.replace("synthetic:?fps=25", f'["{source}"]'),
        GOOD.replace("synthetic:?fps=25", f'{{"{source}": 1}}'),
        GOOD.replace("url: store", f'url: "{source}"') + "typo: 1\n",
        GOOD + f'  ? "{source}"\n  : 1\n  ? "{source}"\n  : 2\n',
    ):
        assert not any(SECRET in line for line in refusal(file, text))


def test_settings_do_not_show_a_password(file: Path) -> None:
    """A good source stays out of the settings' repr, which ends up in logs."""
    settings = load_text(file, GOOD.replace("synthetic:?fps=25", f"rtsp://admin:{SECRET}@cam/x"))
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.cameras)


@pytest.mark.parametrize("url", ["s3://", "s3://bucket/prefix", "ftp://host/x", "s3://key:secret@bucket", ""])
def test_a_store_that_cannot_be_opened_is_refused(file: Path, url: str) -> None:
    """check-config says what the upload process would otherwise say in a log."""
    assert refusal(file, GOOD.replace("url: store", f'url: "{url}"'))


IOT = """\
store:
  url: s3://bucket
  iot: {endpoint: x.credentials.iot.eu-central-1.amazonaws.com, role_alias: edge, certificate: c, private_key: k.key}
"""


def test_a_certificate_takes_the_devices_name_for_its_thing(file: Path) -> None:
    """Four lines are enough; files are not looked at, for the agent may run elsewhere."""
    settings = load_text(file, GOOD.replace("store: {url: store}\n", IOT))
    assert settings.store.iot is not None
    iot = upload_job(settings).iot
    assert iot is not None
    assert (iot.thing, iot.private_key, iot.ca) == ("dock7", "k.key", None)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("x.credentials.iot.", "https://x.credentials.iot."), "store.iot.endpoint: "),
        (("role_alias: edge", "role_alias: 'a b'"), "store.iot.role_alias: "),
        (("role_alias: edge", "alias: edge"), "store.iot.alias: "),
        (("s3://bucket", "store"), "store.iot: a directory"),
        (("url: s3://bucket", "url: s3://bucket\n  profile: dock"), "store.iot: the profile"),
        (("device: dock7", "device: dock.7"), "store.iot.thing: "),
    ],
)
def test_a_certificate_that_cannot_work_is_refused_by_its_setting(
    file: Path, change: tuple[str, str], fault: str
) -> None:
    """The line starts with the path of the setting to change."""
    faults = refusal(file, GOOD.replace("store: {url: store}\n", IOT).replace(*change))
    assert any(line.startswith(f"FILE: {fault}") for line in faults), faults


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "x"]), json_values, max_size=8))
@example({"cameras": {"cam1": {"source": "synthetic:", "class": {}}}, "fields": []})
@example({"cameras": {"a\nb": None}})
def test_any_document_is_settings_or_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    """No YAML whatever ends in anything but settings or lines that name the file."""
    file = tmp_path / "any.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    try:
        load(file)
    except ConfigInvalid as error:
        assert all(line.startswith(str(file)) for line in str(error).split("\n"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("path: spool/drops, class: {color: yellow, object: box}", "foreign.0.path: lies in the spool"),
        ("path: /srv/drops, class: {color: yellow}", "foreign.0.class: class has no object"),
        ("path: /srv/drops, class: {color: yellow, object: box}, camera: cam1", "foreign.0.camera: is one of"),
    ],
)
def test_a_foreign_directory_that_cannot_be_is_refused(file: Path, setting: str, said: str) -> None:
    """One in the spool, without a whole class or under a camera's name would mix with our own footage."""
    cameras = "cameras: {cam1: {source: 'synthetic:'}}"
    text = f"device: dock7\nspool: spool\nstore: {{url: store}}\n{cameras}\nforeign: [{{{setting}}}]\n"
    (line,) = refusal(file, text)
    assert said in line


def test_spans_and_sizes_of_kept_copies(file: Path) -> None:
    """Age as 1d or seconds, size as 10GB; a span that is none is refused with its path."""
    text = "device: dock7\nspool: spool\nstore: {url: store}\ncameras: {cam1: {source: 'synthetic:'}}\n"
    keep = load_text(file, f"{text}disk: {{keep_uploaded: {{age: 1d, size: 10GB}}}}\n").disk.keep_uploaded
    assert (keep.age, keep.size) == (86400, 10**10)
    (line,) = refusal(file, f"{text}disk: {{keep_uploaded: {{age: soon}}}}\n")
    assert "disk.keep_uploaded.age" in line


def test_control_takes_the_certificate_of_the_store_or_names_its_own(file: Path) -> None:
    """Without either, with half a pair, or with the credentials' endpoint, the setting at fault is named."""
    pair = {"certificate": "a.pem", "private_key": "a.key"}
    for mqtt, fault in (
        ({"endpoint": "x-ats.iot.eu-central-1.amazonaws.com", **pair}, ""),
        ({"endpoint": "x-ats.iot.eu-central-1.amazonaws.com"}, "control.mqtt.certificate: is missing"),
        ({"endpoint": "x", "certificate": "a.pem"}, "control.mqtt: certificate and private_key go together"),
        ({"endpoint": "x.credentials.iot.eu-central-1.amazonaws.com", **pair}, "is that of credentials"),
        ({"endpoint": "x", "thing": "a b", **pair}, "control.mqtt.thing: cannot be a thing's name"),
    ):
        text = GOOD + yaml.safe_dump({"control": {"mqtt": mqtt}})
        if fault:
            assert fault in "\n".join(refusal(file, text))
        else:
            assert load_text(file, text).control.mqtt is not None
