"""The rules of a labelling service, on lines of every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.dataset.findings import Findings
from cloud.dataset.lines import read_lines
from cloud.dataset.pictures import Header, Pictures, header_of
from cloud.dataset.validate import Checked, Rules, validate
from cloud.dataset.validate_pictures import header_faults
from cloud.dataset.validate_repeats import Sources
from cloud.dataset.validate_rules import REFUSED, LineRules, check_attribute
from edge_agent.errors import ConfigInvalid
from tests.support.manifests import GROUND_TRUTH, line, write

S3 = "s3://bucket/frames/a/a_000001.jpg"


def checked(tmp_path: Path, lines: Sequence[bytes | str | Mapping[str, Any]], attribute: str | None = None) -> Checked:
    path = write(tmp_path / "a.manifest", lines)
    return validate([(path, "a.manifest")], Rules(attribute))


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("{broken", "broken_json"),
        ('{"source-ref": NaN}', "broken_json"),
        ("[" * 100_000, "broken_json"),
        (b"\xff\xfe{}", "not_utf8"),
        ("[1, 2]", "no_object"),
        ({"sauce-ref": S3}, "no_source"),
        ({"source-ref": ["no", "string"]}, "no_source"),
        ({"source-ref": S3, "note": "x" * 100_000}, "line_too_long"),
        ({"source-ref": S3, "$price": "1"}, "reserved_name"),
        ({"source-ref": S3, "mask-ref": "s3://b/m.png"}, "reserved_name"),
        ({"source-ref": S3, "color-metadata": {}}, "reserved_name"),
        ({"source-ref": S3, "a" * 128: "1"}, "odd_key"),
        ({"source-ref": S3, "source": "text"}, "two_sources"),
        ('{"source-ref": "s3://bucket/a.jpg", "source-ref": "s3://bucket/b.jpg"}', "two_sources"),
        ({"source": "a text"}, "mixed_kinds"),
        ({"source-ref": "https://example.org/a.jpg"}, "bad_reference"),
        ({"source-ref": "frames/a.jpg"}, "bad_reference"),
        ({"source-ref": "s3://bucket"}, "bad_reference"),
        ({"source-ref": "s3://Bucket_1/a.jpg"}, "bad_bucket"),
        ({"source-ref": "s3://192.168.1.1/a.jpg"}, "bad_bucket"),
        ({"source-ref": f"s3://bucket/{'ü' * 600}.jpg"}, "key_too_long"),
        ({"source-ref": "s3://bucket/a.gif"}, "unknown_type"),
        ({"source-ref": "s3://bucket/a"}, "unknown_type"),
        ({"source-ref": "s3://bucket/a\u202e\n.jpg"}, "odd_name"),
        ({"source-ref": "s3://other/a.jpg"}, "mixed_buckets"),
        ({"source-ref": "file:///data/a.jpg"}, "mixed_buckets"),
        ({"source-ref": S3, "bb": 1, "bb-metadata": {"class-map": {"0": "x" * 257}}}, "label_too_long"),
    ],
)
def test_each_fault_is_told_with_its_line_and_what_to_do(
    tmp_path: Path, bad: bytes | str | Mapping[str, Any], code: str
) -> None:
    """A bad third line among good ones is found, named as line 3, and says what to do; the others are not."""
    found = checked(tmp_path, [line(1), line(2), bad, line(3)])
    assert code in found.findings.counts
    kept = [finding for finding in found.findings if finding.code == code]
    assert [(finding.line, finding.where) for finding in kept] == [(3, "a.manifest")]
    assert kept[0].fix or code == "line_too_long"
    assert str(kept[0]).isprintable(), "nothing of a hostile line reaches the terminal as it is"
    assert found.refused == any(each in REFUSED for each in found.findings.counts)


@pytest.mark.parametrize(
    "good",
    [
        line(1),
        {**line(1), "note": "é" * 1000, "empty": None, "nested": {"$x": 1}},
        {"source-ref": "s3://bucket/mask.png", "street-ref": "s3://b/m.png", "street-ref-metadata": {"job-name": "j"}},
        {**line(1), "bb-metadata": {"job-name": "labeling-job/x", "failure-reason": "ClientError"}},
        {"source-ref": "s3://bucket/A.JPEG"},
    ],
    ids=["ours", "extra keys", "segmentation", "failed", "upper case"],
)
def test_what_the_service_takes_is_not_complained_about(tmp_path: Path, good: Mapping[str, Any]) -> None:
    """Lines of former jobs, extra keys and odd spellings that are allowed give no finding."""
    found = checked(tmp_path, [good])
    assert dict(found.findings.counts) == {}
    assert not found.refused


def test_the_published_output_manifests_pass() -> None:
    """654 real lines of two jobs: nothing is wrong with them."""
    paths = sorted(GROUND_TRUTH.glob("*.manifest"))
    found = validate([(path, path.name) for path in paths], Rules())
    assert (found.items, found.findings.total, found.refused) == (654, 0, False)


def test_a_picture_listed_twice_names_both_lines(tmp_path: Path) -> None:
    """Whatever else the lines say, the second and third line about one picture name the first."""
    found = checked(tmp_path, [line(1), "", line(2), {**line(1), "color": "red"}, line(1)])
    assert [finding.line for finding in found.findings] == [4, 5]
    assert all("the same picture as line 1" in finding.what for finding in found.findings)
    assert not found.refused, "the service takes it, and takes the money twice"


def test_shards_are_checked_together(tmp_path: Path) -> None:
    """A picture in two shards is found, and the finding names the other file and line."""
    one = write(tmp_path / "one.manifest", [line(1), line(2)])
    two = write(tmp_path / "two.manifest", [line(3), line(2)])
    found = validate([(one, "one"), (two, "two")], Rules())
    [finding] = found.findings
    assert (finding.where, finding.line) == ("two", 2)
    assert "one:2" in finding.what
    assert found.items == 4


@given(st.lists(st.integers(0, 12)), st.integers(1, 40))
def test_repeats_are_exactly_those_a_dictionary_finds(sources: list[int], step: int) -> None:
    """Each line that names an earlier line's source is found with the first such line, in order."""
    compact, first, expected = Sources(), dict[int, int](), list[tuple[int, int]]()
    for number, source in enumerate(sources, 1):
        compact.add(f"s3://b/{source}", number * step)
        if source in first:
            expected.append((number * step, first[source]))
        first.setdefault(source, number * step)
    assert list(compact.repeats()) == expected


