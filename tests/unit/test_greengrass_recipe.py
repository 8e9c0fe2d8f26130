"""The Greengrass component's recipe: what is built passes the lint, which finds what no deployment would tell."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent import __version__
from edge_agent.component import AGENT, CONFIG_FILE, chosen
from edge_agent.control.remote import shadow_topic
from edge_agent.control.shadow_session import ShadowSession
from edge_agent.control.teller import events_topic, telemetry_topic
from greengrass import build, lint
from tests.support.agent import ROOT

THING = "{iot:thingName}"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def recipe() -> dict[str, Any]:
    """The recipe as it is built."""
    return copy.deepcopy(build.recipe("components"))


def _lifecycle(recipe: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = recipe["Manifests"][0]["Lifecycle"]
    return found


def _policies(recipe: dict[str, Any]) -> dict[str, Any]:
    access = recipe["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"]
    found: dict[str, Any] = access[lint.MQTT_PROXY]
    return found


def _policy(recipe: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(_policies(recipe).values()))
    return found


def _renamed(section: dict[str, Any], old: str, new: str) -> None:
    section[new] = section.pop(old)


def test_what_is_built_has_no_fault(recipe: dict[str, Any]) -> None:
    """The lint says nothing of our recipe, and its size is far below the limit."""
    assert lint.faults(recipe, {build.ARTIFACT}) == []
    assert len(json.dumps(recipe, indent=2)) < lint.RECIPE_BYTES / 2


def test_access_is_granted_to_the_topics_in_use_and_no_others(recipe: dict[str, Any]) -> None:
    """What the agent publishes and hears, and what the recipe allows it to, are the same."""
    allowed = {policy["operations"][0].split("#")[1]: set(policy["resources"]) for policy in _policies(recipe).values()}
    assert allowed == {
        "PublishToIoTCore": {
            *(shadow_topic(THING, end) for end in ("get", "update")),
            telemetry_topic(THING),
            events_topic(THING),
        },
        "SubscribeToIoTCore": {shadow_topic(THING, end) for end in ShadowSession.ENDS},
    }


def test_the_default_configuration_is_one_the_component_takes(recipe: dict[str, Any]) -> None:
    """Deployed without a change, the component reads the settings file of the box."""
    defaults = recipe["ComponentConfiguration"]["DefaultConfiguration"]
    assert str(chosen(defaults)) == defaults[CONFIG_FILE] == "/etc/edge-agent/edge-agent.yaml"
    assert AGENT not in defaults


def test_gdk_builds_the_version_of_the_package(recipe: dict[str, Any]) -> None:
    """gdk's configuration names this component and this version, whose directory the build fills."""
    component = json.loads((ROOT / "greengrass" / "gdk-config.json").read_text())["component"]
    assert {name: part["version"] for name, part in component.items()} == {recipe["ComponentName"]: __version__}
    assert component[recipe["ComponentName"]]["build"]["custom_build_command"][1] == "build.py"


