"""The test of the tests: with one isolation layer left out, the cases that name it (`layer`) fail.

    python3 tests/sandbox/layers_test.py HONE_SANDBOX

HONE_SANDBOX is the test program that knows --without. A layer that no case names (landlock_network, cgroup_memory,
cgroup_pids, pidfd) is a second line behind another one: its absence alone lets nothing through.
"""

import os
import sys

import judge


def main(program):
    cases = [row for row in judge.read_cases([judge.DATA / "own_cases.jsonl"]) if "layer" in row]
    user = os.geteuid()
    missing = judge.missing_layers(program, user) | (set() if user == 0 else {"spare_uid"})
    wrong = []
    for row in cases:
        if row["layer"] in missing:
            print("left out: %s: this machine has no such layer" % row["id"])
        elif judge.judge_as(user, program, [row]):
            wrong.append("%s fails although nothing is left out" % row["id"])
        elif not judge.judge_as(user, program, [row], without=row["layer"]):
            wrong.append("%s holds without %s" % (row["id"], row["layer"]))
    print("\n".join(wrong) or "each of %d cases holds only with its layer" % (len(cases) - len(missing & {r["layer"] for r in cases})))
    return int(bool(wrong) or not cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
