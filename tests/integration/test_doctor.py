"""``edge-agent doctor`` on real cameras, disks, servers and buckets, well and broken."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from edge_agent.capture.job import CaptureJob
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import load
from edge_agent.control.local import Agents
from edge_agent.credentials import session_factory
from edge_agent.doctor import disk, rights, system
from edge_agent.doctor.cameras import camera_check
from edge_agent.doctor.examination import Check, Patient, examine
from edge_agent.doctor.finding import Finding, Verdict
from edge_agent.doctor.mqtt import MQTT_CHECK
from edge_agent.doctor.store import STORE, examine_store, who_am_i
from edge_agent.errors import SourceStalled
from edge_agent.glance import glance
from edge_agent.jobs import upload_job
from edge_agent.store.s3 import S3Store
from tests.support.agent import ROOT, process, write_settings
from tests.support.broker import Broker, control_settings
from tests.support.certificates import Authority
from tests.support.clock import FakeClock
from tests.support.credential_service import SECRET, CredentialService
from tests.support.disk import small_disk
from tests.support.forwarding import forwarding
from tests.support.http_server import Answer, Request, http_server
from tests.support.rtsp import rtsp_camera
from tests.support.wait import promised, until

SYNTHETIC = "synthetic:?size=160x120&fps=25"


def _doctor(config: Path, *options: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "doctor", "-c", str(config), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(columns)},
    )


def _told(config: Path) -> tuple[int, dict[str, dict[str, str]], str]:
    """Exit status, the checks by name, and all of the output."""
    done = _doctor(config, "--json")
    assert not done.stderr, done.stderr
    return done.returncode, {check["check"]: check for check in json.loads(done.stdout)["checks"]}, done.stdout


def _patient(config: Path, clock: Clock | None = None) -> Patient:
    return Patient(load(config), config, clock or SystemClock())


def _examined(patient: Patient, check: Check) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(patient, [check])}


def _store(patient: Patient) -> dict[str, Finding]:
    return _examined(patient, Check(STORE, examine_store))


def test_a_box_that_is_well_says_so_and_is_left_as_it_was(tmp_path: Path) -> None:
    """Exit status 0, a line for each check within 80 columns, and neither spool nor store hold anything after it."""
    (tmp_path / "store").mkdir()
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"))
    done = _doctor(config)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for name in ("configuration", "agent", "camera cam1", "clock", "disk speed", "disk room", "directories", "secrets"):
        assert any(line[9:].startswith(name) for line in lines), name
    for name in (*STORE, "versions"):
        assert any(line[9:].startswith(name) for line in lines), name
    assert "h264 160x120, 25 frames a second" in done.stdout
    assert not (tmp_path / "spool").exists()
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file() and "locks" not in path.parts] == []


def test_settings_that_are_wrong_are_a_fault_each(tmp_path: Path) -> None:
    """What check-config would say stands in the table; the exit status is 1."""
    config = write_settings(tmp_path, "ftp://host/x", "store", stall_seconds="soon")
    done = _doctor(config, "--json")
    checks = json.loads(done.stdout)["checks"]
    assert done.returncode == 1
    assert [check["check"] for check in checks] == ["configuration", "configuration", "versions"]
    assert "cameras.cam1.source" in checks[0]["seen"]


def test_a_camera_that_answers_is_told_with_codec_size_and_rate(tmp_path: Path) -> None:
    """A real RTSP camera behind a login is opened for a moment; its password is in no output."""
    (tmp_path / "store").mkdir()
    with rtsp_camera(user="bob", password="s3cret") as camera:
        config = write_settings(tmp_path, camera.url(), str(tmp_path / "store"))
        config.chmod(0o600)
        status, checks, output = _told(config)
        assert status == 0, output
        assert checks["camera cam1"]["verdict"] == "ok"
        assert "h264 320x240, 25 frames a second" in checks["camera cam1"]["seen"]
        shown = _doctor(config).stdout
    assert "s3cret" not in output + shown


def test_a_camera_that_is_away_is_a_fault_with_what_to_do(tmp_path: Path) -> None:
    """Nobody listens there: exit status 1, the address without its password, and a remedy."""
    (tmp_path / "store").mkdir()
    config = write_settings(tmp_path, "rtsp://bob:s3cret@127.0.0.1:9/x", str(tmp_path / "store"))
    status, checks, output = _told(config)
    assert status == 1
    assert checks["camera cam1"]["verdict"] == "fault"
    assert "127.0.0.1:9" in checks["camera cam1"]["seen"]
    assert checks["camera cam1"]["fix"]
    assert checks["secrets"]["fix"] == f"chmod 600 {config}"
    assert "s3cret" not in output


def test_a_camera_that_hangs_is_given_up_in_time() -> None:
    """A server that is stopped in the middle holds nobody up: the process that asked it is killed."""
    clock = SystemClock()
    with rtsp_camera() as camera:
        camera.freeze()
        begun = clock.monotonic()
        with pytest.raises(SourceStalled, match="no picture within 1 s"):
            glance(CaptureJob("dock7", "cam1", (), camera.url(), None, "", ""), seconds=1.0)
        assert clock.monotonic() - begun < promised(5)
        camera.thaw()


def test_a_camera_the_agent_holds_is_not_opened_a_second_time(tmp_path: Path) -> None:
    """What the agent says of a V4L2 camera counts; the device is not touched, here it is not even there."""
    config = write_settings(tmp_path, "v4l2:///dev/nowhere", "store")
    held = {"cam1": {"state": "recording", "healthy": True, "format": "mjpeg 640x480"}}
    patient = Patient(load(config), config, SystemClock(), Agents(captures=True, cameras=held))
    found = _examined(patient, camera_check("cam1"))["camera cam1"]
    assert (found.verdict, "mjpeg 640x480" in found.seen) == (Verdict.OK, True)
    found = _examined(_patient(config), camera_check("cam1"))["camera cam1"]
    assert (found.verdict, "no such device" in found.seen) == (Verdict.FAULT, True)


def test_a_device_of_another_group_is_told_with_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that is there and not for this user: the group that may use it, and the command that lets one in."""
    node = tmp_path / "video0"
    node.touch()
    config = write_settings(tmp_path, f"v4l2://{node}", "store")
    monkeypatch.setattr("edge_agent.doctor.rights.os.access", lambda *_: False)  # root may do everything
    found = _examined(_patient(config), camera_check("cam1"))["camera cam1"]
    assert (found.verdict, str(node) in found.seen) == (Verdict.FAULT, True)
    assert f"usermod -aG {node.group()} " in found.fix


