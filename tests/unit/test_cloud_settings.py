"""Settings of the cloud side."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from cloud.settings import Sampling, Settings, StoreSettings, load
from edge_agent.errors import ConfigInvalid
from edge_agent.store.s3 import S3Store


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cloud.yaml"
    path.write_text(text)
    return path


def test_the_example_configuration_is_valid() -> None:
    """config/cloud.yaml loads as it stands, and says what the defaults are."""
    example = load(Path(__file__).parents[2] / "config/cloud.yaml")
    assert example == Settings.model_validate({"raw": "./data/raw", "dataset": "./data/dataset"})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable replaces what the file says, level by level, and a sampling rule replaces the other one whole."""
    path = write(tmp_path, "dataset: {url: s3://a, region: eu-central-1}\nsampling: {every: 10}\njpeg_quality: 80\n")
    environ = {
        "EDGE_CLOUD_CONFIG": str(path),
        "EDGE_CLOUD_DATASET__URL": "s3://b",
        "EDGE_CLOUD_SAMPLING__SECONDS": "0.5",
        "EDGE_CLOUD_FIELDS": "color, object,size",
        "EDGE_CLOUD_RAW": "s3://raw",
        "EDGE_CLOUD_RAW__ENDPOINT_URL": "http://127.0.0.1:9000",
        "HOME": "/nowhere",
    }
    settings = load(environ=environ)
    assert (settings.dataset.url, settings.dataset.region) == ("s3://b", "eu-central-1")
    assert settings.sampling == Sampling(seconds=0.5)
    assert settings.fields == ("color", "object", "size")
    assert settings.jpeg_quality == 80
    assert settings.raw is not None
    assert (settings.raw.url, settings.raw.endpoint_url) == ("s3://raw", "http://127.0.0.1:9000")


def test_overrides_win_over_the_environment() -> None:
    """What a command line says is the last word."""
    settings = load(environ={"EDGE_CLOUD_DATASET": "a"}, overrides={"dataset": {"url": "b"}, "jpeg_quality": 50})
    assert (settings.dataset.url, settings.jpeg_quality) == ("b", 50)


def test_all_faults_come_at_once_with_their_paths(tmp_path: Path) -> None:
    """Every fault is one line that names the file or the variable, the setting and the fault."""
    text = "datset: x\ndataset: {url: 7}\nsampling: {every: 0}\njpeg_quality: true\nfields: [Source]\n"
    path = write(tmp_path, text)
    with pytest.raises(ConfigInvalid) as caught:
        load(path, {"EDGE_CLOUD_SHEET__COLUMNS": "many", "EDGE_CLOUD_NONSENSE": "1"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    for start in (
        f"{path}: datset: unknown setting",
        f"{path}: dataset.url: ",
        f"{path}: sampling.every: ",
        f"{path}: jpeg_quality: must be a number",
        f"{path}: fields: ",
        "EDGE_CLOUD_SHEET__COLUMNS: sheet.columns: ",
        "EDGE_CLOUD_NONSENSE: nonsense: unknown setting",
    ):
        assert any(line.startswith(start) for line in lines), (start, lines)


@pytest.mark.parametrize(
    "rule",
    [
        *("{every: 5, count: 2}", "{phase: 1}", "{every: 5, phase: 5}", "{count: 3, phase: 1}", "{scene: 1.5}"),
        *("{every: 5, seconds: 1}", "{}", "{seconds: 0}", "{seconds: .nan}", "{every: 1.5}"),
    ],
)
def test_a_sampling_rule_is_exactly_one_positive_number(tmp_path: Path, rule: str) -> None:
    """Two rules, none, or one that never samples are refused."""
    with pytest.raises(ConfigInvalid, match="sampling"):
        load(write(tmp_path, f"dataset: d\nsampling: {rule}\n"))


@pytest.mark.parametrize("crop", ["[0, 0, 1]", "[0.5, 0, 0.6, 1]", "[0, 0, 0, 1]", "[-0.1, 0, 1, 1]", "[a, 0, 1, 1]"])
def test_a_crop_lies_inside_the_frame(tmp_path: Path, crop: str) -> None:
    """Four fractions, no part outside, and something left."""
    with pytest.raises(ConfigInvalid, match="picture"):
        load(write(tmp_path, f"dataset: d\npicture: {{crop: {crop}}}\n"))


def test_a_crop_can_come_from_the_environment() -> None:
    """As four numbers with commas between."""
    settings = load(environ={"EDGE_CLOUD_DATASET": "d", "EDGE_CLOUD_PICTURE__CROP": "0.25, 0, 0.5,1"})
    assert settings.picture.crop == (0.25, 0, 0.5, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dataset: [\n  a: b: c\n", r"cloud\.yaml:\d+:\d+: is no valid YAML"),
        ("- just\n- a list\n", "must hold settings"),
        ("", "dataset: is missing"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, text: str, expected: str) -> None:
    """Malformed YAML names its line; a file of another shape says so."""
    with pytest.raises(ConfigInvalid, match=expected) as caught:
        load(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1


def test_a_number_too_large_to_be_spelt_is_one_clear_line(tmp_path: Path) -> None:
    """Sixteen-digit counts are shown with their fault; one of thousands of digits is a fault all the same."""
    path = tmp_path / "cloud.yaml"
    path.write_text(f"dataset: /data\njpeg_quality: 0x{'F' * 5000}\n")
    with pytest.raises(ConfigInvalid, match=r"^\S+: jpeg_quality: Input should be less than or equal to 100$"):
        load(path)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    """The file that is not there is named."""
    with pytest.raises(ConfigInvalid, match=r"absent\.yaml: no such file"):
        load(tmp_path / "absent.yaml")


@pytest.mark.parametrize("checksum", ["crc64nvme", "sha256", "md5"])
def test_the_checksum_is_what_the_server_compares(s3_store: S3Store, moto_endpoint: str, checksum: str) -> None:
    """As on the edge: a store opened by these settings, or beside them, has the server verify that kind."""
    given = {"url": f"s3://{s3_store.name}", "endpoint_url": moto_endpoint, "checksum": checksum}
    settings = StoreSettings.model_validate(given)
    store = settings.beside(settings.url).open()
    assert isinstance(store, S3Store)
    with closing(store):
        store.put("a", b"bytes")
        told = store.head("a").checksum
        assert (told.algorithm.lower() if told else "md5") == checksum
        assert store.get("a").body == b"bytes"


def test_an_unknown_checksum_is_refused() -> None:
    """In one line that names the setting."""
    with pytest.raises(ConfigInvalid, match=r"dataset\.checksum: Input should be 'crc64nvme', 'sha256' or 'md5'"):
        load(overrides={"dataset": {"url": "s3://a", "checksum": "crc32"}})


def test_the_fingerprint_follows_what_changes_the_outputs() -> None:
    """Stores do not count; sampling, quality, fields and sheet do."""
    base = Settings.model_validate({"dataset": "a"})
    assert base.fingerprint == Settings.model_validate({"dataset": "b", "raw": "c"}).fingerprint
    others: list[dict[str, object]] = [
        {"sampling": {"every": 29}},
        {"jpeg_quality": 94},
        {"picture": {"format": "png"}},
        {"fields": "object,color"},
        {"sheet": {"columns": 4}},
    ]
    prints = {Settings.model_validate({"dataset": "a", **other}).fingerprint for other in others}
    assert len(prints | {base.fingerprint}) == len(others) + 1