CHANGES: dict[str, tuple[Change, str]] = {
    "Lifecycle misspelt": (lambda r: _renamed(r["Manifests"][0], "Lifecycle", "Lifecyle"), "Lifecyle: is spelt Lifecy"),
    "Lifecycle in lower case": (lambda r: _renamed(r["Manifests"][0], "Lifecycle", "lifecycle"), "is spelt Lifecycle"),
    "run in upper case": (lambda r: _renamed(_lifecycle(r), "run", "Run"), "Lifecycle.Run: is spelt run"),
    "URI": (lambda r: _renamed(r["Manifests"][0]["Artifacts"][0], "Uri", "URI"), "URI: is spelt Uri"),
    "manifests": (lambda r: _renamed(r, "Manifests", "manifests"), "recipe.manifests: is spelt Manifests"),
    "no runtime": (lambda r: r["Manifests"][0]["Platform"].pop("runtime"), "Platform.runtime: is not '*'"),
    "classic alone": (lambda r: r["Manifests"][0]["Platform"].update(runtime="aws_nucleus_classic"), "is not '*'"),
    "shutdown": (lambda r: _lifecycle(r).update(shutdown="true"), "Lifecycle.shutdown: is forbidden"),
    "recover": (lambda r: _lifecycle(r).update(recover="true"), "Lifecycle.recover: is forbidden"),
    "Skipif": (lambda r: _lifecycle(r)["install"].update(Skipif="exists /x"), "install.Skipif: is forbidden"),
    "a timeout on run": (lambda r: _lifecycle(r).update(run={"Script": "exec x", "Timeout": "9"}), "run.Timeout: ends"),
    "no exec": (lambda r: _lifecycle(r).update(run="python -m x"), "does not begin with exec"),
    "root": (lambda r: _lifecycle(r)["install"].update(RequiresPrivilege="true"), "needs no root"),
    "a shell's brace": (lambda r: _lifecycle(r).update(run="exec ${x}"), "has a brace that is no variable"),
    "a variable lite lacks": (lambda r: _lifecycle(r).update(run="exec {nucleus:x}"), "no variable of both nuclei"),
    "a long script": (lambda r: _lifecycle(r).update(run="exec " + "x" * 10_000), "is longer than 10000"),
    "another zip": (
        lambda r: r["Manifests"][0]["Artifacts"][0].update(Uri="s3://abc/other.zip"),
        "is not what is built",
    ),
    "no bucket": (
        lambda r: r["Manifests"][0]["Artifacts"][0].update(Uri="s3://{BUCKET}/edge-agent.zip"),
        "Uri: is none",
    ),
    "not unpacked": (lambda r: r["Manifests"][0]["Artifacts"][0].pop("Unarchive"), "Unarchive: is not ZIP"),
    "a reserved name": (lambda r: r.update(ComponentName="aws.greengrass.EdgeAgent"), "ComponentName: is none"),
    "a long name": (lambda r: r.update(ComponentName="x" * 129), "ComponentName: is none"),
    "no version": (lambda r: r.update(ComponentVersion="{VERSION}"), "ComponentVersion: is no semantic version"),
    "no credentials": (lambda r: r.pop("ComponentDependencies"), "so no credentials"),
    "a plugin": (lambda r: r.update(ComponentType="aws.greengrass.plugin"), "ComponentType: is not"),
    "too large": (lambda r: r.update(ComponentDescription="x" * 16_000), "recipe: has "),
    "a number": (
        lambda r: r["ComponentConfiguration"]["DefaultConfiguration"].update(Port=80),
        "DefaultConfiguration.Port: is no string",
    ),
    "every topic": (lambda r: _policy(r).update(resources=["*"]), "'*' is not one topic of this device's own"),
    "another device's": (
        lambda r: _policy(r).update(resources=["edge/dock8/events"]),
        "is not one topic of this device",
    ),
    "all of the device's": (lambda r: _policy(r).update(resources=["edge/{iot:thingName}/#"]), "is not one topic"),
    "every operation": (lambda r: _policy(r).update(operations=["*"]), "operations: ['*'] is not one of"),
    "a policy of any name": (lambda r: _policies(r).update(mine=_policy(r)), "mine: does not begin with the component"),
    "a service more": (
        lambda r: r["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"].update(
            {"aws.greengrass.SecretManager": {}}
        ),
        "accessControl.aws.greengrass.SecretManager: is not needed",
    ),
    "policies lite cannot hold": (
        lambda r: _policy(r)["resources"].extend(f"edge/{THING}/{'x' * 90}{number}" for number in range(30)),
        "is larger than nucleus lite can read",
    ),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_the_lint_finds(recipe: dict[str, Any], change: Change, said: str) -> None:
    """Each fault is named, with where it is."""
    change(recipe)
    found = lint.faults(recipe, {build.ARTIFACT})
    assert any(said in fault for fault in found), found