def test_more_items_than_a_job_takes_are_told_once(tmp_path: Path) -> None:
    """100,001 good lines are one finding, about the manifest and not a line."""
    path = tmp_path / "large.manifest"
    path.write_text("".join(f'{{"source-ref": "s3://bucket/{n}.jpg"}}\n' for n in range(100_001)))
    found = validate([(path, "large")], Rules())
    assert dict(found.findings.counts) == {"too_many_items": 1}
    assert [finding.line for finding in found.findings] == [None]
    assert found.refused


def test_a_bad_manifest_is_counted_in_full_and_shown_in_part(tmp_path: Path) -> None:
    """Of 5,000 broken lines all are counted and 20 are kept."""
    found = checked(tmp_path, ["{"] * 5000)
    assert found.findings.counts["broken_json"] == 5000
    assert len([finding for finding in found.findings if finding.code == "broken_json"]) == 20
    assert "… and 4,980 more of broken json" in list(found.findings.lines())


def test_an_empty_manifest_and_a_byte_order_mark_are_refused(tmp_path: Path) -> None:
    """Blank lines alone are no manifest; a byte order mark breaks the first line for the service."""
    assert dict(checked(tmp_path, ["", " "]).findings.counts) == {"empty": 1}
    marked = checked(tmp_path, [b"\xef\xbb\xbf" + json.dumps(line(1)).encode()])
    assert dict(marked.findings.counts) == {"byte_order_mark": 1}
    assert marked.refused


def test_an_attribute_that_would_be_overwritten_is_told(tmp_path: Path) -> None:
    """Lines that already have the job's label attribute, or its metadata, are each named."""
    found = checked(tmp_path, [line(1), {**line(2), "bb": {}}, {**line(3), "bb": {}, "bb-metadata": {}}], "bb")
    assert [finding.line for finding in found.findings] == [2, 3, 3]
    assert set(found.findings.counts) == {"overwritten_attribute"}


