"""The commands ``edge-cloud manifest build`` and ``edge-cloud manifest merge``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli_options import ConfigFile, Endpoint, Fields, Strict, settings_of
from cloud.words import plain
from edge_agent.errors import ConfigInvalid
from edge_agent.store import ObjectStore

if TYPE_CHECKING:
    from cloud.dataset.compose import Composed, Rules, Tally
    from cloud.dataset.lines import Line
    from cloud.dataset.places import Place
    from cloud.dataset.select import Axis, Wanted

_CLASSES = 20  # that are named where none fits
group = typer.Typer(
    name="manifest",
    help="Build, join, check and look at labelling manifests.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Nth = Annotated[int, typer.Option("--every", min=1, metavar="N", help="Take every Nth line of each video.")]
Total = Annotated[
    int | None, typer.Option("--total", min=1, metavar="N", help="Take N lines, evenly spread over videos and frames.")
]
Balance = Annotated[
    str | None,
    typer.Option("--balance", metavar="AXES", help="class, camera or class,camera: as many of each as there are."),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split", metavar="A/B/C", help="Training, validation and test by video: 80/10/10 adds a 'split' key."
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="The same seed chooses and splits the same.")]


@group.command("build")
def build(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A directory or s3://bucket.")],
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="NAME", help="Write datasets/NAME/ in the dataset.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="Write there instead: a file or s3://bucket/key.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="TAG", help="Only this class, as in yellow_box; * fits all.")
    ] = None,
    devices: Annotated[
        list[str] | None, typer.Option("--device", metavar="NAME", help="Only what this device recorded; * fits all.")
    ] = None,
    stems: Annotated[
        list[str] | None, typer.Option("--video", metavar="STEM", help="Only this video; blue_box_* fits many.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Only frames from then on: 2026-11-22T14:00, UTC.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only frames before then.")] = None,
    every: Nth = 1,
    drop_twins: Annotated[
        bool, typer.Option("--drop-twins", help="Leave out frames that show what one of another video shows.")
    ] = False,
    total: Total = None,
    balance: Balance = None,
    split: Split = None,
    seed: Seed = 0,
    extra: Annotated[
        str | None,
        typer.Option("--extra", metavar="KEYS", help="Add to lines: captured,camera,device,frame,scores."),
    ] = None,
    rebase: Annotated[
        list[str] | None,
        typer.Option("--rebase", metavar="[FROM=]TO", help="Pictures stand under TO, in place of FROM or the dataset."),
    ] = None,
    strict: Strict = False,
    config: ConfigFile = None,
    fields: Fields = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Make one manifest, ready for a labelling job, of what was extracted.

    In this order: lines are chosen by name and time, review decisions are applied, every Nth is taken, twins go,
    a total is chosen, videos are given their sides. Of the same dataset and options comes the same manifest, to the
    byte. Beside it stands NAME.report.json: what went in, what each rule took out, and what that saves. More lines
    than a labelling job takes become NAME-0001.manifest and so on. A manifest of the same name is replaced.
    """
    from cloud.dataset.build import Request, described
    from cloud.dataset.build import build as build_from
    from cloud.dataset.compose import Tally
    from cloud.dataset.entries import Rebase
    from cloud.dataset.select import Wanted

    settings = settings_of(config, None, None, fields, endpoint_url, dataset=dataset)
    store = settings.dataset.open()
    store.check()
    target = _target(name, out, store, endpoint_url)
    moments = [_moment(text, option) for text, option in ((since, "--from"), (until, "--until"))]
    home = store.uri("x").removesuffix("x")
    request = Request(
        wanted=Wanted(tuple(classes or ()), tuple(devices or ()), tuple(stems or ()), *moments),
        rules=_rules(every, total, balance, split, seed),
        twins=settings.judges.duplicate.threshold if drop_twins else None,
        extra=_extra(extra, settings.fields),
        usual=settings.lines.extra,
        rebase=tuple(Rebase.parse(text, home) for text in rebase or ()),
        class_fields=settings.fields,
    )
    tally = Tally()
    composed = build_from(store, request, tally)
    said = {"command": "build", **described(request)}
    fix = "" if composed.entries else _instead(store, request.wanted)
    _finish(target, composed, said, settings.price_per_label, tally, strict, fix, request.extra)


