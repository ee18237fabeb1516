"""Holds the direction of includes, and what must stay out of which folder. Standard library only.

    python3 tests/layering_test.py [ROOT]     exit 0, or 1 with one line for each breach

It first runs itself on a small tree with every kind of breach in it, which it must report, and on a clean one.
"""

import pathlib
import re
import sys
import tempfile

LIBRARY = ["sandbox", "models", "rollout", "rewards", "rl", "recipes"]
# what a folder may include besides itself: folders, or single headers
MAY_INCLUDE = {
    "sandbox": [],
    "models": [],
    "rollout": ["models"],
    "rewards": ["rollout/types.h", "sandbox"],
    "rl": ["rewards", "rollout", "models"],
    "recipes": ["rewards", "rl", "rollout", "models"],
    "cli": LIBRARY,
    "python": [*LIBRARY, "cli"],
    "bench": LIBRARY,
    "tests": LIBRARY,
}
TORCH_FREE = ["sandbox/", "rewards/", "recipes/", "rollout/types.h"]
FORBIDDEN_EVERYWHERE = ["torch/torch.h", "torch/extension.h"]  # 1.3 and 1.6 GB of compiler each
TORCH_HEADER = re.compile(r"^(torch|ATen|c10|caffe2)/")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
SUFFIXES = {".h", ".hpp", ".inc", ".cpp", ".cc", ".cu", ".cuh"}


def sources(root):
    """{path from the root: text without comments}"""
    found = {}
    for folder in MAY_INCLUDE:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                found[path.relative_to(root).as_posix()] = COMMENT.sub("", path.read_text(errors="replace"))
    return found


def includes(text):
    return [(quote == '"', name) for quote, name in INCLUDE.findall(text)]


def folder_of(name):
    return name.split("/")[0] if "/" in name else ""


def is_allowed(folder, name):
    return folder_of(name) == folder or any(name == a or folder_of(name) == a for a in MAY_INCLUDE[folder])


def chain_to_torch(name, files, seen):
    """[name, .., torch header] when `name` reaches one through our own headers."""
    if name in seen:
        return []
    seen.add(name)
    for _, other in includes(files[name]):
        if TORCH_HEADER.match(other):
            return [name, other]
        rest = chain_to_torch(other, files, seen) if other in files else []
        if rest:
            return [name, *rest]
    return []


def breaches_of(name, files):
    folder, text = folder_of(name), files[name]
    for quoted, other in includes(text):
        if folder_of(other) in MAY_INCLUDE:
            if not is_allowed(folder, other):
                yield f"{name}: includes {other}, but {folder} may include only {', '.join([folder, *MAY_INCLUDE[folder]])}"
        elif quoted:
            yield f'{name}: includes "{other}"; headers of ours are named from the root, others stand in <>'
        if other in FORBIDDEN_EVERYWHERE:
            yield f"{name}: includes {other}; use the ATen, c10 and torch/csrc/autograd headers that are needed"
    if folder in LIBRARY and re.search(r"\b(secure_)?getenv\b", text):
        yield f"{name}: reads the environment; only cli/ may, and hands the value in"
    if any(name.startswith(place) for place in TORCH_FREE):
        chain = chain_to_torch(name, files, set())
        if chain:
            yield f"{name}: must build without torch, but reaches {' -> '.join(chain[1:])}"


def breaches(root):
    files = sources(root)
    return [breach for name in files for breach in breaches_of(name, files)]


BAD = {
    "sandbox/a.cpp": ('#include "rewards/reward.h"\n', "includes rewards/reward.h, but sandbox"),
    "sandbox/b.cpp": ("int x = getenv(0) != nullptr;\n", "reads the environment"),
    "models/a.h": ('#include "rl/loss.h"\n', "includes rl/loss.h, but models"),
    "models/b.cpp": ("#include <torch/torch.h>\n", "includes torch/torch.h; use"),
    "models/c.cpp": ('#include "c.h"\n', "named from the root"),
    "rollout/a.cpp": ('#include "rewards/reward.h"\n', "includes rewards/reward.h, but rollout"),
    "rollout/types.h": ("#include <c10/core/Device.h>\n", "must build without torch"),
    "rewards/a.cpp": ('#include "rollout/engine.h"\n', "includes rollout/engine.h, but rewards"),
    "rewards/b.cpp": ("  # include <ATen/core/Tensor.h>\n", "reaches ATen/core/Tensor.h"),
    "rewards/c.cpp": ('#include <models/tokenizer.h>\n', "includes models/tokenizer.h, but rewards"),
    "rl/a.cpp": ('#include "recipes/tasks.h"\n', "includes recipes/tasks.h, but rl"),
    "rl/tensors.h": ("#include <ATen/core/Tensor.h>\n", None),
    "recipes/b.cpp": ('#include "rl/tensors.h"\n', "reaches rl/tensors.h -> ATen/core/Tensor.h"),
    "recipes/a.cpp": ('#include "cli/verbs.h"\n', "includes cli/verbs.h, but recipes"),
    "cli/a.cpp": ('#include "tests/rl/groups.h"\n', "includes tests/rl/groups.h, but cli"),
    "tests/a.cpp": ('#include "bench/clock.h"\n', "includes bench/clock.h, but tests"),
}
GOOD = {
    "rewards/a.cpp": '#include "rewards/a.h"\n#include <string>\n// #include <ATen/ATen.h> and getenv are named only\n',
    "rewards/a.h": '#include "rollout/types.h"\n#include "sandbox/sandbox.h"\n',
    "rollout/types.h": "#include <string>\n",
    "rl/a.cpp": '#include "models/policy.h"\n#include <ATen/ops/add.h>\n#include <nlohmann/json.hpp>\n',
    "cli/a.cpp": '#include "recipes/tasks.h"\nconst char* home = std::getenv("HOME");\n',
}


def reported(tree):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in tree.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return breaches(root)


def check_the_checker():
    found = reported({name: text for name, (text, _) in BAD.items()})
    for name, (_, wanted) in BAD.items():
        own = [line for line in found if line.startswith(name + ":")]
        if wanted is None:
            assert not own, f"{name} is sound, but was reported: {own}"
        else:
            assert any(wanted in line for line in own), f"{name}: wanted a line with '{wanted}', got {own}"
    clean = reported(GOOD)
    assert not clean, f"a clean tree was reported: {clean}"


def main():
    check_the_checker()
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    found = breaches(root)
    print("\n".join(found) if found else f"layering: {len(sources(root))} files, no breach")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
