"""Which of the things that a training script saved are the network's weights, and under which names.

Scripts save a state_dict bare or inside a mapping with the optimizer's state, settings and averages of the weights, and
wrappers of the network (DistributedDataParallel, torch.compile, Lightning, averaging) put prefixes before its names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.convert.pickles import Storage, is_tensor, to_array
from maskrcnn.errors import CheckpointError

DEPTH = 3  # of mappings in mappings that are looked through
USUAL = (
    "model",
    "state_dict",
    "model_state_dict",
    "net",
    "network",
    "module",
    "weights",
)  # keys of weights, best first
STATE = ("optim", "sched", "scaler", "criterion", "loss", "discriminator")  # parts of the keys of what are none
AVERAGES = {"ema", "averaged", "swa"}  # words in the keys and prefixes of averaged weights
ANYWHERE = {"_orig_mod", "_fsdp_wrapped_module", "_forward_module", "module"}  # wrappers of any part of a network
COUNTERS = {"n_averaged", "num_updates", "initted", "decay"}  # that averaging wrappers keep beside the network
WRAPPERS = {"model", "net", "network", "_model", "student"}  # names that scripts give the whole network


class FoundWeights(NamedTuple):
    """Arrays by name, without the prefixes of wrappers, and what a user should know of the choice."""

    arrays: dict[str, np.ndarray]
    notes: list[str]


def find_weights(
    saved: Any, where: str, entry: str = "", storages: Callable[[Storage], np.ndarray] | None = None
) -> FoundWeights:
    """Finds the weights in what a pickle held.

    Args:
        saved: The unpickled object.
        where: What to call the file in messages.
        entry: The key of the weights to take, where there are several.
        storages: Gives the values of torch's storages.

    Raises:
        CheckpointError: There are no weights, or several that do not tell which to take, or they are damaged.
    """
    if not isinstance(saved, dict):
        raise CheckpointError(
            f"{where} is refused: it holds a {type(saved).__name__.lower()} object, not a mapping from names to "
            "tensors; save the network's state_dict()"
        )
    found = dict(_mappings(saved))
    if entry:
        chosen = next((key for key in found if entry in (key, key.split("/")[-1])), None)
        if chosen is None:
            raise CheckpointError(f"{where} has no weights called {entry}: it has {', '.join(filter(None, found))}")
        notes = []
    else:
        chosen, notes = _choose(found, where)
    try:
        arrays = {str(name): to_array(value, storages) for name, value in found[chosen].items() if is_tensor(value)}
    except ValueError as error:
        raise CheckpointError(f"{where} is damaged: {error}") from error
    arrays, more = unwrap(arrays, where)
    return FoundWeights(arrays, notes + more)


def _mappings(value: Mapping[Any, Any], key: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yields every mapping that holds tensors, with its keys joined by "/"."""
    if any(is_tensor(item) for item in value.values()):
        yield key, value
    if depth < DEPTH:
        for name, item in value.items():
            if isinstance(item, dict) and isinstance(name, str) and not any(part in name.lower() for part in STATE):
                yield from _mappings(item, f"{key}/{name}" if key else name, depth + 1)


def _choose(found: Mapping[str, Any], where: str) -> tuple[str, list[str]]:
    """Returns the key of the weights to take, and what to say of it: averages are what their authors evaluate."""
    averages = [key for key in found if _is_average(key)]
    plain = [key for key in found if key not in averages]
    best = sorted(
        plain, key=lambda key: next((i for i, name in enumerate(USUAL) if name in key.split("/")), len(USUAL))
    )
    if not found:
        raise CheckpointError(f"{where} holds no tensors by name: save the network's state_dict()")
    if len(averages) == 1:
        others = f" and not {best[0]}; --entry {best[0]} takes these" if best and best[0] else ""
        return averages[0], [f"the averaged weights {averages[0]} are taken{others}"]
    if not averages and (len(best) == 1 or not best[0] or set(best[0].split("/")) & set(USUAL)):
        return best[0], []
    raise CheckpointError(f"{where} holds several sets of weights, {', '.join(found)}: choose one with --entry NAME")


def _is_average(key: str) -> bool:
    return bool(AVERAGES & set(key.lower().replace("/", "_").replace(".", "_").split("_")))


def unwrap(arrays: Mapping[str, np.ndarray], where: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Takes the prefixes of wrappers off the names.

    Args:
        arrays: A network's tensors as they were saved.
        where: What to call the file in messages.

    Returns:
        The tensors of the network alone, and what to say of those that are left behind.

    Raises:
        CheckpointError: Two tensors have the same name then.
    """
    notes: list[str] = []
    names = {
        name: ".".join(part for part in name.split(".") if part not in ANYWHERE)
        for name in arrays
        if name not in COUNTERS
    }
    while True:
        groups: dict[str, dict[str, str]] = {}
        for name, short in names.items():
            groups.setdefault(short.split(".")[0], {})[name] = short
        inside = {first: group for first, group in groups.items() if len(group) > 1}
        averages = [first for first in inside if _is_average(first)]
        wrapper = next(
            (first for first in (*averages, *sorted(inside)) if first in averages or first in WRAPPERS), None
        )
        if wrapper is None or (wrapper not in averages and 2 * len(groups[wrapper]) < len(names)):
            break
        left = len(names) - len(groups[wrapper])
        if wrapper in averages and left > 1:
            notes.append(f"the averaged weights {wrapper}.* are taken, and not the {left} other tensors beside them")
        elif left:
            notes.append(f"{left} tensors beside {wrapper}.* are left out")
        names = {name: short[len(wrapper) + 1 :] for name, short in groups[wrapper].items()}
    if len(set(names.values())) != len(names):
        raise CheckpointError(f"{where} has two tensors of the same name behind the prefixes of wrappers")
    return {short: arrays[name] for name, short in names.items()}, notes
