"""Turning text into configuration values: YAML files, command-line flags, types. Knows no key by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from maskrcnn.config.problems import Problems
from maskrcnn.errors import ConfigError

# Ratio of difflib from which two words are taken for misspellings of each other: img_widht and img_width have 0.89,
# config and config_path 0.71, do_train and pre_trained 0.63.
SIMILAR = 0.7
_BOOL_WORDS = {"true": True, "false": False}
_NO_BOOL_WORDS = ("yes", "no", "on", "off", "1", "0", "t", "f", "y", "n")  # what people write instead


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which writing a key twice is an error; plain YAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"key '{key}' is written twice", problem_mark=key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """Parses one YAML document.

    Raises:
        ConfigError: It is broken; the line says ``where`` and in which line.
    """
    documents = _documents(text, where)
    if len(documents) > 1:
        raise ConfigError(f"{where}: not valid YAML: it holds {len(documents)} documents")
    return documents[0]


def _documents(text: str, where: str) -> list[Any]:
    """Parses the YAML documents of a text, at least one."""
    try:
        return list(yaml.load_all(text, Loader=_UniqueKeyLoader)) or [None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: not valid YAML: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: for instance the date 2024-99-99
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file of ``key: value`` lines, none of them if it is empty; ConfigError if that is not possible."""
    values, documents = read_documents(path)
    if documents > 1:
        raise ConfigError(f"{path}: not valid YAML: it holds {documents} documents")
    return values


def read_documents(path: Path) -> tuple[dict[str, Any], int]:
    """Reads a YAML file as the configurations of MindSpore's model zoo are written: settings, meanings, choices.

    Returns:
        The values of its first document, and the number of documents.

    Raises:
        ConfigError: It is missing, cannot be read, is broken or holds something else than ``key: value`` lines.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist (looked for {path.absolute()})") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"configuration file {path} cannot be read: {reason}") from error
    documents = _documents(text, str(path))
    values = {} if documents[0] is None else documents[0]
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected lines of 'key: value', got a {_type_name(values)}")
    return {str(key): value for key, value in values.items()}, len(documents)


def split_flags(
    argv: Iterable[str], known: Iterable[str], switches: Iterable[str], problems: Problems
) -> tuple[list[tuple[str, str]], list[str]]:
    """Splits a command line into ``[(key, text)]`` and the arguments that belong to no flag.

    ``--key value`` and ``--key=value`` mean the same. A key in ``switches`` may stand alone, which means true; words
    such as "yes" or "0" behind it are taken for its value, to be refused, and not for a plain argument. After
    ``--`` everything is a plain argument. An unknown key comes back like any other, for the caller to refuse. A known
    key without a value is left out and noted in ``problems``.
    """
    known, switches = set(known), set(switches)
    flags: list[tuple[str, str]] = []
    plain: list[str] = []
    tokens = list(argv)
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token == "--":
            plain += tokens[position:]
            break
        if not token.startswith("--"):
            plain.append(token)
            continue
        key, has_value, value = token[2:].partition("=")
        following = tokens[position] if position < len(tokens) else None
        if not has_value and key in switches and (following or "").lower() not in (*_BOOL_WORDS, *_NO_BOOL_WORDS):
            value = "true"
        elif not has_value and following is not None and not following.startswith("--"):
            value = following
            position += 1
        elif not has_value and key in known:
            problems.lines.append(f"--{key} needs a value, for instance --{key}=VALUE; --help_all lists all keys")
            continue
        flags.append((key, value))
    return flags, plain


def flag_value(key: str, text: str, expected: Any) -> Any:
    """Returns the value of a flag: text as it is for a text key, YAML for every other; lists of texts may be a,b,c."""
    if expected is str:
        return text
    value = parse_yaml(text, f"--{key} '{text}'")
    if expected == tuple[str, ...] and isinstance(value, str):
        return [item.strip() for item in value.split(",")]
    return value


def hint(word: str, valid: Iterable[str]) -> str:
    """Returns "; did you mean X?" for the word among ``valid`` that ``word`` must have meant, "" if none is similar."""
    by_spelling = {item.lower(): item for item in valid}
    if word.lower() in by_spelling:
        return f"; did you mean {by_spelling[word.lower()]}?"
    longer = [item for item in by_spelling if item.startswith(word.lower() + "_")]
    if len(longer) == 1:
        return f"; did you mean {by_spelling[longer[0]]}?"
    shortened = {name.replace("threshold", "thr"): item for name, item in by_spelling.items()}
    similar = difflib.get_close_matches(word.lower().replace("threshold", "thr"), shortened, n=1, cutoff=SIMILAR)
    return f"; did you mean {shortened[similar[0]]}?" if similar else ""


def coerce(key: str, value: Any, expected: Any) -> Any:
    """Returns ``value`` as ``expected``: bool, int, float, str, ``tuple[X, ...]`` or ``dict[str, X]``.

    An int is a good float; a bool is never a number; nothing else is changed, so that '10' in quotes is refused for an
    int. A float may be text such as '1/3.0' or '1e-4' (which YAML 1.1 does not take for a number).

    Raises:
        ConfigError: It is of another type.
    """
    coerced = _coerced(value, expected)
    if coerced is None:
        raise ConfigError(f"{key} is {value!r}, expected {describe_type(expected)}")
    return coerced


def _coerced(value: Any, expected: Any) -> Any:
    """``coerce`` for one value or element; None when the type is wrong."""
    if get_origin(expected) is tuple:
        items = [_coerced(item, get_args(expected)[0]) for item in value] if _is_list(value) else [None]
        return None if any(item is None for item in items) else tuple(items)
    if get_origin(expected) is dict:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            return None
        items = {name: _coerced(item, get_args(expected)[1]) for name, item in value.items()}
        return None if any(item is None for item in items.values()) else items
    if expected is float:
        return _as_float(value)
    return value if type(value) is expected else None


def _as_float(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            parts = [float(part) for part in value.split("/")]
            number = parts[0] / parts[1] if len(parts) == 2 else parts[0]
        except (ValueError, ZeroDivisionError):
            return None
        return number if len(parts) <= 2 and math.isfinite(number) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def describe_type(expected: Any) -> str:
    """Returns the name of a type in a user's words."""
    if get_origin(expected) is tuple:
        return f"a list of {describe_type(get_args(expected)[0]).split(' ', 1)[1]}s"
    if get_origin(expected) is dict:
        return f"a mapping to {describe_type(get_args(expected)[1]).split(' ', 1)[1]}s"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[expected]


def _type_name(value: Any) -> str:
    return "list" if isinstance(value, list) else type(value).__name__
