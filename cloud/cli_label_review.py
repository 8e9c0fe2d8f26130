"""The command ``edge-cloud label review``."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli_options import Endpoint, Fields, Strict, fields_of
from cloud.cli_review import Listening, Reviewer
from cloud.dataset.whole import writing
from cloud.labeling.checks import Suspicion
from cloud.words import counted, quoted
from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from cloud.dataset.pictures import Pictures
    from cloud.labeling.review_catalogue import Decisions
    from cloud.labeling.review_pass import Judge, Task
    from cloud.labeling.review_text import Notes
    from cloud.review.web.server import Listen

PER_CLASS = 96  # four pages


def review(
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="What came back: a file or s3://bucket/key.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Look for pictures here first, by name.")
    ] = None,
    attribute: Annotated[
        str | None, typer.Option("--attribute", metavar="NAME", help="The labels. [default: the last of the chain]")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="NAME", help="Compare with these labels: IoU, disagreements.")
    ] = None,
    sheets: Annotated[
        Path | None, typer.Option("--sheets", metavar="DIR", help="Draw sheets and a histogram; list everything.")
    ] = None,
    per_class: Annotated[
        int, typer.Option("--per-class", min=0, metavar="N", help="Pictures a class on sheets, evenly spread; 0: all.")
    ] = PER_CLASS,
    min_confidence: Annotated[
        list[str] | None,
        typer.Option("--min-confidence", metavar="[CLASS=]X", help="Leave labels below out; may be repeated."),
    ] = None,
    drop_suspicious: Annotated[
        list[Suspicion] | None,
        typer.Option("--drop-suspicious", metavar="KIND", help=f"Leave boxes out: {', '.join(Suspicion)}. Repeatable."),
    ] = None,
    drop_verified: Annotated[
        list[str] | None,
        typer.Option("--drop-verified", metavar="WORD", help="Leave lines out that were verified as WORD. Repeatable."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write a clean manifest: a file or s3://bucket/key."),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Keep or drop by hand, in a browser.")] = False,
    listen: Listening = "127.0.0.1:8765",
    by: Reviewer = None,
    fields: Fields = None,
    strict: Strict = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Look at the labels that came back, and write a clean manifest of those worth training on.

    Says how many lines are labelled, what classes and confidences there are, and which boxes a person should look at:
    tiny, outside of the picture, twice on one object, over the whole picture, of an unusual shape. --sheets draws them,
    and pictures of every class, with their boxes. --serve opens the page of `edge-cloud review` on them; what is
    decided there is stored in overrides/labels/ beside the manifest, and holds for --out.

    --out leaves out lines without a label, repeated lines and what the options and a person say, and counts each with
    its reason; all else is written as it stood. It never overwrites. A confidence that no label reaches drops nothing.
    """
    from cloud.dataset.lines import local_copy
    from cloud.dataset.pictures import Pictures
    from cloud.labeling.filtering import Rules, Thresholds
    from cloud.labeling.review_catalogue import Decisions
    from cloud.labeling.review_pass import Judge, measure, settled
    from cloud.labeling.review_text import overview

    wanted = Rules(
        Thresholds.parse(min_confidence or ()), frozenset(drop_suspicious or ()), frozenset(drop_verified or ())
    )
    listening = _listening(listen, by) if serve else None
    with local_copy(manifest, endpoint_url) as path, closing(Pictures(images, path.parent, endpoint_url)) as pictures:
        task = _task(path, manifest, attribute, against, fields)
        measured = measure(task)
        _say(overview(task, measured))
        rules, told = settled(wanted, measured)
        _say(told)
        decisions = Decisions.beside(manifest, path, endpoint_url)
        if listening is not None:
            _serve(Judge(task, measured, rules), decisions, pictures, *listening)
        words = {number: word.word for number, word in decisions.load(measured.findings).items()}
        _finish(Judge(task, measured, rules, words), pictures, sheets, per_class, out, endpoint_url, strict=strict)


