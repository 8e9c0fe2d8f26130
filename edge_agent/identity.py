"""A device's identity with AWS IoT: checked by the configuration, handed as it is to the upload process."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edge_agent.errors import ConfigInvalid, CredentialsRefused

# What AWS IoT takes (API reference: CreateRoleAlias, CreateThing).
_ROLE_ALIAS = re.compile(r"[\w=,@-]{1,128}", re.ASCII)
_THING = re.compile(r"[A-Za-z0-9:_-]{1,128}")
_ENDPOINT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")

_ASK = "write what `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` prints"


@dataclass(frozen=True, slots=True, kw_only=True)
class IotIdentity:
    """Certificate and private key (PEM files), and where and for which role alias they are shown.

    ``endpoint`` is ``host`` or ``host:port``. ``thing`` is the certificate's thing; empty: the device's name.
    ``ca`` is a PEM file of the authorities the endpoint is checked against; None for the system's.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    endpoint: str
    role_alias: str
    certificate: str
    private_key: str
    thing: str = ""
    ca: str | None = None


def misfit(identity: IotIdentity, url: str, profile: str | None, device: str) -> str:
    """Why the other settings of a store do not go with *identity*; "" when they do. Pure."""
    if not url.startswith("s3://"):
        return ": a directory needs no credentials; remove it, or write url: s3://bucket"
    if profile:
        return ": the profile gives credentials too; remove one of them"
    if not identity.thing and not _THING.fullmatch(device):
        return ".thing: is not given, and the device's name cannot be a thing's; write the thing's name"
    return ""


def check_identity(identity: IotIdentity) -> None:
    """Refuse what no service would take; files are not looked at. Raises ConfigInvalid, a line for each fault."""
    faults = []
    if not _ENDPOINT.fullmatch(identity.endpoint):
        faults.append(f".endpoint: is no host name; {_ASK}")
    elif ".iot." in identity.endpoint and ".credentials.iot." not in identity.endpoint:
        faults.append(f".endpoint: is that of messages, not of credentials; {_ASK}")
    if not _ROLE_ALIAS.fullmatch(identity.role_alias):
        faults.append(".role_alias: cannot be; write 1 to 128 of A-Z a-z 0-9 _ = , @ -")
    if identity.thing and not _THING.fullmatch(identity.thing):
        faults.append(".thing: cannot be; write 1 to 128 of A-Z a-z 0-9 : _ -")
    faults += [
        f".{name}: is empty; name a PEM file"
        for name in ("certificate", "private_key", "ca")
        if getattr(identity, name) == ""
    ]
    if faults:
        raise ConfigInvalid("\n".join(faults))


def is_endpoint(text: str) -> bool:
    """Whether *text* is ``host`` or ``host:port``."""
    return _ENDPOINT.fullmatch(text) is not None


def is_thing(name: str) -> bool:
    """Whether AWS IoT takes *name* for a thing."""
    return _THING.fullmatch(name) is not None


def check_private_key(path: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a private key that others may read; a link is followed. Raises CredentialsRefused, OSError.

    In systemd's credentials directory the group's bits are the mask of an access list that names the service's user.
    """
    real = path.resolve(strict=True)
    mode = real.stat().st_mode & 0o777
    directory = environ.get("CREDENTIALS_DIRECTORY")
    granted = bool(directory) and real.is_relative_to(Path(directory or "").resolve())
    if mode & (0o037 if granted else 0o077):
        raise CredentialsRefused(
            f"private key is open to others (mode {mode:04o})", where=str(real), fix=f"chmod 600 {real}"
        )


def unseen_files(identity: IotIdentity, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Those of *identity*'s files that are not there, or not for this user to look at: no fault, the agent's may.

    Raises CredentialsRefused for a private key that is there, and open to others.
    """
    with suppress(OSError):
        check_private_key(Path(identity.private_key), environ)
    named = (identity.certificate, identity.private_key, identity.ca)
    return [name for name in named if name and not os.access(name, os.F_OK)]
