"""``cloud/template.yaml`` as the tests read it: parsed, and resolved for one account as CloudFormation would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).parents[2] / "cloud/template.yaml"
ACCOUNT, REGION = "123456789012", "us-east-1"  # moto's account
_PSEUDO = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::NoValue": None}
_SLOT = re.compile(r"\$\{(!?)([^}]+)\}")


class _Loader(yaml.SafeLoader):
    """Reads the short forms (``!Sub``) as the long ones (``Fn::Sub``)."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


class Template:
    """The template with its parameters' defaults, but for *parameters*, in moto's account."""

    def __init__(self, parameters: Mapping[str, str] | None = None) -> None:
        self.document: dict[str, Any] = yaml.load(PATH.read_text(), _Loader)  # noqa: S506 - a SafeLoader
        declared = {name: str(facts["Default"]) for name, facts in self.document["Parameters"].items()}
        self.parameters = {**declared, **(parameters or {})}

    def resource(self, name: str) -> dict[str, Any]:
        """The resolved properties of the resource *name*, under those that ``Globals`` gives to all of its type."""
        found = self.document["Resources"][name]
        common = self.document.get("Globals", {}) if found["Type"] == "AWS::Serverless::Function" else {}
        properties: dict[str, Any] = self.resolved({**common.get("Function", {}), **found["Properties"]})
        return properties

    @property
    def variables(self) -> dict[str, str]:
        """The function's environment."""
        found = self.resource("ExtractFunction")["Environment"]["Variables"]
        return {name: str(value) for name, value in found.items()}

    def of_type(self, kind: str) -> list[str]:
        return [name for name, found in self.document["Resources"].items() if found["Type"] == kind]

    def statements(self, policy: str) -> list[dict[str, Any]]:
        """The statements of the policy resource *policy*, with actions and resources as lists."""
        found = self.resource(policy)["PolicyDocument"]["Statement"]
        return [{**one, "Action": listed(one["Action"]), "Resource": listed(one["Resource"])} for one in found]

    def resolved(self, value: Any) -> Any:
        """*value* with every intrinsic function replaced by what it stands for."""
        if isinstance(value, list):
            items = [self.resolved(item) for item in value]
            return [item for item in items if item is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name.startswith("Fn::"):
                return self._call(name, argument)
        pairs = {key: self.resolved(item) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item is not None}

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "Fn::Sub":
                return _SLOT.sub(lambda slot: f"${{{slot[2]}}}" if slot[1] else str(self._slot(slot[2])), argument)
            case "Fn::GetAtt":
                return self._attribute(*argument)
            case "Fn::If":
                condition, yes, no = argument
                return self.resolved(yes if self._holds(self.document["Conditions"][condition]) else no)
        raise AssertionError(f"the template uses {name}, which tests/support/template.py does not know")

    def _holds(self, condition: dict[str, Any]) -> bool:
        ((name, argument),) = condition.items()
        if name == "Fn::Not":
            return not self._holds(argument[0])
        assert name == "Fn::Equals"
        one, other = (str(self.resolved(side)) for side in argument)
        return one == other

    def _slot(self, name: str) -> Any:
        return self._attribute(*name.split(".")) if "." in name else self._ref(name)

    def _ref(self, name: str) -> Any:
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        match self.document["Resources"][name]["Type"]:
            case "AWS::S3::Bucket":
                return self.resource(name)["BucketName"]
            case "AWS::Logs::LogGroup":
                return self.resource(name)["LogGroupName"]
            case "AWS::SQS::Queue":
                return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.resource(name)['QueueName']}"
        return f"<{name}>"

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self.document["Resources"][name]["Type"]
        match kind, attribute:
            case "AWS::S3::Bucket", "Arn":
                return f"arn:aws:s3:::{self.resource(name)['BucketName']}"
            case "AWS::SQS::Queue", "Arn":
                return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.resource(name)['QueueName']}"
            case "AWS::SQS::Queue", "QueueName":
                return str(self.resource(name)["QueueName"])
            case "AWS::Logs::LogGroup", "Arn":
                return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{self.resource(name)['LogGroupName']}:*"
            case "AWS::IoT::RoleAlias", "RoleAliasArn":
                return f"arn:aws:iot:{REGION}:{ACCOUNT}:rolealias/{self.resource(name)['RoleAlias']}"
        return f"<{name}.{attribute}>"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
