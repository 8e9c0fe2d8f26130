"""Fetching the output of a labelling job: from the service's bucket to where it is wanted."""

from __future__ import annotations

from contextlib import ExitStack

from cloud.dataset.findings import Findings
from cloud.dataset.lines import local_copy
from cloud.labeling.fetch import Tally, compare, publish
from cloud.labeling.job_service import Job
from edge_agent.errors import ObjectNotFound


def fetch(
    job: Job,
    manifest: str | None,
    target: str,
    findings: Findings,
    endpoint_url: str | None = None,
    *,
    strict: bool = False,
) -> tuple[Tally, bool]:
    """Put what *job* has written so far at *target*; what came back, and whether it was not there already.

    *manifest* is what was sent, the job's own input when None. Raises ObjectNotFound when nothing was written yet,
    ObjectConflict when something else is at *target*, FindingsPresent when *strict*, and what a store raises.
    """
    source, where = manifest or job.manifest, job.output_manifest
    with ExitStack() as stack:
        try:
            output = stack.enter_context(local_copy(where, endpoint_url))
        except ObjectNotFound as error:
            fix = "it ended before anything was labelled" if job.ended else "wait for its end: label status --wait"
            raise ObjectNotFound(f"the job ({job.status}) wrote no output", where=where, fix=fix) from error
        sent = stack.enter_context(local_copy(source, endpoint_url))
        tally = compare(sent, output, job.attribute, findings, (source, where))
        findings.raise_if_strict(strict)
        return tally, publish(output, target, endpoint_url)
