"""What is wrong with a component's recipe: faults that neither nucleus, nor gdk, tells before the deployment fails.

Nucleus lite's rules are those of its source (docs/RECIPE_SUPPORT_CHANGES.md, modules/recipe2unit, modules/ggipcd);
names and sizes those of the API reference (CreateComponentVersion) and of gdk. Pure.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

RECIPE_BYTES = 16_000  # gdk: MAX_RECIPE_FILE_SIZE_BYTES
SCRIPT_BYTES = 10_000  # lite: MAX_SCRIPT_LENGTH
POLICY_BYTES = 3_000  # lite parses a service's policies into 4096 bytes; its structures take the rest
NAME = re.compile(r"(?!aws\.greengrass\.)[A-Za-z0-9._-]{1,128}")
VERSION = re.compile(r"(?=.{1,64}$)\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
S3_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/(?:[\w.-]+/)*(?P<file>[\w.-]+)")
VARIABLE = re.compile(r"\{(artifacts:path|artifacts:decompressedPath|work:path|kernel:rootPath|iot:thingName)\}")
MQTT_PROXY = "aws.greengrass.ipc.mqttproxy"
OPERATIONS = {"aws.greengrass#PublishToIoTCore", "aws.greengrass#SubscribeToIoTCore"}
TOKENS = "aws.greengrass.TokenExchangeService"

KEYS: Mapping[str, Collection[str]] = {
    "": (
        *("RecipeFormatVersion", "ComponentName", "ComponentVersion", "ComponentType", "ComponentDescription"),
        *("ComponentPublisher", "ComponentConfiguration", "ComponentDependencies", "Manifests"),
    ),
    "ComponentConfiguration": ("DefaultConfiguration",),
    "Manifest": ("Name", "Platform", "Lifecycle", "Artifacts"),
    "Platform": ("os", "architecture", "runtime"),
    "Lifecycle": ("install", "run", "Setenv"),
    "Phase": ("Script", "Timeout", "Setenv", "RequiresPrivilege"),
    "Artifact": ("Uri", "Unarchive", "Permission", "Digest", "Algorithm"),
    "Dependency": ("VersionRequirement", "DependencyType"),
    "Policy": ("policyDescription", "operations", "resources"),
}
"""What may stand where; lite overlooks a key of another case, and with it all that is below."""
FORBIDDEN = {
    "shutdown": "nucleus lite never runs it",
    "recover": "nucleus lite never runs it",
    "bootstrap": "it restarts the nucleus, and lite knows only half of it",
    "startup": "it must end by itself; a program that stays is run",
    "Skipif": "nucleus lite overlooks it",
}


def faults(recipe: Mapping[str, Any], artifacts: Collection[str]) -> list[str]:
    """A line for each fault of *recipe*, as it will be deployed; *artifacts*: names of the files built for it."""
    found = [*_keys("", "recipe", recipe), *_names(recipe), *_dependencies(recipe), *_configuration(recipe)]
    manifests = recipe.get("Manifests") or []
    if not manifests:
        found.append("recipe: has no manifest")
    for number, manifest in enumerate(manifests):
        found += _manifest(f"Manifests[{number}]", manifest, artifacts)
    size = len(json.dumps(recipe, indent=2).encode())
    if size > RECIPE_BYTES:
        found.append(f"recipe: has {size} bytes, may have {RECIPE_BYTES}")
    return found


def _keys(kind: str, where: str, section: Any) -> Iterator[str]:
    """Faults of *section*'s keys; of none that is no object at all."""
    if not isinstance(section, Mapping):
        yield f"{where}: is no object"
        return
    known = KEYS[kind]
    for key in section:
        if key in FORBIDDEN:
            yield f"{where}.{key}: is forbidden: {FORBIDDEN[key]}"
        elif key not in known:
            folded = {right.casefold(): right for right in known}
            close = difflib.get_close_matches(str(key).casefold(), folded, 1)
            yield f"{where}.{key}: is spelt {folded[close[0]]}" if close else f"{where}.{key}: is unknown"


def _names(recipe: Mapping[str, Any]) -> Iterator[str]:
    if recipe.get("RecipeFormatVersion") != "2020-01-25":
        yield "RecipeFormatVersion: is not 2020-01-25"
    if not NAME.fullmatch(str(recipe.get("ComponentName"))):
        yield "ComponentName: is none: 1 to 128 of A-Z a-z 0-9 . _ -, not beginning with aws.greengrass."
    if not VERSION.fullmatch(str(recipe.get("ComponentVersion"))):
        yield "ComponentVersion: is no semantic version of at most 64 characters"
    if recipe.get("ComponentType", "aws.greengrass.generic") != "aws.greengrass.generic":
        yield "ComponentType: is not aws.greengrass.generic, all that nucleus lite runs"


