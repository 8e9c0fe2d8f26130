"""What a reviewer decided about single frames: ``overrides/<stem>.json``, one small file a video.

::

    {"format": 1, "video": "<etag of the video>", "decisions": {"23": {"decision": "drop", "by": "ann", "at": "…Z"}}}

Two reviewers at once lose nothing: each writes by compare-and-swap and merges frame by frame; of two decisions about
one frame the one written later stands. Decisions are about ordinals of one version of the video: once the video under
the name is another, they say nothing any more, and are kept until somebody decides anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.dataset.index import JSON
from edge_agent.errors import ObjectConflict, ObjectExists, ObjectNotFound, PreconditionFailed
from edge_agent.store import ObjectStore

OVERRIDES = "overrides/"
_ATTEMPTS = 64  # of racing reviewers one gets through in every round


class Decision(BaseModel):
    """A person's word on one frame; ``at`` is UTC, ISO 8601."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    decision: Literal["keep", "drop"]
    by: str = ""
    at: str = ""


class Overrides(BaseModel):
    """All decisions on one version (``video``: its ETag) of a video, by the frame's ordinal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    video: str
    decisions: dict[int, Decision] = Field(default_factory=dict)

    def to_json(self) -> bytes:
        ordered = self.model_copy(update={"decisions": dict(sorted(self.decisions.items()))})
        return (ordered.model_dump_json(indent=1) + "\n").encode()


def key_of(stem: str) -> str:
    return f"{OVERRIDES}{stem}.json"


def stored(store: ObjectStore, stem: str) -> Overrides | None:
    """What stands there, on whatever version of the video *stem*; None when nobody ever decided.

    Raises ObjectConflict when the file is damaged.
    """
    try:
        body = store.get(key_of(stem)).body
    except ObjectNotFound:
        return None
    return _parse(body, store.uri(key_of(stem)))


def load(store: ObjectStore, stem: str, video: str) -> Overrides:
    """The decisions on the version *video* of the video *stem*; none when nobody decided, or on another version.

    Raises ObjectConflict when the file is damaged: decisions are a person's work and not to be passed over in silence.
    """
    found = stored(store, stem)
    return found if found is not None and found.video == video else Overrides(video=video)


def decide(
    store: ObjectStore,
    stem: str,
    video: str,
    changes: Mapping[int, Decision | None],
    current: Callable[[], bool] = lambda: True,
) -> Overrides:
    """Write *changes* (None takes a decision back) over what others decided meanwhile; what then stands.

    *current* is asked before decisions on another version are replaced: whether *video* is still the one there is.
    Raises ObjectConflict when it is not, and when the file is damaged, PreconditionFailed when others kept winning the
    race.
    """
    key = key_of(stem)
    for _ in range(_ATTEMPTS):
        try:
            found = store.get(key)
        except ObjectNotFound:
            found = None
        before = _parse(found.body, store.uri(key)) if found else Overrides(video=video)
        if before.video != video and not current():
            what = "holds decisions on a newer version of the video than the one shown, and is left as it is"
            raise ObjectConflict(what, where=store.uri(key), fix="start the review again, and decide anew")
        former = before.decisions if before.video == video else {}
        merged = {**former, **changes}
        after = Overrides(video=video, decisions={index: word for index, word in merged.items() if word is not None})
        if found is not None and after == before:
            return after
        try:
            if found is None:
                store.put_if_absent(key, after.to_json(), content_type=JSON)
            else:
                store.put_if_match(key, after.to_json(), found.info.etag, content_type=JSON)
        except (ObjectExists, PreconditionFailed):
            continue
        return after
    raise PreconditionFailed(f"others won {_ATTEMPTS} times in a row", where=store.uri(key), fix="try again")


def _parse(body: bytes, where: str) -> Overrides:
    try:
        return Overrides.model_validate_json(body)
    except ValidationError as error:
        raise ObjectConflict("holds no review decisions", where=where, fix="mend it, or move it away") from error