@group.command("merge")
def merge(
    manifests: Annotated[
        list[str], typer.Argument(metavar="MANIFEST...", help="Files or s3://bucket/key, ours or not.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Write there: a file or s3://bucket/key.")],
    every: Nth = 1,
    total: Total = None,
    balance: Balance = None,
    split: Split = None,
    seed: Seed = 0,
    rebase: Annotated[
        list[str] | None, typer.Option("--rebase", metavar="FROM=TO", help="Pictures stand under TO in place of FROM.")
    ] = None,
    strict: Strict = False,
    config: ConfigFile = None,
    fields: Fields = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Join manifests, of this tool or any other, into one: each picture once, by video and frame.

    Lines of the same picture become one line with the labels of both. Where they disagree, the first one's word
    stands, and every such line is reported. Then it is chosen and split as in build.
    """
    from cloud.dataset.build import Request, described
    from cloud.dataset.compose import Tally
    from cloud.dataset.entries import Rebase
    from cloud.dataset.merge import merge as merge_lines
    from cloud.dataset.places import place_at

    settings = settings_of(config, None, None, fields, endpoint_url, dataset=".")  # only its fields and price
    target = place_at(out, endpoint_url)
    rules = _rules(every, total, balance, split, seed)
    rebases = tuple(Rebase.parse(text) for text in rebase or ())
    tally = Tally()
    lines = (_lines(manifest, endpoint_url, tally) for manifest in manifests)
    composed = merge_lines(lines, rules, rebases, settings.fields, tally)
    said = {"command": "merge", **described(Request(rules=rules, rebase=rebases, class_fields=settings.fields))}
    _finish(target, composed, said, settings.price_per_label, tally, strict, "loosen what is asked for")


def _rules(every: int, total: int | None, balance: str | None, split: str | None, seed: int) -> Rules:
    from cloud.dataset.compose import Rules
    from cloud.dataset.split import Shares

    return Rules(seed, every, total, _axes(balance), Shares.parse(split) if split is not None else None)


def _target(name: str | None, out: str | None, store: ObjectStore, endpoint_url: str | None) -> tuple[Place, str]:
    from cloud.dataset.places import StoreFolder, check_name, place_at

    if out is not None and name is None:
        return place_at(out, endpoint_url)
    if name is None or out is not None:
        raise ConfigInvalid("a manifest needs --name or --out, and not both", fix="for instance --name boxes-1")
    return StoreFolder(store, f"datasets/{check_name(name)}/"), name


def _axes(text: str | None) -> tuple[Axis, ...]:
    known: dict[str, Axis] = {"class": "class", "camera": "camera"}
    names = [part.strip() for part in text.split(",")] if text is not None else []
    if len(set(names)) < len(names) or not set(names) <= known.keys():
        raise ConfigInvalid(f"--balance: {ascii(text)[:80]} is not class, camera or class,camera")
    return tuple(known[name] for name in names)


def _extra(text: str | None, fields: Sequence[str]) -> tuple[str, ...]:
    from pydantic import ValidationError

    from cloud.settings import Lines

    try:
        extra = Lines.model_validate({"extra": text or ()}).extra
    except ValidationError as error:
        raise ConfigInvalid(
            f"--extra: {ascii(text)[:80]} has keys nobody knows", fix="captured,camera,device,frame,scores"
        ) from error
    if twice := sorted(set(extra) & set(fields)):
        raise ConfigInvalid(f"--extra: {', '.join(twice)} is a class field already", fix="leave it out")
    return extra


def _moment(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigInvalid(
            f"{option}: {ascii(text)[:80]} is no time", fix="write 2026-11-22 or 2026-11-22T14:00:00Z"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _lines(manifest: str, endpoint_url: str | None, tally: Tally) -> Iterator[Line]:
    from cloud.dataset.lines import local_copy, read_lines

    with local_copy(manifest, endpoint_url) as path:
        before = tally.read
        yield from read_lines(path, tally.findings, manifest)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    tally.inputs.append({"uri": manifest, "sha256": digest, "lines": tally.read - before})


def _instead(store: ObjectStore, wanted: Wanted) -> str:
    """What to do when *store* has no line that is *wanted*."""
    from cloud.dataset.gather import classes_of

    there = classes_of(store)
    if not there:
        return "nothing was extracted there: is this the dataset?"
    if not any(map(wanted.has_class, there)):
        more = "" if len(there) <= _CLASSES else f" and {len(there) - _CLASSES:,} more"
        return f"the classes there are: {', '.join(map(plain, there[:_CLASSES]))}{more}"
    return "loosen what is asked for"


def _finish(
    target: tuple[Place, str],
    composed: Composed,
    rules: Mapping[str, object],
    price: float,
    tally: Tally,
    strict: bool,
    fix: str,
    extra: Sequence[str] = (),
) -> None:
    """Write the manifest, and say what it is. Findings are told first, whatever becomes of it.

    *fix* is what to do where no line is left, *extra* the keys that were asked for.
    """
    from cloud.dataset.compose import rendered
    from cloud.dataset.shards import REPORT_SUFFIX, Label, publish, summary

    place, name = target
    label = Label(name, f"edge-cloud {version('edge-capture')}", rules, price)
    try:
        if not composed.entries:
            raise ConfigInvalid(f"no line is left of {tally.read:,} read", where=name, fix=fix)
        report = publish(place, rendered(composed, name, tally, extra), composed, label, tally, strict)
    finally:
        for line in tally.findings.lines():
            typer.echo(f"warning: {line}", err=True)
    for line in summary(report):
        typer.echo(line)
    for file in report.files:
        typer.echo(f"manifest {place.address(file.name)}")
    typer.echo(f"report {place.address(name + REPORT_SUFFIX)}")
