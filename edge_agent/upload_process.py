"""What the upload process is made of; apart from the rest, since the settings' library costs it 20 MB of memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.clock import Clock
from edge_agent.control.desired import DesiredState
from edge_agent.control.uploads import DesiredUploads
from edge_agent.spool import Spool
from edge_agent.tombstones import Tombstones
from edge_agent.upload.job import UploadJob
from edge_agent.upload.limits import Limits

if TYPE_CHECKING:
    from edge_agent.upload.errands import Errands
    from edge_agent.upload.uploader import Uploader

LEDGER_NAME = "ledger.sqlite"


def build_limits(job: UploadJob, clock: Clock) -> Limits:
    """What the uploader of *job* may do, by its settings and by what an operator ordered."""
    return Limits(job.rules(), DesiredUploads(DesiredState(Path(job.state), job.fields)).current, clock)


def link_url(job: UploadJob) -> str | None:
    """What to connect to in order to learn whether the store's network is there again; None: it needs none."""
    if not job.store.startswith("s3://"):
        return None
    region = f".{job.region}" if job.region else ""
    china = ".cn" if region.startswith(".cn-") else ""
    return job.endpoint_url or f"https://s3{region}.amazonaws.com{china}"


def build_errands(job: UploadJob, uploader: Uploader, clock: Clock) -> Errands:
    """What the upload process of *job* does beside."""
    from edge_agent.upload.errands import Errands
    from edge_agent.upload.foreign import Foreign
    from edge_agent.upload.requests import Requests

    foreign = Foreign(job.foreign, Spool(Path(job.spool)), clock, job.device, job.fields)
    return Errands(foreign, Requests(Path(job.state)), uploader.retry, clock, job.rescan_seconds)


def build_uploader(job: UploadJob, clock: Clock) -> Uploader:
    """The uploader *job* describes, with its ledger in the state directory."""
    from edge_agent.credentials import session_factory
    from edge_agent.store import open_store
    from edge_agent.upload.ledger import Ledger
    from edge_agent.upload.uploader import Uploader

    session = session_factory(clock, profile=job.profile, iot=job.iot)
    store = open_store(
        job.store, endpoint_url=job.endpoint_url, region=job.region, session=session, checksum=job.checksum
    )
    state = Path(job.state)
    ledger = Ledger(state / LEDGER_NAME)
    return Uploader(
        Spool(Path(job.spool)),
        store,
        ledger,
        clock,
        device=job.device,
        fields=job.fields,
        rescan_seconds=job.rescan_seconds,
        tombstones=Tombstones(state),
        priorities=job.priorities,
        limits=build_limits(job, clock),
        link_url=link_url(job),
    )
