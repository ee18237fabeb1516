"""Judges the sandbox by programs that try to get out of it, to forge a pass, to use up the machine, or just to run.

    python3 tests/sandbox/judge.py PROGRAM [--cases FILE ..] [--only ID,..] [--without LAYER] [--jobs N] [--user UID]

PROGRAM has the contract of `hone sandbox`. Rows go one by one through one pool; what each must do and must not is in its
row (tests/data/sandbox/README.md). Started by root it judges twice, as root and as an ordinary user, each in two halves side
by side, as most of the time is spent waiting for time limits. The canaries and listeners are real ones, of this process.
Exit 1 when a case fails.
"""

import argparse
import base64
import contextlib
import glob
import json
import os
import pathlib
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "sandbox"
NOBODY = 65534
JUDGES_OWN = ("expect", "accept", "never", "must_not", "oracle", "placeholders", "category", "note", "layer", "needs")
QUIET_S = 0.3  # after which nothing of a run may be left


class Host:
    """What a program must not reach: files, sockets, processes and the environment of the machine it runs on."""

    def __init__(self, uid):
        self.token, self.run_id = "TOKEN" + secrets.token_hex(12), "run" + secrets.token_hex(6)
        self.home = tempfile.mkdtemp(prefix="hone_judge_home_")
        self.home_canary = self._file(os.path.join(self.home, "secret.txt"), 0o600)
        self.tmp_canary = self._file(os.path.join(tempfile.gettempdir(), "hone_judge_" + self.run_id), 0o644)
        os.chown(self.home, uid, uid)
        os.chown(self.home_canary, uid, uid)
        self.unix_path = self.tmp_canary + ".socket"
        self.sockets = self._listen()
        self.environment = dict(os.environ, SECRET_TOKEN=self.token, RUN_ID=self.run_id, HOME=self.home)

    def _file(self, path, mode):
        with open(path, "w") as file:
            file.write(self.token + "\n")
        os.chmod(path, mode)
        return path

    def _listen(self):
        kinds = [(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)), (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
                 (socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.run_id), (socket.AF_UNIX, socket.SOCK_STREAM, self.unix_path)]
        sockets = []
        for family, kind, address in kinds:
            listener = socket.socket(family, kind)
            listener.bind(address)
            if kind == socket.SOCK_STREAM:
                listener.listen()
            sockets.append(listener)
        os.chmod(self.unix_path, 0o777)
        return sockets

    def touched(self):
        """The listeners that something reached since the last call."""
        ready, _, _ = select.select(self.sockets, [], [], 0)
        for listener in ready:
            if listener.type == socket.SOCK_STREAM:
                listener.accept()[0].close()
            else:
                listener.recv(65536)
        return ready

    def fill(self, value, write_target):
        """The value with its placeholders replaced."""
        if isinstance(value, list):
            return [self.fill(v, write_target) for v in value]
        if isinstance(value, dict):
            return {k: self.fill(v, write_target) for k, v in value.items()}
        if not isinstance(value, str) or "{{" not in value:
            return value
        names = {"HOME_CANARY": self.home_canary, "HOME_DIR": self.home, "TMP_CANARY": self.tmp_canary,
                 "WRITE_TARGET": write_target, "TCP_PORT": self.sockets[0].getsockname()[1],
                 "UDP_PORT": self.sockets[1].getsockname()[1], "ABSTRACT": self.run_id, "UNIX_PATH": self.unix_path,
                 "HOST_PID": os.getpid(), "RUN_ID": self.run_id}
        for kind in ("user", "mnt", "pid", "ipc", "net", "uts"):
            names["NS_" + kind] = os.readlink("/proc/self/ns/" + kind)
        for name, text in names.items():
            value = value.replace("{{%s}}" % name, str(text))
        return value

    def close(self):
        for listener in self.sockets:
            listener.close()
        shutil.rmtree(self.home)
        for path in (self.tmp_canary, self.unix_path):
            os.unlink(path)


class Pool:
    """The program under test, kept open for many rows."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)

    def run(self, row):
        begin = time.monotonic()
        self.process.stdin.write(json.dumps({k: v for k, v in row.items() if k not in JUDGES_OWN}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("%s: the program under test ended" % row["id"])
        reply = json.loads(line)
        reply["elapsed_s"] = time.monotonic() - begin
        coded = reply.get("stdout_base64")
        reply["bytes"] = base64.b64decode(coded) if coded else reply["stdout"].encode("utf-8", "surrogatepass")
        return reply

    def script(self, program):
        return self.run({"id": "next", "language": "python", "mode": "script", "program": program})

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def processes():
    """{pid: (user, parent, command)} of the machine, but for the dead that wait for the machine's own init to reap them."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError):
            with open("/proc/%s/stat" % pid) as file:
                text = file.read()
            command, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
            if rest[0] == "Z" and rest[1] == "1":
                continue
            found[int(pid)] = (os.stat("/proc/" + pid).st_uid, int(rest[1]), command)
    return found