def _dependencies(recipe: Mapping[str, Any]) -> Iterator[str]:
    wanted = recipe.get("ComponentDependencies") or {}
    if wanted.get(TOKENS, {}).get("DependencyType") != "HARD":
        yield f"ComponentDependencies: no HARD one on {TOKENS}, so no credentials"
    for name, dependency in wanted.items():
        yield from _keys("Dependency", f"ComponentDependencies.{name}", dependency)


def _configuration(recipe: Mapping[str, Any]) -> Iterator[str]:
    section = recipe.get("ComponentConfiguration") or {}
    yield from _keys("ComponentConfiguration", "ComponentConfiguration", section)
    defaults = section.get("DefaultConfiguration") or {}
    for path, value in _scalars(defaults, "DefaultConfiguration"):
        if not isinstance(value, str):
            yield f"{path}: is no string; lite makes one of it, the classic nucleus does not"
    for service, policies in (defaults.get("accessControl") or {}).items():
        if service != MQTT_PROXY:
            yield f"accessControl.{service}: is not needed; only {MQTT_PROXY} is"
            continue
        for name, policy in policies.items():
            yield from _policy(f"accessControl.{service}.{name}", name, policy, str(recipe.get("ComponentName")))
        if len(json.dumps(policies)) > POLICY_BYTES:
            yield f"accessControl.{service}: is larger than nucleus lite can read ({POLICY_BYTES} bytes)"


def _policy(where: str, name: str, policy: Any, component: str) -> Iterator[str]:
    """Least privilege: one operation a policy, and topics of this device's own alone."""
    yield from _keys("Policy", where, policy)
    if not isinstance(policy, Mapping):
        return
    if not name.startswith(f"{component}:"):
        yield f"{where}: does not begin with the component's name; it must be unique on the device"
    operations = policy.get("operations") or []
    if len(operations) != 1 or not set(operations) <= OPERATIONS:
        yield f"{where}.operations: {operations} is not one of {', '.join(sorted(OPERATIONS))}"
    for resource in policy.get("resources") or [""]:
        if re.search(r"[*?#+]", resource) or "/{iot:thingName}/" not in resource:
            yield f"{where}.resources: {resource!r} is not one topic of this device's own, with {{iot:thingName}}"
        if VARIABLE.sub("", resource).count("{"):
            yield f"{where}.resources: {resource!r} has a variable that is none"


def _manifest(where: str, manifest: Any, artifacts: Collection[str]) -> Iterator[str]:
    yield from _keys("Manifest", where, manifest)
    if not isinstance(manifest, Mapping):
        return
    platform, lifecycle = manifest.get("Platform") or {}, manifest.get("Lifecycle") or {}
    yield from _keys("Platform", f"{where}.Platform", platform)
    if platform.get("runtime") != "*":
        yield f"{where}.Platform.runtime: is not '*', without which nucleus lite passes the manifest over"
    if platform.get("os") != "linux":
        yield f"{where}.Platform.os: is not linux"
    yield from _keys("Lifecycle", f"{where}.Lifecycle", lifecycle)
    for phase in ("install", "run"):
        yield from _phase(f"{where}.Lifecycle.{phase}", phase, lifecycle.get(phase))
    for number, artifact in enumerate(manifest.get("Artifacts") or []):
        yield from _artifact(f"{where}.Artifacts[{number}]", artifact, artifacts)


def _phase(where: str, phase: str, section: Any) -> Iterator[str]:
    if section is None:
        yield f"{where}: is missing"
        return
    script = section
    if not isinstance(section, str):
        yield from _keys("Phase", where, section)
        script = section.get("Script", "") if isinstance(section, Mapping) else ""
        if phase == "run" and "Timeout" in section:
            yield f"{where}.Timeout: ends the agent when it is over"
        if str(section.get("RequiresPrivilege", "false")).lower() != "false":
            yield f"{where}.RequiresPrivilege: the agent needs no root"
    if phase == "run" and not re.match(r"exec \S", script):
        yield f"{where}: does not begin with exec, so the shell gets the signal and the agent does not"
    if "\\\n" in script or len(script.encode()) > SCRIPT_BYTES:
        yield f"{where}: continues lines by backslash, or is longer than {SCRIPT_BYTES} bytes"
    if re.search(r"[{}]", VARIABLE.sub("", script)):
        yield f"{where}: has a brace that is no variable of both nuclei"


def _artifact(where: str, artifact: Any, artifacts: Collection[str]) -> Iterator[str]:
    yield from _keys("Artifact", where, artifact)
    uri = S3_URI.fullmatch(str(artifact.get("Uri"))) if isinstance(artifact, Mapping) else None
    if uri is None:
        yield f"{where}.Uri: is none as in s3://bucket/name/version/file.zip"
        return
    if uri["file"] not in artifacts:
        yield f"{where}.Uri: {uri['file']} is not what is built: {', '.join(sorted(artifacts))}"
    if uri["file"].endswith(".zip") and artifact.get("Unarchive") != "ZIP":
        yield f"{where}.Unarchive: is not ZIP"


def _scalars(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _scalars(value, f"{path}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _scalars(value, f"{path}[{number}]")
    else:
        yield path, node
