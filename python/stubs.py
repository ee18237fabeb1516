"""The type stubs that are committed beside the package: _C.pyi by pybind11-stubgen out of the module, _config.pyi out of
the option tables.

    python python/stubs.py            writes them
    python python/stubs.py --check    exit 1, with the difference, when they are not those of the module
"""

import difflib
import inspect
import pathlib
import subprocess
import sys
import tempfile

sys.path.remove(str(pathlib.Path(__file__).resolve().parent))  # the sources, which have no module
import hone

FOLDER = pathlib.Path(__file__).resolve().parent / "hone"


def module_stub():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pybind11_stubgen", "hone._C", "-o", folder, "--print-safe-value-reprs", ".*",
                        "--enum-class-locations", "FinishReason:hone._C"], check=True, capture_output=True)
        return (pathlib.Path(folder) / "hone/_C.pyi").read_text()


def config_stub():
    lines = ['"""Made by python/stubs.py from the option tables of rl/config.h."""', "from typing import Any"]
    for config in (hone.GRPOConfig, hone.SFTConfig):
        kinds = {name: kind for name, (kind, _, _) in config._own.items()}
        kinds |= {row["name"]: row["type"] for row in hone._C.options_table(config._kind)}
        arguments = [f"{name}: {kinds[name]} = {p.default!r}" for name, p in inspect.signature(config).parameters.items()]
        lines += ["", f"class {config.__name__}:"] + [f"    {name}: {kinds[name]}" for name in inspect.signature(config).parameters]
        lines += ["    def __init__(self, " + arguments[0] + ", *,"] + [f"                 {a}," for a in arguments[1:]]
        lines += ["                 **trl: Any) -> None: ...", "    def steps_of(self, rows: int, tokens: int | None = ...) -> int: ...",
                  "    def stage(self, max_steps: int) -> dict[str, Any]: ...", "    def to_dict(self) -> dict[str, Any]: ..."]
    return "\n".join(lines) + "\n"


def main(check):
    failed = False
    for name, made in (("_C.pyi", module_stub()), ("_config.pyi", config_stub())):
        file = FOLDER / name
        if not check:
            file.write_text(made)
        elif (there := file.read_text() if file.exists() else "") != made:
            failed = True
            print(*difflib.unified_diff(there.splitlines(), made.splitlines(), f"{name} as committed", f"{name} of the module", lineterm=""),
                  "run python/stubs.py and commit what it writes", sep="\n")
    return failed


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
