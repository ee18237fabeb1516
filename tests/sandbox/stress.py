"""Thousands of runs, killed workers, too many programs for the cores: nothing is left over, no verdict is wrong.

    python3 tests/sandbox/stress.py HONE_SANDBOX [--runs N] [--oversubscribed N] [--jobs N] [--user UID]

HONE_SANDBOX is the test program that knows --without. The defaults are short enough for CI; issue-sized: --runs 10000
--oversubscribed 4000. Started by root it runs as root and as the ordinary user 65534, one after the other.

leaks            after a mix of right, wrong, endless, greedy, forking and crashing programs: processes, descriptors, mounts,
                 temporary files, shared memory, cgroups are what they were, resident memory within 8 MiB of it
kills            kill -9 of the program, init, zygote, launcher and host in mid-run, and of launcher and zygote together: no
                 process of the run after 1 s; with all layers, and where there are no namespaces
oversubscribed   four programs a core: at most .1 % of the verdicts of the benign and forging cases are wrong
"""

import argparse
import collections
import contextlib
import glob
import json
import os
import random
import signal
import sys
import threading
import time

import judge

ADD = {"mode": "function", "entry_point": "add", "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n"}
SHORT = {"wall": 0.3, "cpu": 0.2}
# weight, accepted verdicts, row
MIX = [
    (30, {"OK"}, {"program": "print(sum(map(int, input().split())))", "stdin": "1 2 3\n"}),
    (10, {"OK"}, dict(ADD, program="def add(a, b):\n    return a + b\n")),
    (5, {"WA"}, dict(ADD, program="def add(a, b):\n    return a - b\n")),
    (3, {"RE"}, dict(ADD, program="import os\ndef add(a, b):\n    os._exit(0)\n")),
    (5, {"RE"}, {"program": "1 / 0"}),
    (5, {"RE"}, {"program": "import ctypes\nctypes.string_at(0)"}),
    (1, {"TLE"}, {"program": "while True: pass", "limits": SHORT}),
    (1, {"TLE"}, {"program": "import time\ntime.sleep(60)", "limits": SHORT}),
    (2, {"TLE", "RE"}, dict(ADD, program="def add(a, b):\n    while True: pass\n", limits=SHORT)),
    (3, {"MLE", "RE"}, {"program": "x = bytearray(1 << 28)", "limits": {"mem": 64}}),
    (3, {"OLE"}, {"program": "print('x' * 1000000)"}),
    (5, {"OK"}, {"program": "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        os.setsid()\n        import time\n"
                            "        time.sleep(60)\n"}),
    (3, {"OK", "RE", "MLE", "TLE"}, {"program": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        break\n",
                              "limits": dict(SHORT, procs=16)}),
    (3, {"OK", "RE", "OLE"}, {"program": "for i in range(1000):\n    open('/tmp/%d' % i, 'w').write('x' * 10000)\n    "
                                         "open('/dev/shm/%d' % i, 'w').write('x')\n"}),
    (3, {"OK"}, {"program": "from multiprocessing import Pool\nif __name__ == '__main__':\n    with Pool(2) as p:\n"
                            "        print(p.map(abs, [-1, 2]))\n"}),
    (3, {"RE"}, {"program": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"}),
    (2, {"SV", "RE"}, {"program": "import ctypes\nctypes.CDLL(None).syscall(0x40000000 | 39)\nraise SystemExit(1)"}),
    (3, {"OK"}, {"language": "cpp", "program": "#include <cstdio>\nint main() { std::puts(\"7\"); }\n"}),
    (2, {"RE"}, {"language": "cpp", "program": "int main() { __builtin_trap(); }\n"}),
]
RESIDENT_SLACK_MIB = 8


def exchange(pool, rows):
    """Sends rows while it reads replies, as they come: {position: reply}."""
    def send():
        for number, row in enumerate(rows):
            sent = {k: v for k, v in row.items() if k not in judge.JUDGES_OWN}
            pool.process.stdin.write(json.dumps(dict(sent, id=number)) + "\n")
        pool.process.stdin.flush()
    sender = threading.Thread(target=send)
    sender.start()
    replies = {}
    for _ in rows:
        reply = json.loads(pool.process.stdout.readline())
        replies[reply["id"]] = reply
    sender.join()
    return replies


def wrong_verdicts(replies, accepted):
    wrong = collections.Counter()
    for number, reply in replies.items():
        if reply["verdict"] not in accepted[number][1]:
            wrong["%s: %s: %s" % (accepted[number][0], reply["verdict"], reply["reason"][:120])] += 1
    return wrong


def resident_mib(pid):
    with open("/proc/%d/status" % pid) as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def usage(pool):
    """What a leak would raise. Names where others on this machine make files as well, so that only ours are compared."""
    host, table = pool.process.pid, judge.processes()
    below = judge.descendants(host, table)
    mine = {host} | below
    return {
        "processes": len(below), "descriptors": len(os.listdir("/proc/%d/fd" % host)),
        "threads": len(os.listdir("/proc/%d/task" % host)),
        "mounts": sum(1 for _ in open("/proc/%d/mounts" % host)), "system_v": len(judge.system_v()),
        "files": sorted(glob.glob("/tmp/hone-[0-9]*-[0-9]*") + glob.glob("/dev/shm/hone*") + glob.glob("/tmp/core*")),
        "cgroups": sum(1 for folder, _, _ in os.walk("/sys/fs/cgroup") if "hone" in os.path.basename(folder)),
        "resident_mib": sum(resident_mib(pid) for pid in mine if pid in judge.processes()),
    }


def leaks(command, runs):
    draw = random.Random(1)
    chosen = draw.choices(MIX, weights=[m[0] for m in MIX], k=runs)
    accepted = [(m[2]["program"][:40], m[1]) for m in chosen]
    pool = judge.Pool(command, dict(os.environ))
    exchange(pool, [m[2] for m in MIX] * 3)
    time.sleep(judge.QUIET_S)
    before, begin = usage(pool), time.monotonic()
    wrong = wrong_verdicts(exchange(pool, [m[2] for m in chosen]), accepted)
    seconds = time.monotonic() - begin
    time.sleep(judge.QUIET_S)
    after = usage(pool)
    grown = after.pop("resident_mib") - before.pop("resident_mib")
    print("  leaks: %d runs in %.1f s, resident memory %+.1f MiB, %s" % (runs, seconds, grown, after))
    problems = ["%s: %s" % item for item in wrong.items()]
    problems += ["%s was %s, is %s" % (k, before[k], after[k]) for k in before if after[k] != before[k]]
    if grown > RESIDENT_SLACK_MIB:
        problems.append("resident memory grew by %.1f MiB" % grown)
    if status := pool.close():
        problems.append("the program ended with status %d" % status)
    return problems


ORPHANS = ("import os, time\nfor i in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        if i % 2:\n"
           "            os.fork()\n        time.sleep(60)\n        os._exit(0)\ntime.sleep(60)\n")


def roles(host, idle):
    """The processes of the run in hand, from the host down: each the parent of the next."""
    table = judge.processes()
    new = judge.descendants(host, table) - idle
    init = next(pid for pid in new if table[pid][1] in idle)
    zygote = table[init][1]
    return {"program": next(pid for pid in new if table[pid][1] == init), "init": init, "zygote": zygote,
            "launcher": table[zygote][1], "host": host}, new


def kill_some(command, roles_killed):
    pool = judge.Pool(command, dict(os.environ))
    pool.script("print(1)")
    host = judge.descendants(pool.process.pid, judge.processes())  # setpriv becomes the program
    idle = set(host)
    pool.process.stdin.write(json.dumps({"id": "orphans", "program": ORPHANS, "limits": {"wall": 6, "cpu": 6}}) + "\n")
    pool.process.stdin.flush()
    time.sleep(0.7)
    found, run = roles(pool.process.pid, idle)
    os.kill(found[roles_killed[0]], signal.SIGKILL)
    for role in roles_killed[1:]:
        with contextlib.suppress(ProcessLookupError):  # it may have gone with the first
            os.kill(found[role], signal.SIGKILL)
    time.sleep(1)
    gone = run | ({found["zygote"]} if {"zygote", "launcher"} & set(roles_killed) else set())
    if "host" in roles_killed:
        gone |= idle
    role = " and ".join(roles_killed)
    problems = ["%s of the run of a killed %s is there after 1 s" % (command, role) for command in judge.stays(gone).values()]
    if "host" in roles_killed:
        pool.process.stdin.close()
        pool.process.wait()
        return problems
    reply, next_reply = json.loads(pool.process.stdout.readline()), pool.script("print(6*7)")
    if reply["verdict"] == "OK" or next_reply["stdout"] != "42\n":
        problems.append("after a killed %s: %s, and then %s" % (role, reply["verdict"], next_reply["verdict"]))
    for pid in judge.descendants(pool.process.pid, judge.processes()) & run:
        problems.append("zombie %d" % pid)
    pool.close()
    return problems


def kills(command):
    together = [("program",), ("init",), ("zygote",), ("launcher",), ("launcher", "zygote"), ("host",)]
    return [p for roles_killed in together for p in kill_some(command, roles_killed)]


def oversubscribed(command, runs):
    cases = [r for r in judge.read_cases(sorted(judge.DATA.glob("*cases.jsonl"))) if r["category"] in ("benign", "forging")]
    cases = [r for r in cases if "{{" not in json.dumps(r)]
    draw = random.Random(2)
    rows = [draw.choice(cases) for _ in range(runs)]
    pool = judge.Pool(command, dict(os.environ))
    begin = time.monotonic()
    accepted = [(r["id"], set(r["accept"]) - set(r["never"])) for r in rows]
    wrong = wrong_verdicts(exchange(pool, rows), accepted)
    pool.close()
    print("  oversubscribed: %d runs in %.1f s, %d wrong" % (runs, time.monotonic() - begin, sum(wrong.values())))
    return ["%s (%d times)" % item for item in wrong.items()] if sum(wrong.values()) > runs / 1000 else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--oversubscribed", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--user", type=int, help="run as this user only")
    args = parser.parse_args()
    problems = []
    with judge.within_reach(args.program) as program:
        for user in judge.users() if args.user is None else [args.user]:
            print("as user %d" % user)
            found = leaks(judge.command_of(program, user, args.jobs, None), args.runs)
            for without in (None, "user_namespace"):
                found += kills(judge.command_of(program, user, 1, without))
            found += oversubscribed(judge.command_of(program, user, 4 * os.cpu_count(), None), args.oversubscribed)
            problems += ["as %d: %s" % (user, p) for p in found]
    print("\n".join(problems) or "nothing is left over")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
