"""Python functions that a recipe names: `module:function`."""

import importlib
import json
import os
import sys

from ._rewards import BatchReward
from .rewards import name_of


def find(name):
    """The function, with the working directory on the path. Raises ValueError saying what is missing."""
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"python:{name}: {error}; modules are looked up from the working directory and PYTHONPATH") from error
    if not callable(found):
        raise ValueError(f"python:{name} is {found!r}; name a function")
    return found


def find_reward(name):
    """(name in metrics, function of groups)."""
    function = find(name)
    return name_of(function), BatchReward(function)


def run_stage(name, data):
    """(rows, metrics) of a stage's function."""
    result = find(name)(*data)
    rows, metrics = result if isinstance(result, tuple) else (result, {})
    rows = list(rows)  # of a dict its keys, which are no rows
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"python:{name} must return its rows as a list of dicts, and may return (rows, metrics)")
    if not rows:
        raise ValueError(f"python:{name} returned no row")
    for i, row in enumerate(rows):
        try:
            json.dumps(row, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"python:{name}, row {i}: {error}; columns are texts, finite numbers, null, lists and dicts of them") from error
    return rows, {key: float(value) for key, value in metrics.items()}
