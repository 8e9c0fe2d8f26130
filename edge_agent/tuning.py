"""The settings as orders have changed them: what the shadow may set is a setting, so it takes effect as one does."""

from __future__ import annotations

from edge_agent.config import CameraSettings, Settings
from edge_agent.control.commands import Tuning
from edge_agent.errors import EdgeCaptureError
from edge_agent.source_url import check_settings, check_source


def tuned(settings: Settings, tuning: Tuning) -> Settings:
    """*settings* with *tuning* in place of what the file says, as far as it fits the cameras there are. Pure."""
    cameras = {
        name: camera.model_copy(update={"keep_every": tuning.keep_every[name]})
        if name in tuning.keep_every and not sampling_fault(camera, tuning.keep_every[name])
        else camera
        for name, camera in settings.cameras.items()
    }
    upload = settings.upload
    if tuning.bandwidth is not None:
        upload = upload.model_copy(update={"bandwidth": tuning.bandwidth.rate})
    return settings.model_copy(update={"cameras": cameras, "upload": upload})


def sampling_fault(camera: CameraSettings, keep_every: int) -> str:
    """Why *camera* cannot keep one packet in *keep_every*; "" when it can. Pure."""
    try:
        source = check_source(camera.source.get_secret_value())
        check_settings(source, transport=camera.transport, audio=camera.audio, keep_every=keep_every)
    except EdgeCaptureError as error:
        return str(error)
    return ""
