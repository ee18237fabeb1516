"""Hundreds of bad calls, generated from the signatures in the stubs: each must raise a Python exception whose text says
something about the call, and none may crash the process or hang. Each function is called with one argument at a time
replaced by values of other types, dtypes, shapes, devices and sizes, by freed objects, and with arguments missing.

    .venv-peers/bin/python tests/python/bad_calls_test.py build/release/hone
"""
import ast
import faulthandler
import pathlib
import sys
import tempfile

from hone_package import ROOT, tiny_model

import hone
import torch
from hone import _C

faulthandler.enable()
NAN = float("nan")
BAD = [None, -1, 0, 2**70, NAN, "", "nonsense", b"bytes", [], [[]], [None], ["x"], {}, {"a": object()}, object(), object,
       torch.zeros(3), torch.zeros(2, 2), torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.complex64),
       torch.zeros(3, device="meta"), torch.zeros(0), torch.zeros(3).to_sparse(), lambda *a, **k: None, True, [2**40], [-5], [NAN]]


def functions(stub):
    """{name: [argument names]} of every function and method of the stub."""
    found = {}
    for node in ast.parse(stub.read_text()).body:
        for owner, f in [("", node)] if isinstance(node, ast.FunctionDef) else \
                [(node.name + ".", f) for f in getattr(node, "body", []) if isinstance(node, ast.ClassDef) and isinstance(f, ast.FunctionDef)]:
            if not f.name.startswith("_") or f.name == "__init__":
                if not any(ast.unparse(d).startswith(("property", f.name)) for d in f.decorator_list):
                    found[owner + f.name] = [a.arg for a in f.args.args if a.arg != "self"]
    return found


def good_arguments(folder):
    """A call that works, for what needs more than bad values to be interesting."""
    model, closed = hone.Model.load(folder), hone.Model.load(folder)
    closed.close()
    m = torch.rand(4)
    tensors = {"policy_logprobs": m.requires_grad_(), "sampler_logprobs": m.detach(), "advantages": torch.ones(2), "lengths": [1, 3]}
    prompt, rollout = _C.Prompt(0, "x", [2], {"answer": "1"}), _C.Rollout(0, 0, [2], [0.0], "x")
    return {"policy_loss": tensors, "group_advantages": {"rewards": [[1.0, 2.0]]},
            "score_groups": {"prompts": [prompt], "rollouts": [rollout], "rewards": [_C.NamedReward("math", 1.0)], "threads": 1},
            "Model.logprobs": {"token_ids": [2, 3], "temperature": 1.0}, "Model.entropy": {"token_ids": [2, 3], "temperature": 1.0},
            "Model.generate": {"prompts": ["丂"], "n": 1, "seed": 1, "speculate": False, "max_completion_length": 2},
            "Model.encode": {"text": "丂", "add_special_tokens": True}, "Model.decode": {"token_ids": [2]},
            "pass_at_k": {"n": 4, "c": 1, "k": 2}, "check_options": {"kind": "rl", "options": {}},
            "Prompt.__init__": {"id": 0, "text": "", "token_ids": [], "columns": {}},
            "NamedReward.__init__": {"name": "math", "weight": 1.0},
            "run_recipe": {"recipe": "nonsense", "run_dir": "/nonexistent/x", "resume": False, "threads": 1}}, model, closed


def call(name, arguments, receiver):
    owner, _, method = name.rpartition(".")
    if method == "__init__":
        return getattr(_C, owner)(**arguments)
    if owner and method not in ("load",):
        return getattr(receiver, method)(**arguments)
    return getattr(getattr(_C, owner) if owner else _C, method)(**arguments)


def main():
    count, quiet, problems = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        good, model, closed = good_arguments(tiny_model(pathlib.Path(folder) / "model"))
        receivers = {"Model": [model, closed]}
        skipped = {"run_command_line", "set_threads", "sandbox_capabilities", "SandboxPool.__init__", "SandboxPool.submit", "Model.close", "Model.save"}
        for name, parameters in functions(ROOT / "python/hone/_C.pyi").items():
            owner = name.rpartition(".")[0]
            if name in skipped or owner and owner != "Model" and not name.endswith("__init__"):
                continue
            base = good.get(name, {})
            for receiver in receivers.get(owner, [None]):
                cases = [base | {p: bad} for p in dict.fromkeys([*parameters, *base]) for bad in BAD if p not in ("self", "args", "kwargs")]
                cases += [{k: v for k, v in base.items() if k != p} for p in base] + [base | {"nonsense": 1}]
                for arguments in cases:
                    count += 1
                    try:
                        call(name, arguments, receiver)
                        quiet += 1  # a value that is allowed after all
                    except (TypeError, ValueError, RuntimeError, OverflowError, IndexError, AttributeError, FileNotFoundError) as error:
                        if len(str(error)) < 12 or "backtrace" in str(error) or "Exception raised from" in str(error):
                            problems.append(f"{name}({arguments}): {type(error).__name__}: {error}")
        count, quiet = python_side(str(pathlib.Path(folder) / "model"), count, quiet, problems)
    print(f"{count} calls, {count - quiet} raised, {quiet} were allowed")
    print("\n".join(problems))
    assert count - quiet >= 200, "too few bad calls"
    return 1 if problems else 0


def python_side(model, count, quiet, problems):
    """The trainers' and configs' own checks."""
    options = [row["name"] for row in _C.options_table("rl")]
    for config in (hone.GRPOConfig, hone.SFTConfig):
        for name in [*options, "per_device_train_batch_size", "gradient_accumulation_steps", "nonsense"]:
            for bad in (object(), -1.5, "nonsense", torch.zeros(3)):
                count += 1
                try:
                    config(**{name: bad})
                    quiet += 1
                except (TypeError, ValueError) as error:
                    if name not in str(error) and "data" not in name:
                        problems.append(f"{config.__name__}({name}={bad!r}) does not name the option: {error}")
    return count, quiet


if __name__ == "__main__":
    sys.exit(main())
