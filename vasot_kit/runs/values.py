"""Plain values as people write them in YAML, on the command line and in the file of a sweep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from vasot_lib.errors import InputError

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
DATE = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but 1e-3 is a number, a date is text, and no name may stand twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.append(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != DATE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+.0123456789"))


def read_yaml(text: str) -> Any:
    """The plain values of one YAML document.

    Raises:
        yaml.YAMLError: not YAML, a name that stands twice in a mapping, or values nested too deeply.
    """
    with yaml_errors():
        return yaml.load(text, Loader=_Loader)


@contextmanager
def yaml_errors() -> Iterator[None]:
    """Raise what PyYAML lets through, such as the ValueError of ``!!int x``, as its own error.

    Raises:
        yaml.YAMLError: in place of the other.
    """
    try:
        yield
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise yaml.YAMLError(f"a value is not what its tag says ({error})") from error


def read_values(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The values of NAME and VALUE of a command line, each VALUE read as YAML.

    Raises:
        InputError: a value that is not YAML, or a name that is given twice.
    """
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name in values:
            raise InputError(f"parameter {name!r} is given twice, the second time as {text!r}; give it once")
        try:
            values[name] = read_yaml(text)
        except yaml.YAMLError as error:
            raise InputError(
                f"the value {text!r} of parameter {name!r} is not YAML; put quotes around a string"
            ) from error
    return values
