"""What the benches of a real model share: the program, rows of JSONL, and checks that are counted."""

import json
import os
import subprocess

import torch


class Program:
    """`hone VERB ...` as a function: the JSON rows it prints. Raises RuntimeError with what it said when it fails."""

    def __init__(self, path):
        self.path = os.path.abspath(path)

    def __call__(self, *args, stdin=None):
        done = subprocess.run([self.path, *map(str, args)], input=stdin, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"hone {args[0]}: exit {done.returncode}: {done.stderr.strip()[-1500:]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Checks:
    """Prints a line a check and remembers the failures."""

    def __init__(self):
        self.failures = []

    def __call__(self, ok, line):
        print(("ok      " if ok else "FAILED  ") + line, flush=True)
        if not ok:
            self.failures.append(line)

    def exit_status(self):
        print(f"{len(self.failures)} of the checks failed" if self.failures else "all checks passed")
        return int(bool(self.failures))


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settle_mkl():
    """MKL's first call on two threads can be wrong by 1e-4: pytorch issue 188792."""
    for function in (torch.cos, torch.sin, torch.exp):
        function(torch.ones(1))
