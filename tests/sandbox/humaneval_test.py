"""HumanEval through two jails: its 164 reference solutions pass, 164 wrong ones do not.

    python3 tests/sandbox/humaneval_test.py PROGRAM
"""

import gzip
import json
import os
import sys

import judge
import stress

FILE = judge.DATA.parent / "humaneval" / "HumanEval.jsonl.gz"


def rows(problems, program_of):
    return [{"mode": "function", "prompt": p["prompt"], "program": program_of(p), "test": p["test"],
             "entry_point": p["entry_point"]} for p in problems]


def main(program):
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        problems = [json.loads(line) for line in file]
    right = rows(problems, lambda p: p["canonical_solution"])
    whole = rows(problems, lambda p: p["prompt"] + p["canonical_solution"])
    wrong = rows(problems, lambda p: "    return None\n")
    pool = judge.Pool([program, "--jobs", str(os.cpu_count())], dict(os.environ))
    replies = stress.exchange(pool, right + whole + wrong)
    pool.close()
    bad = ["%s: %s: %s" % (problems[i % 164]["task_id"], r["verdict"], r["reason"][:200])
           for i, r in sorted(replies.items()) if (r["verdict"] == "OK") != (i < 328) or r["verdict"] == "IE"]
    print("\n".join(bad) or "164 solutions pass as a continuation and as a whole, 164 wrong ones do not")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