def _device_rights(request: Request) -> Answer | None:
    """S3 to one who may put objects below videos/dock7/ and list and abort their parts; nothing else."""
    path, _, query = request.path.partition("?")
    parts = "uploadId=" in query
    if request.method == "HEAD" and path == "/":
        return None
    if "/videos/dock7/" in path and (request.method in ("PUT", "POST") or (parts and request.method != "HEAD")):
        return None
    return Answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")


def test_a_write_needs_no_more_than_a_device_may_and_leaves_nothing(
    tmp_path: Path, s3_store: S3Store, moto_endpoint: str
) -> None:
    """With the device role's rights the bucket is proved to take what is sent; no object and no upload stays."""
    with forwarding(moto_endpoint, _device_rights) as url:
        store = {"url": f"s3://{s3_store.name}", "endpoint_url": url, "region": "us-east-1"}
        found = _store(_patient(write_settings(tmp_path, SYNTHETIC, store)))
    assert [finding.verdict for finding in found.values()] == [Verdict.OK] * 3, found
    assert "took and proved" in found["store write"].seen
    assert list(s3_store.list()) == []
    assert list(s3_store.list_multiparts()) == []


def test_another_devices_prefix_is_refused_with_what_to_do(
    tmp_path: Path, s3_store: S3Store, moto_endpoint: str
) -> None:
    """Keys that are good for another thing's footage alone: the write is a fault, and the role is named."""
    with forwarding(moto_endpoint, _device_rights) as url:
        config = write_settings(tmp_path, SYNTHETIC, {"url": f"s3://{s3_store.name}", "endpoint_url": url})
        config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "device": "dock8"}))
        found = _store(_patient(config))
    assert found["credentials"].verdict is Verdict.OK
    assert found["store write"].verdict is Verdict.FAULT
    assert "AccessDenied" in found["store write"].seen
    assert "role" in found["store write"].fix