@pytest.mark.parametrize("name", ["", "-x", "x-metadata", "a b", "source-ref", "x" * 128, "$x"])
def test_a_label_attribute_the_service_would_not_take_is_refused(name: str) -> None:
    """The job's own attribute is held to the service's rule before any line is read."""
    with pytest.raises(ConfigInvalid, match="label attribute"):
        check_attribute(name)


def test_pictures_on_this_machine_are_told_once(tmp_path: Path) -> None:
    """A data set in a directory is fine for other tools: one finding says that Ground Truth cannot read it."""
    found = checked(tmp_path, [{"source-ref": f"file:///data/{n}.jpg"} for n in range(3)])
    [finding] = found.findings
    assert (finding.code, finding.line) == ("local_pictures", None)
    assert finding.what.startswith("3 of its pictures")
    assert not found.refused


def test_more_labels_than_a_job_takes_are_told_at_the_line_that_is_too_much(tmp_path: Path) -> None:
    """With a new label on each line, the 51st line is the one."""
    lines = [
        {**line(n), "bb": {}, "bb-metadata": {"type": "groundtruth/object-detection", "class-map": {"0": f"label {n}"}}}
        for n in range(60)
    ]
    [finding] = checked(tmp_path, lines).findings
    assert (finding.code, finding.line) == ("too_many_labels", 51)


def test_regions_are_compared_where_they_are_known(tmp_path: Path) -> None:
    """Buckets of one region are fine, each line of another region is a finding."""
    regions = {"bucket": "eu-west-1", "near": "eu-west-1", "far": "us-east-1"}
    rules = LineRules(region=regions.get)
    path = write(
        tmp_path / "a.manifest", [line(1), *({"source-ref": f"s3://{b}/a.jpg"} for b in ("near", "far", "far"))]
    )
    found = [(each.number, fault[0]) for each in read_lines(path, Findings()) for fault in rules.faults(each)]
    assert found == [(3, "mixed_regions"), (4, "mixed_regions")]


@pytest.mark.parametrize("buckets", [("silent", "near"), ("near", "silent"), ("silent", "mute")])
def test_a_bucket_that_does_not_say_its_region_refuses_no_other(tmp_path: Path, buckets: tuple[str, str]) -> None:
    """Whichever comes first: two buckets are told, which may be of one region, and the job may start."""
    rules = LineRules(region={"near": "eu-west-1"}.get)
    path = write(tmp_path / "a.manifest", [{"source-ref": f"s3://{bucket}/a.jpg"} for bucket in buckets])
    found = [(each.number, fault[0]) for each in read_lines(path, Findings()) for fault in rules.faults(each)]
    assert found == [(2, "mixed_buckets")]


def test_a_bucket_that_can_be_none_is_a_finding_and_no_end(tmp_path: Path) -> None:
    """Its name is told, whether pictures are looked at or not; nothing is asked of it."""
    path = write(tmp_path / "a.manifest", [{"source-ref": "s3://[bad/x.jpg"}])
    for pictures in (None, Pictures(images=tmp_path)):
        found = validate([(path, "a.manifest")], Rules(pictures=pictures)).findings
        assert found.counts["bad_bucket"] == 1


def test_a_picture_is_held_to_its_name_its_size_and_its_label(tmp_path: Path) -> None:
    """Too many bytes, a PNG named .jpg and a label of another size are each a fault."""
    labelled = {**line(1), "bb": {"annotations": [], "image_size": [{"width": 1920, "height": 1080, "depth": 3}]}}
    [read] = read_lines(write(tmp_path / "a.manifest", [labelled]), Findings())
    faults = [fault[0] for fault in header_faults(read, Header("png", 640, 480, 40_000_001))]
    assert faults == ["picture_too_large", "wrong_type", "wrong_size"]
    assert list(header_faults(read, Header("jpeg", 1920, 1080, 40_000_000))) == []


@given(st.binary(max_size=64), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]))
def test_no_bytes_break_the_reading_of_headers(rest: bytes, start: bytes) -> None:
    """Whatever a file begins with, its header is read or it has none."""
    found = header_of(start + rest, 100)
    assert found is None or (found.width > 0 and found.height > 0)
