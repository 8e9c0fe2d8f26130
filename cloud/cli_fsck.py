"""The command ``edge-cloud fsck``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from cloud.cli_options import ConfigFile, Endpoint, Every, Fields, Seconds, settings_of, show
from cloud.words import counted
from edge_agent.clock import SystemClock


def fsck(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A directory or s3://bucket.")],
    raw: Annotated[str | None, typer.Option("--raw", metavar="STORE", help="Where the videos are.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what follows from what is there.")] = False,
    gone: Annotated[
        bool, typer.Option("--gone", help="With --repair: take out what was made of videos no longer in --raw.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigFile = None,
    every: Every = None,
    seconds: Seconds = None,
    fields: Fields = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Check manifest, index, frames and, with --raw, videos of a data set against each other.

    Prints what is wrong and what to do about it; exits with 1 when something is. Give the settings the data set was
    made with. --repair writes lines anew from the index and deletes what belongs to nothing; with --raw it processes
    videos again whose frames are missing, damaged, or of other settings. Then what is still wrong is printed.
    """
    from cloud.fsck import check
    from cloud.repair import repair as mend

    settings = settings_of(config, every, seconds, fields, endpoint_url, dataset=dataset, raw=raw)
    store, videos = settings.dataset.open(), settings.raw.open() if settings.raw is not None else None
    for each in (store, videos):
        if each is not None:
            each.check()
    findings = list(check(store, settings, videos))
    before = len(findings)
    if repair and findings:
        for error in mend(findings, store, settings, SystemClock(), videos, gone=gone):
            show(error)
        findings = list(check(store, settings, videos))
    for finding in findings:
        if as_json:
            typer.echo(json.dumps({**asdict(finding), "fix": finding.fix}))
        else:
            typer.echo(f"{finding.key}: {finding.what}; {finding.fix}  [{finding.fault}]")
    if not as_json:
        typer.echo(_sum(before, len(findings), repair=repair))
    if findings:
        raise typer.Exit(1)


def _sum(before: int, after: int, *, repair: bool) -> str:
    if not before:
        return "nothing is wrong"
    if repair:
        return f"{counted(before, 'fault')} found, {before - after if after < before else 0} mended, {after} left"
    return f"{counted(before, 'fault')} found"