def _task(path: Path, where: str, attribute: str | None, against: str | None, fields: str | None) -> Task:
    """What is reviewed; says which labels were taken where there are several. Raises ConfigInvalid."""
    from cloud.labeling.output import choose, survey
    from cloud.labeling.review_pass import Task, comparable

    found = survey(path, where)
    choice = choose(found, attribute)
    if choice.said:
        typer.echo(choice.said)
    other = choose(found, against) if against is not None else None
    if other is not None and (other.attribute == choice.attribute or not comparable(choice, other)):
        what = f"{quoted(str(other.attribute))} cannot be compared with {quoted(str(choice.attribute))}"
        raise ConfigInvalid(what, where="--against", fix="name other labels of the same kind")
    return Task(path, where, choice, other, fields_of(fields))


def _listening(listen: str, by: str | None) -> tuple[Listen, str]:
    """Where the page is to be, and who reviews; known before the manifest is read. Raises ConfigInvalid."""
    from cloud.review.web.server import Listen, reviewer

    return Listen.parse(listen), reviewer(by)


def _serve(judge: Judge, decisions: Decisions, pictures: Pictures, listen: Listen, by: str) -> None:
    from cloud.labeling.review_catalogue import LabelCatalogue
    from cloud.review.web.server import serve

    catalogue = LabelCatalogue(judge, decisions, pictures, SystemClock())
    typer.echo(f"reviewing {judge.task.where}; Ctrl-C ends it; decisions go to {decisions.where()}")
    serve(
        catalogue,
        listen,
        by=by,
        price=None,
        tell=lambda line: typer.echo(line, err=not line.startswith("http")),
        stop=threading.Event(),
    )


def _finish(
    judge: Judge,
    pictures: Pictures,
    sheets: Path | None,
    per_class: int,
    out: str | None,
    endpoint_url: str | None,
    *,
    strict: bool,
) -> None:
    """Judge every line; say, draw and write what was asked for. Nothing is written to *out* when --strict fails."""
    from cloud.labeling.fetch import publish
    from cloud.labeling.review_text import Notes, agreement_lines, listed, outcome

    notes, task, findings = Notes(), judge.task, judge.measured.findings
    with tempfile.TemporaryDirectory(prefix="label-review-") as directory:
        clean = Path(directory) / "clean"
        _judge(judge, notes, clean if out is not None else None, sheets)
        if task.against is not None:
            _say(agreement_lines(judge.agreement, str(task.against.attribute), str(task.choice.attribute)))
        _say(listed("disagreements", notes.disagreements))
        _say(listed("suspicious boxes", notes.suspicious))
        _say(listed("lines nobody labelled", notes.unlabelled))
        if sheets is not None:
            _draw(judge, pictures, sheets, per_class)
        for line in findings.lines():
            typer.echo(line, err=True)
        findings.raise_if_strict(strict)
        notes.unlabelled.raise_if_strict(strict)
        _say(outcome(notes, findings))
        if out is None:
            typer.echo(f"a clean manifest would have {counted(notes.kept, 'line')}: --out FILE writes it")
        else:
            publish(clean, out, endpoint_url)
            typer.echo(f"{out}: {counted(notes.kept, 'line')}")


def _judge(judge: Judge, notes: Notes, clean: Path | None, sheets: Path | None) -> None:
    """The pass over all lines: to *notes*, to the manifest *clean*, to the list of everything beside *sheets*."""
    from cloud.labeling.review_sheets import report_lines

    with ExitStack() as stack:
        manifest = stack.enter_context(_written(clean)) if clean is not None else None
        report = stack.enter_context(_written(sheets / "report.jsonl")) if sheets is not None else None
        for one in judge.all():
            notes.add(one)
            if manifest is not None and not one.cleaned.left_out:
                manifest([one.clean_line()])
            if report is not None:
                report(report_lines(one))


@contextmanager
def _written(path: Path) -> Iterator[Callable[[Iterable[str]], None]]:
    """What writes lines to *path*. Raises as ``whole.writing``, of this file and of no other."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:

            def put(lines: Iterable[str]) -> None:
                with writing(path):
                    file.writelines(f"{line}\n" for line in lines)

            yield put


def _draw(judge: Judge, pictures: Pictures, directory: Path, per_class: int) -> None:
    from cloud.labeling import review_sheets

    made = review_sheets.draw_all(judge, review_sheets.Sheets(directory, pictures, per_class or None))
    typer.echo(f"{directory}: {len(made)} pictures, and in report.jsonl all that was found")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
