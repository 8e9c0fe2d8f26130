"""Settings files of both sides: YAML in, a mapping or one clear line out."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from edge_agent.errors import ConfigInvalid
from edge_agent.redact import safe


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML forbids duplicate keys, PyYAML takes the last; a camera must not vanish that way."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.MarkedYAMLError(problem="is no mapping of names to values", problem_mark=node.start_mark)
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem="a key is no plain text", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' stands here twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path, example: str) -> dict[str, Any]:
    """The mapping in the YAML file *path*, empty when the file is; *example* shows what it should look like.

    Raises ConfigInvalid, with line and column where the YAML breaks, and no password in it.
    """
    fix = f"see {example} for an example"
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError as error:
        raise ConfigInvalid("no such file", where=str(path), fix=fix) from error
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid("is not UTF-8 text", where=str(path), fix=fix) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise _broken(getattr(error, "problem", None) or str(error), where) from error
    except (LookupError, AttributeError) as error:  # all that PyYAML makes of '!!bool x'
        raise _broken("a value is not what its '!!' says", str(path)) from error
    except (ValueError, RecursionError) as error:  # a date or number that cannot be; nested beyond reason
        raise _broken(str(error), str(path)) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise ConfigInvalid(f"must hold settings as 'name: value', not a {kind}", where=str(path), fix=fix)
    return document


def _broken(problem: str, where: str) -> ConfigInvalid:
    line = "".join(letter if letter.isprintable() else "?" for letter in safe(problem).split("\n")[0])
    return ConfigInvalid(f"is no valid YAML: {line}", where=where, fix="check indentation and quotes")