def test_a_bucket_that_is_not_there_is_named(tmp_path: Path, aws_environment: None, moto_endpoint: str) -> None:
    """The way and the keys are well, the bucket is missing: one fault, with what to do."""
    config = write_settings(tmp_path, SYNTHETIC, {"url": "s3://nobody-has-made-it", "endpoint_url": moto_endpoint})
    found = _store(_patient(config))
    assert [finding.verdict for finding in found.values()] == [Verdict.OK, Verdict.OK, Verdict.FAULT]
    assert "create the bucket" in found["store write"].fix


def test_offline_there_is_one_fault_for_the_network(tmp_path: Path, aws_environment: None) -> None:
    """A name nobody knows: keys and write are not blamed for it."""
    config = write_settings(
        tmp_path, SYNTHETIC, {"url": "s3://bucket", "endpoint_url": "https://store.invalid", "region": "us-east-1"}
    )
    found = _store(_patient(config))
    assert [finding.verdict for finding in found.values()] == [Verdict.FAULT, Verdict.WARNING, Verdict.WARNING]
    assert "store.invalid" in found["network"].seen
    assert "name server" in found["network"].fix


def test_no_keys_at_all_are_a_fault(
    tmp_path: Path, aws_environment: None, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment without credentials says what to set."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    config = write_settings(tmp_path, SYNTHETIC, {"url": "s3://bucket", "endpoint_url": moto_endpoint})
    found = _store(_patient(config))["credentials"]
    assert (found.verdict, "store.iot" in found.fix) == (Verdict.FAULT, True)


def test_whose_the_keys_are_is_asked_of_aws(
    tmp_path: Path, aws_environment: None, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's ARN is told, and where the keys came from; the keys are not."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_endpoint)
    job = upload_job(load(write_settings(tmp_path, SYNTHETIC, {"url": "s3://bucket"})))
    found = who_am_i(job, session_factory(SystemClock())())
    assert (found.verdict, "arn:aws:" in found.seen, "environment" in found.seen) == (Verdict.OK, True, True)
    assert "testing" not in found.seen


@pytest.fixture
def iot(tmp_path: Path, s3_store: S3Store, moto_endpoint: str) -> Iterator[tuple[CredentialService, Path]]:
    """A credential provider, and settings that name a good certificate for it."""
    authority = Authority(tmp_path / "authority")
    device = authority.issue("dock7")
    service = CredentialService(SystemClock())
    with service.iot(authority.server_context(authority.issue("server"))) as endpoint:
        identity = {
            "endpoint": endpoint,
            "role_alias": "edge-uploads",
            "certificate": str(device.certificate),
            "private_key": str(device.private_key),
            "ca": str(authority.certificate),
        }
        store = {"url": f"s3://{s3_store.name}", "endpoint_url": moto_endpoint, "region": "us-east-1", "iot": identity}
        yield service, write_settings(tmp_path, SYNTHETIC, store)


def test_the_role_alias_that_answers_is_named(iot: tuple[CredentialService, Path]) -> None:
    """Keys come by the certificate, and which alias gave them is told; neither key nor token is."""
    service, config = iot
    found = _store(_patient(config))
    assert [finding.verdict for finding in found.values()] == [Verdict.OK] * 3, found
    assert "role alias edge-uploads" in found["credentials"].seen
    assert SECRET not in str(found)
    assert service.token not in str(found)


def test_a_certificate_that_is_refused_is_a_fault(iot: tuple[CredentialService, Path]) -> None:
    """The provider says no: the credentials are the fault, with the policy that is missing, and nothing is written."""
    service, config = iot
    service.status = 403
    found = _store(_patient(config))
    assert [finding.verdict for finding in found.values()] == [Verdict.OK, Verdict.FAULT, Verdict.WARNING]
    assert "iot:AssumeRoleWithCertificate" in found["credentials"].fix


def test_a_private_key_that_is_open_is_a_fault(iot: tuple[CredentialService, Path]) -> None:
    """A key that others may read is named with the command that closes it."""
    _, config = iot
    patient = _patient(config)
    config.chmod(0o600)
    assert _examined(patient, Check((rights.FILES,), rights.secrets))["secrets"].verdict is Verdict.OK
    key = Path(yaml.safe_load(config.read_text())["store"]["iot"]["private_key"])
    key.chmod(0o644)
    found = _examined(patient, Check((rights.FILES,), rights.secrets))["secrets"]
    assert (found.verdict, found.fix) == (Verdict.FAULT, f"chmod 600 {key}")


def test_a_spool_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    """On a disk mounted read-only, directories and speed are faults that name the place; nothing is thrown."""
    with small_disk(tmp_path / "disk", "8m") as mounted:
        config = write_settings(mounted, SYNTHETIC, "store")
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        patient = _patient(config)
        found = _examined(patient, Check((rights.DIRECTORIES,), rights.directories))["directories"]
        assert (found.verdict, "read-only" in found.seen) == (Verdict.FAULT, True)
        assert str(mounted) in found.seen
        assert _examined(patient, Check((disk.SPEED,), disk.speed))["disk speed"].verdict is Verdict.FAULT


def test_a_full_disk_is_a_fault(tmp_path: Path) -> None:
    """Less free than the settings want kept free: recording would pause, and that is said."""
    with small_disk(tmp_path / "disk", "8m") as mounted:
        patient = _patient(write_settings(mounted, SYNTHETIC, "store"))
        found = _examined(patient, Check((disk.ROOM,), disk.room))["disk room"]
    assert (found.verdict, "recording pauses" in found.seen) == (Verdict.FAULT, True)


@pytest.mark.parametrize(
    ("year", "synchronised", "expected", "verdict"),
    [
        (2026, True, True, Verdict.OK),
        (2026, False, True, Verdict.WARNING),
        (2026, False, False, Verdict.WARNING),
        (1970, True, True, Verdict.FAULT),
    ],
)
def test_a_clock_that_cannot_be_believed_is_told(
    tmp_path: Path, year: int, synchronised: bool, expected: bool, verdict: Verdict
) -> None:
    """A year before the program is a fault, a clock that nobody has set a warning."""
    clock = FakeClock(datetime(year, 12, 1, tzinfo=UTC))
    clock.is_synchronised, clock.is_setting_expected = synchronised, expected
    patient = _patient(write_settings(tmp_path, SYNTHETIC, "store"), clock)
    assert _examined(patient, Check((system.CLOCK,), system.clock))["clock"].verdict is verdict


def test_a_clock_that_the_store_would_refuse_is_a_fault(
    tmp_path: Path, aws_environment: None, moto_endpoint: str
) -> None:
    """A day ahead of the server: said with the difference, before requests fail one by one."""
    clock = FakeClock(SystemClock().now())
    clock.step(86400)
    config = write_settings(tmp_path, SYNTHETIC, {"url": "s3://bucket", "endpoint_url": moto_endpoint})
    found = _store(_patient(config, clock))["network"]
    assert (found.verdict, "ahead of the server's" in found.seen) == (Verdict.FAULT, True)
    assert "clock" in found.fix


def test_the_certificate_of_the_store_is_looked_at(
    tmp_path: Path, aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS version and end are told; an authority nobody trusts and a server without TLS are faults."""
    authority = Authority(tmp_path / "authority")
    server = authority.issue("server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(server.certificate, server.private_key)
    with http_server(lambda _: Answer(403), tls=tls) as url:
        config = write_settings(tmp_path, SYNTHETIC, {"url": "s3://bucket", "endpoint_url": url, "region": "us-east-1"})
        found = _store(_patient(config))["network"]
        assert (found.verdict, "TLS: " in found.seen, "AWS_CA_BUNDLE" in found.fix) == (Verdict.FAULT, True, True)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
        found = _store(_patient(config))["network"]
        assert (found.verdict, "TLSv1.3, certificate until" in found.seen) == (Verdict.WARNING, True)  # ends tomorrow
        clock = FakeClock(SystemClock().now())
        clock.step(-10 * 86400)
        assert _store(_patient(config, clock))["network"].verdict is Verdict.FAULT
    with http_server(lambda _: Answer(403)) as url:
        plain = {"url": "s3://bucket", "endpoint_url": url.replace("http:", "https:"), "region": "us-east-1"}
        found = _store(_patient(write_settings(tmp_path, SYNTHETIC, plain)))["network"]
    assert (found.verdict, "http or https" in found.fix) == (Verdict.FAULT, True)


def test_it_works_beside_a_running_agent_and_disturbs_nothing(tmp_path: Path) -> None:
    """That an agent runs is told, and it goes on recording into the same segment."""
    (tmp_path / "store").mkdir()
    config = write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"), segment_seconds=3600)
    recording = tmp_path / "spool" / "recording"
    with process("edge_agent.cli", "run", "-c", config):
        until(lambda: [part for part in recording.glob("*.part") if part.stat().st_size], "the first fragment")
        before = sorted(path.name for path in recording.glob("*.part"))
        status, checks, output = _told(config)
        assert status == 0, output
        assert checks["agent"]["seen"] == "is running: captures and uploads"
        assert sorted(path.name for path in recording.glob("*.part")) == before


def test_an_agent_whose_recording_pauses_is_a_fault(tmp_path: Path) -> None:
    """Why it pauses is said in the agent's words."""
    config = write_settings(tmp_path, SYNTHETIC, "store")
    patient = Patient(load(config), config, SystemClock(), Agents(captures=True, disk={"paused": "disk full"}))
    found = _examined(patient, Check((system.AGENT,), system.agent))["agent"]
    assert (found.verdict, "disk full" in found.seen) == (Verdict.FAULT, True)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Broker, Path]]:
    """A running broker, and settings that name it."""
    broker = Broker(tmp_path / "broker")
    broker.start()
    config = write_settings(tmp_path, SYNTHETIC, "store")
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "control": control_settings(broker)}))
    yield broker, config
    broker.kill()


def test_a_broker_that_takes_the_certificate_is_well(broker: tuple[Broker, Path]) -> None:
    """The box connects as its thing, and its shadow is granted; a broker that is away is a fault with its address."""
    server, config = broker
    found = _examined(_patient(config), MQTT_CHECK)["mqtt"]
    assert (found.verdict, server.endpoint in found.seen) == (Verdict.OK, True)
    server.kill()
    found = _examined(_patient(config), MQTT_CHECK)["mqtt"]
    assert (found.verdict, server.endpoint in found.seen) == (Verdict.FAULT, True)
    assert "control.mqtt.endpoint" in found.fix


def test_a_running_agents_connection_is_not_thrown_out(broker: tuple[Broker, Path]) -> None:
    """While an agent runs, what it says counts: two clients of one thing would end each other's connection."""
    _, config = broker
    for link, verdict in (
        ({"thing": "dock7", "up": True}, Verdict.OK),
        ({"thing": "dock7", "up": False, "problem": "not authorized"}, Verdict.FAULT),
        ({}, Verdict.WARNING),
    ):
        patient = Patient(load(config), config, SystemClock(), Agents(uploads=True, link=link))
        assert _examined(patient, MQTT_CHECK)["mqtt"].verdict is verdict
