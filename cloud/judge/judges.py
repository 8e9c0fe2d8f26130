"""All judges of one video, in bounded memory: about 600 bytes a sampled frame, 65 MB for every frame of an hour."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloud.judge import whole
from cloud.judge.faces import Box, Finder, open_finder, redact
from cloud.judge.looks import looks
from cloud.judge.measure import COARSE_TILES, Measures, measure
from cloud.judge.policy import Scores, by_name, rounded, verdict
from cloud.judge.repeats import Originals, settled
from cloud.judge.rules import JudgeRules

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cloud.decode.sample import Picture, Sample


class Judges:
    """One per video: :meth:`look` at each sample in order, then :meth:`finish`. Not for several threads at once."""

    def __init__(self, rules: JudgeRules) -> None:
        """Raises ConfigInvalid when faces are to be looked for and the model (or OpenCV's cascade) is not there."""
        self._rules = rules
        self._names = frozenset(name for name, rule in by_name(rules).items() if rule.action != "off")
        self._finder: Finder | None = open_finder(rules.faces)
        self._rows = bytearray()  # grows in place; a list of objects would take ten times as much
        self._originals = Originals(rules.duplicate.threshold)
        self._seen = 0
        self._latest: tuple[int, list[Box]] | None = None

    def look(self, sample: Sample) -> Scores:
        """Take the next sample; the scores that can be told from it alone. Without judges no picture is made."""
        self._seen += 1
        if not self._names:
            self._latest = (sample.index, [])
            return {}
        grey = sample.grey
        measures = measure(grey)
        boxes = self._finder.find(replace(sample, make_grey=lambda: grey)) if self._finder else []  # made once
        self._latest = (sample.index, boxes)
        row = _row(measures, len(boxes))
        alone = self._alone(row[0])
        stays = verdict(alone, self._rules).verdict != "rejected"
        row["likeness"], row["repeats"] = self._originals.add(self._seen - 1, measures, stays=stays)
        self._rows += row.tobytes()
        return alone

    def redacted(self, sample: Sample) -> Sample:
        """What to store and to show: *sample* itself, or one whose picture has the faces found in it gone.

        The latter has no ``jpeg``, as the video's own packet shows the faces. To be called with the sample that
        :meth:`look` took last; ValueError otherwise. Its picture is made when asked for, in any thread.
        """
        if self._latest is None or self._latest[0] != sample.index:
            raise ValueError(f"frame {sample.index} was not looked at last")  # nothing unseen may be stored
        boxes = self._latest[1]
        if not (self._rules.faces.redact and boxes):
            return sample

        def _redacted_picture() -> Picture:
            return redact(sample.picture, boxes)

        return sample.redrawn(_redacted_picture)

    def finish(self) -> list[Scores]:
        """All scores of every sample, in order: for :func:`cloud.judge.policy.verdicts`."""
        import numpy as np

        if not self._names:
            return [{} for _ in range(self._seen)]
        rows = np.frombuffer(self._rows, _row_type())
        rules, scores = self._rules, [self._alone(row) for row in rows]
        self._add(scores, "blur", whole.blur(rows["sharpness"].tolist()))
        if "background" in self._names:
            self._add(scores, "background", whole.background(rows["tiles"], rules.background.threshold))
        if "duplicate" in self._names:
            rejected = [verdict(of_frame, rules).verdict == "rejected" for of_frame in scores]
            likenesses = [rounded(score) for score in rows["likeness"].tolist()]
            self._add(scores, "duplicate", settled(likenesses, rows["repeats"].tolist(), rejected))
        order = [name for name in by_name(rules) if name in self._names]
        for number, of_frame in enumerate(scores):  # in place: an hour's scores would else be held twice
            scores[number] = {name: of_frame[name] for name in order}
        return list(scores)

    def looks(self) -> list[str | None]:
        """The look of every sample, in order (:mod:`cloud.judge.looks`); None when every judge is off."""
        import numpy as np

        if not self._names:
            return [None] * self._seen
        rows = np.frombuffer(self._rows, _row_type())
        return [*looks(rows["hash"].tolist(), rows["tiles"])]

    def _alone(self, row: Any) -> dict[str, float]:
        """The scores of the frame with record *row*, by the judges that are on and need no other frame."""
        scores = {
            "blank": 1 - int(row["spread"]) / 255,
            "under_exposed": float(row["dark"]),
            "over_exposed": float(row["bright"]),
            "faces": int(row["faces"]),
        }
        return {name: rounded(score) for name, score in scores.items() if name in self._names}

    def _add(self, scores: list[dict[str, float]], name: str, found: list[float]) -> None:
        if name in self._names:
            for of_frame, score in zip(scores, found, strict=True):
                of_frame[name] = score


def _row_type() -> Any:
    import numpy as np

    return np.dtype(
        [
            ("likeness", "<f4"),
            ("repeats", "<u4"),
            ("hash", "<u8"),
            ("dark", "<f4"),
            ("bright", "<f4"),
            ("faces", "<u2"),
            ("spread", "u1"),
            ("sharpness", "u1"),
            ("tiles", "u1", (COARSE_TILES,)),
        ]
    )


def _row(measures: Measures, faces: int) -> NDArray[np.void]:
    import numpy as np

    row = np.zeros(1, _row_type())
    row["dark"], row["bright"] = measures.dark, measures.bright
    row["faces"], row["spread"], row["sharpness"] = faces, measures.spread, measures.sharpness
    row["hash"], row["tiles"] = measures.hash, measures.coarse
    return row