def descendants(root, table):
    found, grown = {root}, True
    while grown:
        more = {pid for pid, (_, parent, _) in table.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found - {root}


def of_pool(pool):
    """Processes below the pool, and, should one have got out from there, all others of the users of its jails."""
    table = processes()
    below = descendants(pool.process.pid, table)
    users = {table[pid][0] for pid in below} - {0}
    strays = {pid for pid, (user, _, command) in table.items() if user in users and not command.startswith("setpriv")}
    return (below | strays) - {pool.process.pid}


def stays(pids):
    return {pid: c[2] for pid, c in processes().items() if pid in pids}


def system_v():
    """Keys of shared memory, semaphores and queues, and what lies in the folders of their POSIX kin."""
    lines = []
    for kind in ("shm", "sem", "msg"):
        with contextlib.suppress(OSError), open("/proc/sysvipc/" + kind) as file:
            lines += [kind + " ".join(line.split()[:2]) for line in file.readlines()[1:]]
    return set(lines) | set(glob.glob("/dev/mqueue/*"))


def cores():
    return {p for folder in (".", "/", tempfile.gettempdir(), "/var/crash", "/var/lib/systemd/coredump")
            for p in glob.glob(os.path.join(folder, "core*")) if os.path.isfile(p)}


def text_problems(oracle, reply, host):
    out, text = reply["bytes"], reply["bytes"].decode("utf-8", "replace")
    for piece in oracle.get("stdout_lacks", []):
        if piece in text:
            yield "stdout has %r" % piece
    if "stdout_equals" in oracle and text != oracle["stdout_equals"]:
        yield "stdout is %r" % text[:300]
    if "stdout_hex" in oracle and out.hex() != oracle["stdout_hex"]:
        yield "stdout is %s" % out.hex()[:300]
    if "stdout_tail" in oracle and not text.endswith(oracle["stdout_tail"]):
        yield "stdout ends in %r" % text[-100:]
    if "stderr_has" in oracle and oracle["stderr_has"] not in reply["stderr"]:
        yield "stderr is %r" % reply["stderr"][-300:]
    if "exit_code" in oracle and reply["exit_code"] != oracle["exit_code"]:
        yield "exit code %s" % reply["exit_code"]
    if len(out) > oracle.get("max_stdout_bytes", len(out)):
        yield "%d bytes of stdout" % len(out)
    if oracle.get("token_absent") and host.token in json.dumps({k: v for k, v in reply.items() if k != "bytes"}) + text:
        yield "the secret is in its output"


def host_problems(oracle, host, before):
    for path in oracle.get("host_absent", []):
        if os.path.lexists(path):
            yield "made %s" % path
            os.unlink(path)
    for path in oracle.get("host_unchanged") or []:
        if not os.path.exists(path) or pathlib.Path(path).read_text() != host.token + "\n":
            yield "changed %s" % path
    if touched := host.touched():
        if oracle.get("listener_silent"):
            yield "reached %s" % touched[0].getsockname()
    if oracle.get("host_ipc_absent") and system_v() - before["system_v"]:
        yield "left %s" % (system_v() - before["system_v"])
    if oracle.get("no_core") and cores() - before["cores"]:
        yield "left %s" % (cores() - before["cores"])


def next_problems(oracle, pool, another_pool):
    if oracle.get("pool_alive") and (reply := pool.script("print(6*7)"))["stdout"] != "42\n":
        yield "the next program gave %s %r" % (reply["verdict"], reply["stdout"])
    if follow := oracle.get("followup"):
        if (reply := pool.script(follow["program"]))["stdout"] != follow["stdout"]:
            yield "the program after it gave %s %r %s" % (reply["verdict"], reply["stdout"][:200], reply["stderr"][-200:])
    for name, wanted in (("run_twice_same", 1), ("run_twice_differs", 3)):
        if program := oracle.get(name):
            outputs = [p.script(program)["stdout"] for p in (pool, pool, another_pool())]
            if len(set(outputs)) != wanted:
                yield "%s: %s" % (name, outputs)


class Judge:
    def __init__(self, command, uid):
        self.host = Host(uid)
        self.command = command
        self.pool = self.start()
        self.pool.script("print(1)")

    def start(self):
        return Pool(self.command, self.host.environment)

    @contextlib.contextmanager
    def another_pool(self):
        pool = self.start()
        yield pool
        pool.close()

    def problems(self, row, number):
        """What is wrong with what the row's program did; empty when nothing is."""
        row = self.host.fill(row, os.path.join(tempfile.gettempdir(), "hone_judge_w%d_%s" % (number, self.host.run_id)))
        oracle = row["oracle"]
        before = {"processes": of_pool(self.pool), "system_v": system_v(), "cores": cores()}
        self.host.touched()
        reply = self.pool.run(row)
        if reply["verdict"] not in row["accept"] or reply["verdict"] in row["never"]:
            yield "verdict %s, not %s: %s" % (reply["verdict"], "/".join(row["accept"]), reply.get("reason", "")[:300])
        if reply["elapsed_s"] > oracle.get("max_wall_s", 60):
            yield "took %.1f s" % reply["elapsed_s"]
        yield from text_problems(oracle, reply, self.host)
        for wait_s in [0] + ([oracle["recheck_after_s"]] if "recheck_after_s" in oracle else []):
            time.sleep(wait_s)
            yield from host_problems(oracle, self.host, before)
        if oracle.get("no_leftovers"):
            time.sleep(QUIET_S)
            if left := stays(of_pool(self.pool) - before["processes"]):
                yield "left the processes %s" % left
        with contextlib.ExitStack() as stack:
            yield from next_problems(oracle, self.pool, lambda: stack.enter_context(self.another_pool()))

    def judge(self, rows):
        """{id: problems} of the rows that fail."""
        failed = {}
        for number, row in enumerate(rows):
            if found := list(self.problems(row, number)):
                failed[row["id"]] = found
        return failed

    def close(self):
        if status := self.pool.close():
            raise SystemExit("the program under test ended with status %d" % status)
        self.host.close()


def command_of(program, uid, jobs, without):
    command = [program, "--jobs", str(jobs)] + (["--without", without] if without else [])
    if uid != os.geteuid():
        command = ["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid, "--clear-groups"] + command
    return command


def judge_as(uid, program, rows, jobs=1, without=None):
    """{id: problems} of the rows that fail when the program runs as this user."""
    judge = Judge(command_of(program, uid, jobs, without), uid)
    try:
        return judge.judge(rows)
    finally:
        judge.close()


def read_cases(paths):
    return [json.loads(line) for path in paths for line in open(path, encoding="utf-8")]


def missing_layers(program, uid, without=None):
    """Layers that this machine does not give; the cases that need one are left out."""
    text = subprocess.run(command_of(program, uid, 1, without) + ["--capabilities"], stdout=subprocess.PIPE, check=True).stdout
    return {name for name, layer in json.loads(text).items() if not layer["on"]}


@contextlib.contextmanager
def within_reach(program):
    """A copy that an ordinary user may execute, wherever the build lies."""
    with tempfile.TemporaryDirectory(prefix="hone_judge_") as folder:
        os.chmod(folder, 0o755)
        yield shutil.copy(program, folder)


def users():
    return [0, NOBODY] if os.geteuid() == 0 else [os.geteuid()]


def parts_of(rows):
    """(user, rows) to judge side by side. Each ordinary user is one of its own, so that strays are told apart."""
    if os.geteuid() != 0:
        return [(os.geteuid(), rows)]
    return [(0, rows[0::2]), (0, rows[1::2]), (NOBODY, rows[0::2]), (NOBODY - 1, rows[1::2])]


def judge_part(uid, program, rows, args):
    missing = missing_layers(program, uid, args.without)
    judged = [r for r in rows if not missing & {r.get("layer"), r.get("needs")}]
    failed = judge_as(uid, program, judged, args.jobs, args.without)
    return uid, len(judged), failed, [r["id"] for r in rows if r not in judged]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--cases", nargs="+", default=sorted(map(str, DATA.glob("*cases.jsonl"))))
    parser.add_argument("--only", default="", help="ids or categories, separated by commas")
    parser.add_argument("--without", help="a layer to leave out")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--user", type=int, help="judge as this user only")
    args = parser.parse_args()
    chosen = set(filter(None, args.only.split(",")))
    rows = [r for r in read_cases(args.cases) if not chosen or chosen & {r["id"], r["category"]}]
    begin, reports = time.monotonic(), []
    with within_reach(args.program) as program:
        def run(uid, part):
            reports.append(judge_part(uid, program, part, args))
        parts = [(u, rows) for u in [args.user]] if args.user is not None else parts_of(rows)
        threads = [threading.Thread(target=run, args=part) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for uid, judged, failed, left_out in sorted(reports, key=lambda report: report[:2]):
        for case, found in failed.items():
            print("FAILED as %d: %s: %s" % (uid, case, "; ".join(found)))
        for case in left_out:
            print("left out: %s: no such layer here" % case)
        print("user %d: %d of %d cases hold" % (uid, judged - len(failed), judged))
    print("%.1f s" % (time.monotonic() - begin))
    return int(len(reports) < len(threads) or any(report[2] for report in reports))


if __name__ == "__main__":
    sys.exit(main())
