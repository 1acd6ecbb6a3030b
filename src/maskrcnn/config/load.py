"""The configuration of a command line: YAML files and flags.

Values come from the defaults, then from the environment's DEVICE_ID, then from each ``--config_path FILE`` (a file that
holds only what differs, perhaps from another one that it names as its ``base``), then from ``--key value`` flags; the
later one wins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskrcnn.config.help import help_text
from maskrcnn.config.limits import check_limits, complete_roi_layer
from maskrcnn.config.parsing import coerce, flag_value, read_documents, split_flags
from maskrcnn.config.problems import Problems
from maskrcnn.config.retired import DERIVED, OBSOLETE_KEYS, RETIRED_KEYS, translate_retired
from maskrcnn.config.schema import Config, Given, check_known, key_limits, key_types
from maskrcnn.errors import ConfigError

BASE = "base"  # the key of a file that names the file it builds on
DEVICE_VARIABLE = "DEVICE_ID"  # in which the scripts of MindSpore's model zoo name the card
JOB_VARIABLE = "MS_ROLE"  # set by msrun, which then numbers the processes of a host in DEVICE_ID
ZOO_KEYS = 5  # a file with so many keys that are no longer any is from there


def load_config(
    argv: Sequence[str] | None = None,
    *,
    defaults: Path | str | None = None,
    description: str = "",
    usage: str = "",
    everyday: Sequence[str] = (),
) -> Config:
    """Returns the configuration of a program that takes flags only; see ``load_arguments``."""
    config, _ = _load(argv, defaults, description, usage, everyday, takes_arguments=False)
    return config


def load_arguments(
    argv: Sequence[str] | None = None,
    *,
    defaults: Path | str | None = None,
    description: str = "",
    usage: str = "",
    everyday: Sequence[str] = (),
) -> tuple[Config, list[str]]:
    """Returns the configuration and the plain arguments of a command line.

    ``--help`` prints the description, the usage and the everyday keys, ``--help_all`` all keys; both exit with 0.

    Args:
        argv: ``sys.argv[1:]`` if None.
        defaults: A YAML file that is read first. What differs in it from the defaults of the class counts as given.
        description: What the program does.
        usage: The program and its plain arguments.
        everyday: The keys that ``--help`` shows; all if there are none.

    Raises:
        ConfigError: It has a line for each thing that is wrong.
    """
    return _load(argv, defaults, description, usage, everyday, takes_arguments=True)


def _load(
    argv: Sequence[str] | None,
    defaults: Path | str | None,
    description: str,
    usage: str,
    everyday: Sequence[str],
    takes_arguments: bool,
) -> tuple[Config, list[str]]:
    argv = sys.argv[1:] if argv is None else list(argv)
    if "--help_all" in argv or "--help" in argv or "-h" in argv:
        print(help_text(description, usage, () if "--help_all" in argv else everyday))
        raise SystemExit(0)
    problems = Problems()
    types = {**key_types(), **RETIRED_KEYS}
    switches = [name for name, expected in types.items() if expected is bool]
    flags, arguments = split_flags(argv, [*types, "config_path"], switches, problems)
    if arguments and not takes_arguments:
        problems.lines.append(f"unexpected argument '{arguments[0]}': settings are given as --key value, see --help")

    layers = _Layers(problems)
    if defaults:
        layers.add_file(Path(defaults))
        layers.forget_unchanged()
    layers.add_environment()
    for key, text in flags:
        if key == "config_path":
            layers.add_file(Path(text))
    layers.add_flags([(key, text) for key, text in flags if key != "config_path"], types)
    problems.raise_noted()
    return Config.from_given(layers.values, layers.given), arguments


class _Layers:
    """The values of all sources so far, the later ones on top, and where each stands."""

    def __init__(self, problems: Problems) -> None:
        self.values: dict[str, Any] = {}
        self.given: dict[str, Given] = {}
        self.problems = problems

    def add_file(self, path: Path, above: tuple[Path, ...] = ()) -> None:
        """Adds a file, after the one that it builds on; ``above`` are those that build on it."""
        with self.problems.noted():
            values, documents = read_documents(path)
            base = values.pop(BASE, None)
            if base is not None:
                self.add_base(path, base, above)
            obsolete = sum(key in OBSOLETE_KEYS for key in values)
            if documents > 1:
                self.problems.lines.append(f"{path}: holds {documents} YAML documents, of which one would be read")
            self.add(values, f"{path}: ", {key: str(path) for key in values})
            if documents > 1 or obsolete >= ZOO_KEYS:
                self.problems.lines.append(
                    f"{path} looks like a configuration of MindSpore's model zoo: "
                    f"python -m maskrcnn.config import {path} OUT.yaml writes it in today's keys"
                )

    def add_base(self, path: Path, base: Any, above: tuple[Path, ...]) -> None:
        """Adds the file that ``path`` names as its base."""
        if not isinstance(base, str):
            raise ConfigError(f"{path}: {BASE} is {base!r}, expected the path of a YAML file")
        file, chain = path.parent / base, (*above, path)
        if file.resolve() in [other.resolve() for other in chain]:
            circle = " -> ".join(str(other) for other in (*chain, file))
            raise ConfigError(f"{path}: {BASE} leads in a circle ({circle}): remove one of these keys")
        if not file.is_file():
            raise ConfigError(f"{path}: {BASE} names {base}, which does not exist (looked for {file.absolute()})")
        self.add_file(file, chain)

    def add_environment(self) -> None:
        """Adds the card that the environment names, unless it means this process's number among those of a job."""
        text = os.environ.get(DEVICE_VARIABLE, "")
        if not text or JOB_VARIABLE in os.environ:
            return
        if not text.isdecimal():
            self.problems.lines.append(f"{DEVICE_VARIABLE} in the environment is {text!r}, not the number of a card")
            return
        self.add({"device_id": int(text)}, f"{DEVICE_VARIABLE} in the environment: ", {"device_id": DEVICE_VARIABLE})

    def add_flags(self, flags: Sequence[tuple[str, str]], types: Mapping[str, Any]) -> None:
        """Adds the command line's flags in their order."""
        values: dict[str, Any] = {}
        with self.problems.noted():
            check_known({key: text for key, text in flags if key not in RETIRED_KEYS}, extra=("config_path",))
        for key, text in flags:
            if key in types:
                with self.problems.noted():
                    values[key] = flag_value(key, text, types[key])
        self.add(values, "--", {key: f"--{key}" for key in values})

    def add(self, values: Mapping[str, Any], where: str, origins: Mapping[str, str]) -> None:
        """Checks the values of one source, so that its errors say where the value stands, and puts them on top."""
        try:
            translated = translate_retired(values)
        except ConfigError as error:
            self.problems.lines += [where + line for line in error.lines]
            translated = {key: value for key, value in values.items() if key not in RETIRED_KEYS}
        with self.problems.noted(where):
            check_known(translated)
        for key, value in translated.items():
            if key in key_types():
                with self.problems.noted(where):
                    value = coerce(key, value, key_types()[key])
                    check_limits(key, complete_roi_layer(value) if key == "roi_layer" else value, key_limits()[key])
                    self.put(key, value, origins.get(key, where.strip(": ")))
        self.values.update({key: value for key, value in values.items() if key in DERIVED})

    def put(self, key: str, value: Any, origin: str) -> None:
        """Sets one value; of a mapping only the entries that it has."""
        for layer, earlier in ((self.values, self.values.get(key)), (self.given, self.given.get(key, (None,))[0])):
            merged = {**earlier, **value} if isinstance(value, dict) and earlier else value
            layer[key] = merged if layer is self.values else Given(merged, origin)

    def forget_unchanged(self) -> None:
        """Takes as given, of the defaults' file, only what differs from the defaults of the class."""
        unchanged = Config()
        for key in [key for key, given in self.given.items() if given.value == getattr(unchanged, key)]:
            del self.given[key]
