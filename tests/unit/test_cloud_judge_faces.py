"""Faces: found, made unrecognisable, and never passed unseen when somebody was to look."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.judge.faces import Box, Cascade, redact
from cloud.judge.judges import Judges
from cloud.judge.policy import verdict
from cloud.judge.rules import Faces, JudgeRules
from edge_agent.errors import ConfigInvalid
from tests.support.judging import Picture, drawn_face, footage_pictures, judge, noisy, rules, sample

FLAG: dict[str, Any] = {"action": "flag"}
REDACT: dict[str, Any] = {"action": "flag", "redact": True}


def with_face(left: int = 200, top: int = 100, side: int = 160) -> Picture:
    """A grey room with somebody in it."""
    picture = noisy(150, 1)
    picture[top : top + side, left : left + side] = drawn_face(side)
    return picture


def covers(box: Box, left: int, top: int, side: int) -> bool:
    """Whether the middle of the face is in *box*, in a picture of 640 x 480."""
    x, y = (left + side / 2) / 640, (top + side / 2) / 480
    return box.left < x < box.left + box.width and box.top < y < box.top + box.height


@pytest.mark.parametrize("careful", [False, True])
def test_the_cascade_finds_a_face(careful: bool) -> None:
    """One face, where it is."""
    found = Cascade(careful=careful).find(sample(with_face()))
    assert len(found) == 1
    assert covers(found[0], 200, 100, 160)


def test_a_face_is_flagged_by_default() -> None:
    """The default rules list a frame with a face as flagged, with the number of faces as the score."""
    judges = Judges(JudgeRules())
    judges.look(sample(with_face()))
    (scores,) = judges.finish()
    assert scores["faces"] == 1
    assert verdict(scores, JudgeRules()).reasons == ("faces",)


def test_boxes_and_cups_have_no_face(yellow_box: Path, black_cup: Path) -> None:
    """No frame of the real clips is taken for a face."""
    for clip in (yellow_box, black_cup):
        scores, _ = judge(footage_pictures(clip), rules(faces=FLAG))
        assert {of_frame["faces"] for of_frame in scores} == {0}


def test_a_found_face_is_gone_from_what_is_stored() -> None:
    """What is stored shows a few flat blocks for a face, is untouched elsewhere, and is not the video's own packet."""
    picture = with_face()
    taken = sample(picture, jpeg=b"the packet shows the face")
    judges = Judges(rules(faces=REDACT))
    judges.look(taken)
    stored = judges.redacted(taken)
    assert stored.jpeg is None
    assert Cascade(careful=True).find(stored) == []
    changed = np.argwhere((stored.picture != picture).any(axis=2))
    assert changed.min(axis=0).tolist() == pytest.approx([90, 190], abs=40)
    assert changed.max(axis=0).tolist() == pytest.approx([270, 370], abs=40)
    assert len(np.unique(stored.picture[120:250, 220:340].reshape(-1, 3), axis=0)) <= 36


@pytest.mark.parametrize("rule", [FLAG, REDACT])
def test_a_frame_without_a_face_is_stored_as_it_is(rule: dict[str, Any]) -> None:
    """The very sample comes back, packet and all, when there is nothing to hide or nobody asked."""
    taken = sample(noisy(150, 1) if rule is REDACT else with_face(), jpeg=b"packet")
    judges = Judges(rules(faces=rule))
    judges.look(taken)
    assert judges.redacted(taken) is taken


def test_no_picture_goes_unseen() -> None:
    """A sample nobody looked at is refused rather than stored with its faces."""
    judges = Judges(rules(faces=REDACT))
    with pytest.raises(ValueError, match="was not looked at"):
        judges.redacted(sample(with_face()))
    judges.look(sample(with_face(), 0))
    with pytest.raises(ValueError, match="was not looked at"):
        judges.redacted(sample(with_face(), 1))


@pytest.mark.parametrize("content", [None, b"", b"no network at all\n" * 50], ids=["absent", "empty", "rubbish"])
def test_a_model_that_is_not_there_fails_closed(tmp_path: Path, content: bytes | None) -> None:
    """Asked to look with a model that is absent or no model, nothing is judged: one line says what to do."""
    model = tmp_path / "yunet.onnx"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(ConfigInvalid) as caught:
        Judges(rules(faces={**FLAG, "model": str(model)}))
    assert str(caught.value).startswith(f"judges.faces.model: {model}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("rule", [FLAG, REDACT])
def test_without_a_cascade_it_fails_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any]
) -> None:
    """An OpenCV without cascades, as 5.0 is, gives an error and no unseen frame; with faces off it does not matter."""
    monkeypatch.setattr(cv2, "data", SimpleNamespace(haarcascades=f"{tmp_path}/"))
    with pytest.raises(ConfigInvalid, match=r"^judges\.faces: this OpenCV .* has no face cascade; name a YuNet"):
        Judges(rules(faces=rule))
    monkeypatch.delattr(cv2, "data")
    with pytest.raises(ConfigInvalid, match="has no face cascade"):
        Judges(rules(faces=rule))
    Judges(rules())


class StandInNetwork:
    """What OpenCV makes of a YuNet file, with one face always at the same place of the picture it is given."""

    def __init__(self) -> None:
        self.size = (320, 320)

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802 - OpenCV's name
        self.size = size

    def detect(self, picture: Picture) -> tuple[int, Any]:
        assert (picture.shape[1], picture.shape[0]) == self.size
        if not picture.any():
            return 1, None
        width, height = self.size
        return 1, np.array([[width / 4, height / 2, width / 8, height / 4, *[0] * 10, 0.9]], np.float32)


def test_yunet_faces_are_counted_and_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a model, its boxes (pixels of a shrunk picture) are faces of the whole picture, and hidden there."""
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: StandInNetwork())
    model = tmp_path / "yunet.onnx"
    model.write_bytes(b"a model")
    picture = noisy(120, 1, 20, (1080, 1920))
    judges = Judges(rules(faces={**REDACT, "model": str(model)}))
    taken = sample(picture)
    assert judges.look(taken)["faces"] == 1
    changed = np.argwhere((judges.redacted(taken).picture != picture).any(axis=2))
    assert changed.min(axis=0).tolist() == pytest.approx([540 - 68, 480 - 60], abs=2)
    assert changed.max(axis=0).tolist() == pytest.approx([540 + 270 + 67, 480 + 240 + 60], abs=2)
    dark = sample(np.zeros((90, 160, 3), np.uint8), 1)
    assert judges.look(dark)["faces"] == 0


shares = st.floats(-0.5, 1.5)


@given(st.lists(st.builds(Box, shares, shares, st.floats(0, 1.5), st.floats(0, 1.5)), max_size=4))
def test_redacting_never_fails_and_never_changes_the_original(boxes: list[Box]) -> None:
    """Boxes beyond the edge or without a size are no error, and what was given stays as it was."""
    picture = noisy(120, 1, 20, (24, 40))
    before = picture.copy()
    assert redact(picture, boxes).shape == picture.shape
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("faces", [{"redact": True}, {"model": "yunet.onnx"}])
def test_hiding_without_looking_is_refused(faces: dict[str, Any]) -> None:
    """A setting that could never do anything is a mistake."""
    with pytest.raises(ValueError, match="need an 'action' other than off"):
        Faces.model_validate({"action": "off", **faces})
