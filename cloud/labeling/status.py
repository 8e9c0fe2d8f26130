"""How far labelling jobs are, and what they have cost; waiting for their end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from cloud.labeling.cost import Estimate, service_cost
from cloud.labeling.job_service import Job
from edge_agent.clock import Clock
from edge_agent.errors import StoreThrottled, StoreUnreachable

POLL_SECONDS = 60.0  # tasks take minutes at least
MAX_POLL_SECONDS = 600.0


def spent(job: Job, service_price: Decimal | None = None) -> Decimal:
    """What *job* has cost so far, US dollars: the service for what is labelled, and a public work force. Pure."""
    return service_cost(job.labelled, service_price) + Estimate(job.by_people, job.workers, job.price).work


def as_json(job: Job) -> dict[str, Any]:
    """*job* for a program: as it is, with what it cost and where its results stand."""
    fields = {**asdict(job), "price": float(job.price), "spent": float(spent(job)), "objects": job.objects}
    return {**fields, "output": job.output_manifest, "ended": job.ended}


def wait(
    names: Sequence[str],
    describe: Callable[[str], Job],
    clock: Clock,
    stop: threading.Event,
    told: Callable[[Sequence[Job]], None],
) -> list[Job]:
    """The jobs once all of them have ended, or *stop* is set; *told* hears of each look.

    A link that is gone, or a service that is busy, is waited out. Raises all else ``describe`` does.
    """
    jobs, pause = [describe(name) for name in names], POLL_SECONDS
    told(jobs)
    while not all(job.ended for job in jobs) and not clock.wait(stop, pause):
        try:
            jobs = [job if job.ended else describe(job.name) for job in jobs]
        except (StoreUnreachable, StoreThrottled):
            pause = min(2 * pause, MAX_POLL_SECONDS)
            continue
        pause = POLL_SECONDS
        told(jobs)
    return jobs


def rows(jobs: Sequence[Job]) -> Iterator[tuple[str, ...]]:
    """A line of a table for each job: name, state, labelled of all, failed, unlabelled, spent. Pure."""
    for job in jobs:
        share = f" ({100 * job.labelled / job.objects:.0f} %)" if job.objects else ""
        yield (
            job.name,
            job.status,
            f"{job.labelled:,}{share}",
            f"{job.failed:,}",
            f"{job.unlabelled:,}",
            f"{spent(job):,.2f} USD",
        )
