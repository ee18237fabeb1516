// The pool with real jails. The case files (tests/sandbox/*.py) cover escapes; here: the interface, the verdicts, and
// how function tests could be forged.
#include "sandbox/sandbox.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

namespace hone::sandbox {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

class PoolTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { pool = new Pool({.jobs = 2, .compile_jobs = 1}); }
  static void TearDownTestSuite() {
    delete pool;
    pool = nullptr;
  }
  static Result run(std::string program) { return pool->run({.program = std::move(program)}); }
  static Result check(std::string program, std::string test, std::string entry_point = "f", std::string prompt = "") {
    Job job{.mode = Mode::kFunction, .program = std::move(program)};
    job.prompt = std::move(prompt);
    job.test = std::move(test);
    job.entry_point = std::move(entry_point);
    return pool->run(std::move(job));
  }
  static Result compile(std::string program) {
    return pool->run({.language = Language::kCpp, .program = std::move(program)});
  }

  static inline Pool* pool = nullptr;
};

std::string text(Verdict verdict) { return std::string(name_of(verdict)); }

#define EXPECT_VERDICT(result, wanted)                                                               \
  do {                                                                                               \
    const Result seen = (result);                                                                    \
    EXPECT_EQ(text(seen.verdict), text(Verdict::wanted)) << seen.reason << "\n" << seen.stderr_text; \
  } while (false)

TEST_F(PoolTest, RunsAProgramWithItsInput) {
  Job job{.program = "print(sum(map(int, input().split())))"};
  job.stdin_text = "1 2 3\n";
  job.expected_stdout = "6";
  const Result result = pool->run(job);
  EXPECT_EQ(text(result.verdict), "OK") << result.reason;
  EXPECT_EQ(result.stdout_text, "6\n");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_GT(result.cpu_ms, 0);
  EXPECT_GT(result.peak_mb, 1);
  job.expected_stdout = "7";
  EXPECT_VERDICT(pool->run(job), kWA);
}

TEST_F(PoolTest, LimitsHaveVerdictsOfTheirOwn) {
  Job job;
  job.limits.cpu_s = 0.2;
  job.limits.wall_s = 5;
  job.program = "while True: pass";
  EXPECT_VERDICT(pool->run(job), kTLE);
  job.limits = {.wall_s = 0.2};
  job.program = "import time; time.sleep(60)";
  EXPECT_VERDICT(pool->run(job), kTLE);
  job.limits = {.memory_mib = 100};
  job.program = "x = bytearray(1 << 29)";
  EXPECT_VERDICT(pool->run(job), kMLE);
  job.limits = {.output_bytes = 1000};
  job.program = "print('x' * 1000)";
  const Result flood = pool->run(job);
  EXPECT_EQ(text(flood.verdict), "OLE");
  EXPECT_EQ(flood.stdout_text.size(), 1000);
  job.program = "print('x' * 999)";
  EXPECT_VERDICT(pool->run(job), kOK);
}

TEST_F(PoolTest, ACallThroughAForeignAbiIsAViolation) {
#ifdef __x86_64__
  const Result result = run("import ctypes; ctypes.CDLL(None).syscall(0x40000000 | 39); print('alive')");
  EXPECT_EQ(text(result.verdict), "SV");
  EXPECT_EQ(result.signal, SIGSYS);
  EXPECT_EQ(result.stdout_text, "");
#endif
}

TEST_F(PoolTest, LeavingTheInterpreterKeepsPythonsOrder) {
  EXPECT_EQ(run("import atexit\nclass A:\n  def __del__(s): print('del')\na = A()\natexit.register(print, "
                "'atexit')\nprint('end')")
                .stdout_text,
            "end\natexit\ndel\n");
  EXPECT_EQ(run("import sys; sys.exit(7)").exit_code, 7);
  EXPECT_THAT(run("def f():\n  return 1 / 0\nf()").stderr_text,
              HasSubstr("Traceback (most recent call last):\n  File \"main.py\", line 3, in <module>"));
}

TEST_F(PoolTest, ARunSeesNothingOfTheMachineNorOfOtherRuns) {
  const auto path = std::filesystem::temp_directory_path() / ("hone_sandbox_test_" + std::to_string(getpid()));
  std::ofstream(path) << "secret";
  EXPECT_THAT(run("print(open('" + path.string() + "').read())").stderr_text, HasSubstr("Error"));
  std::filesystem::remove(path);
  run("open('left', 'w').write('x')");
  EXPECT_EQ(run("import os; print(os.path.exists('left'), 'PYTEST' in os.environ, len(os.environ))").stdout_text,
            "False False 5\n");
}

// ---- function tests

TEST_F(PoolTest, RightAnswersPassWhateverTheShapeOfTheTests) {
  EXPECT_VERDICT(check("def f(a, b):\n  return a + b", "def check(candidate):\n  assert candidate(2, 3) == 5"), kOK);
  EXPECT_VERDICT(check("def f(a, b):\n  return a + b", "assert f(2, 3) == 5\nassert f(b=1, a=1) == 2"), kOK);
  EXPECT_VERDICT(check("    return a + b", "assert f(2, 3) == 5", "f", "def f(a, b):\n"), kOK);  // a body
  EXPECT_VERDICT(
      check("class Solution:\n  def two(self, x):\n    return 2 * x", "assert candidate(4) == 8", "Solution().two"),
      kOK);
  EXPECT_VERDICT(
      check("def g(x: List[int]):\n  return max(x)", "assert g([1, 2]) == 2", "g", "from typing import List\n"), kOK);
  EXPECT_VERDICT(check("def enc(x): return x + 1\ndef dec(x): return x - 1", "assert dec(enc(5)) == 5", ""), kOK);
  EXPECT_VERDICT(check("def f(g, x): return [g(y) for y in x]", "assert f(lambda y: y * y, [1, 2]) == [1, 4]"), kOK);
  EXPECT_VERDICT(check("def f(n): return lambda x: x + n", "assert f(2)(3) == 5"), kOK);
  EXPECT_VERDICT(check("class C:\n  def __init__(s): s.n = 0\n  def up(s): s.n += 1\ndef f(): return C()",
                       "c = f()\nc.up()\nc.up()\nassert c.n == 2"),
                 kOK);
  EXPECT_VERDICT(check("def f(x):\n  raise ValueError('no')",
                       "try:\n  f(1)\n  assert False\nexcept ValueError as e:\n  assert str(e) == 'no'"),
                 kOK);
}

TEST_F(PoolTest, ValuesCrossUnchanged) {
  EXPECT_VERDICT(check("def f(x): return x", R"(
import collections, decimal, fractions, math
for x in (None, True, 0, -7, 10**40, -2**62, 1.5, 0.1, float('inf'), 'a\u00e9\ud800\0', b'\x00\xff', bytearray(b'x'), 2+3j,
          [], [1, [2, (3,)]], (), (1, 'a'), {1, 2}, frozenset({3}), {}, {(1, 2): {'k': [None]}}, range(2, 9, 3),
          collections.Counter('aab'), collections.deque([1, 2]), decimal.Decimal('1.10'), fractions.Fraction(1, 3)):
    y = f(x)
    assert y == x and type(y) is type(x), x
assert math.isnan(f(float('nan')))
assert math.copysign(1, f(-0.0)) == -1
)"),
                 kOK);
  EXPECT_VERDICT(
      check("import collections, enum\nclass E(enum.IntEnum):\n  A = 1\nP = collections.namedtuple('P', 'x y')\n"
            "def f(n): return [E.A, P(1, 2), collections.OrderedDict(a=1), (i for i in range(3))][n]",
            "assert f(0) == 1 and f(1) == (1, 2) and f(1).y == 2 and f(2) == {'a': 1} and list(f(3)) == [0, 1, 2]"),
      kOK);
}

TEST_F(PoolTest, WhatADroppedCallDoesToItsArgumentsIsSeen) {
  const std::string sort = "def f(a): a.sort()", clear = "def f(a):\n  a.clear()\n  return []";
  EXPECT_VERDICT(check(sort, "a = [3, 1]\nf(a)\nassert a == [1, 3]"), kOK);
  EXPECT_VERDICT(check(clear, "a = [3, 1]\nf(a)\nassert a == [1, 3]"), kWA);
  EXPECT_VERDICT(check(clear, "a = [3, 1]\nassert f(a) == sorted(a)"), kWA);
  EXPECT_VERDICT(check("def f(d, *, s): d['k'] = s.pop()", "d, s = {}, {7}\nf(d, s=s)\nassert d == {'k': 7} and not s"),
                 kOK);
  EXPECT_VERDICT(
      check("def f(a): raise ValueError", "a = [1]\ntry:\n  f(a)\nexcept ValueError: a += [2]\nassert a == [1, 2]"),
      kOK);
}

TEST_F(PoolTest, ObjectsOfTheAnswerGiveValuesButDoNotJudgeThem) {
  const std::string node =
      "class Node:\n  def __init__(s, v, n=None): s.val, s.next = v, n\n"
      "  def __eq__(s, o): return True\n  def __sub__(s, o): return 0\n"
      "  __hash__ = object.__hash__\n";
  EXPECT_VERDICT(check(node + "def f(h): return h.next",
                       "h = Node(1, Node(2))\nassert f(h).val == 2\n"
                       "assert f(h) is f(h)\nh.next.val = 3\nassert f(h).val == 3",
                       ""),
                 kOK);
  EXPECT_VERDICT(check(node + "def f(x): return Node(x)", "assert f(1) == 2"), kWA);
  EXPECT_VERDICT(check("class D:\n  __len__ = lambda s: 2\n  __iter__ = lambda s: iter([3, 1])\n"
                       "  __getitem__ = lambda s, i: i\ndef f(x): return D()",
                       "r = f([3, 1])\nassert sorted(r) == [1, 3] and r[0] <= r[1]"),
                 kWA);  // shows one face to each question
  EXPECT_VERDICT(check(node + "def f(x): return Node(x)", "assert abs(f(1) - 1) < 1e-6"), kWA);
  EXPECT_VERDICT(check("def f():\n  n = 0\n  while True:\n    yield n\n    n += 1",
                       "from itertools import islice\nassert list(islice(f(), 3)) == [0, 1, 2]"),
                 kOK);
  EXPECT_VERDICT(
      check("def depth(t): return 1 + max(map(depth, t.children), default=0)", "assert f(Tree([Tree([])])) == 2",
            "depth", "class Tree:\n  def __init__(s, c): s.children = c\n"),
      kWA);  // `f` is nobody's
  EXPECT_VERDICT(check("def f(t): return 1 + max(map(f, t.children), default=0)", "assert f(Tree([Tree([])])) == 2",
                       "f", "class Tree:\n  def __init__(s, c): s.children = c\n"),
                 kOK);
}

TEST_F(PoolTest, ACalledNameIsNoModule) {
  EXPECT_VERDICT(check("def trace(m): return m[0][0]", "assert trace([[4]]) == 4", ""), kOK);
}

/// An answer that is wrong, and does something so that it should count as right.
struct Cheat {
  const char* name;
  const char* program;
};

class ForgeryTest : public PoolTest, public testing::WithParamInterface<Cheat> {};

constexpr const char* kTests =
    "def check(candidate):\n  assert candidate(2, 3) == 5\n  assert candidate(-1, 1) == 0\n"
    "  assert all(map(lambda p: candidate(*p) == sum(p), [(4, 5), (7, 8)]))\n";

TEST_P(ForgeryTest, DoesNotPass) {
  const Result result = check(GetParam().program, kTests);
  EXPECT_NE(text(result.verdict), "OK");
  EXPECT_NE(text(result.verdict), "IE") << result.reason;
}

const Cheat kCheats[] = {
    {"Nothing", ""},
    {"EqualToAll", "class A(int):\n  def __eq__(s, o): return True\n  __hash__ = None\ndef f(a, b): return A()"},
    {"EqualStr", "class A(str):\n  def __eq__(s, o): return True\ndef f(a, b): return A()"},
    {"EqualObject",
     "class A:\n  def __eq__(s, o): return True\n  def __bool__(s): return True\ndef f(a, b): return A()"},
    {"EqualMeta",
     "class M(type):\n  def __eq__(s, o): return True\n  def __hash__(s): return 1\nclass A(metaclass=M): pass\n"
     "def f(a, b): return A"},
    {"StopIteration", "def f(a, b):\n  if (a, b) in ((2, 3), (-1, 1)): return a + b\n  raise StopIteration"},
    {"GeneratorExit", "def f(a, b): raise GeneratorExit"},
    {"ExitInCall", "import os\ndef f(a, b): os._exit(0)"},
    {"SysExitInCall", "import sys\ndef f(a, b): sys.exit(0)"},
    {"ExitAfterLastCall",
     "import os, threading, time\ndef f(a, b):\n"
     "  threading.Thread(target=lambda: (time.sleep(.01), os._exit(0))).start()\n  return 5"},
    {"ReplyPassOnTheChannel",
     "import os, json, struct\ndef f(a, b):\n"
     "  for v in ({'end': True}, {'nonce': '', 'value': 5}, {'verdict': 'OK'}):\n"
     "    d = json.dumps(v).encode()\n    os.write(4, struct.pack('<I', len(d)) + d)\n  os._exit(0)"},
    {"NonceOfTheFrame",
     "import sys, os, json, struct\ndef f(a, b):\n  n = sys._getframe(2).f_locals.get('call', {}).get('nonce')\n"
     "  d = json.dumps({'nonce': n, 'value': True}).encode()\n"
     "  for _ in range(9): os.write(4, struct.pack('<I', len(d)) + d)\n  return 0"},
    {"OwnCodec",
     "import __main__, sys, gc\nfor o in gc.get_objects():\n  if type(o).__name__ == 'Codec':\n"
     "    type(o).encode = lambda s, v: {'h': 0}\ndef f(a, b): return 0"},
    {"OwnEvalOfBuiltins",
     "import builtins\nbuiltins.sum = lambda *a: 0\nbuiltins.all = lambda *a: True\n"
     "def f(a, b): return 5 if a == 2 else 0"},
    {"PatchJson", "import json\njson.dumps = lambda *a, **k: '{\"end\": true, \"value\": 5}'\ndef f(a, b): return 0"},
    {"KillEverybody",
     "import os, signal\nfor p in range(1, 50):\n  try:\n    if p != os.getpid(): os.kill(p, 9)\n"
     "  except OSError: pass\ndef f(a, b): return 0"},
    {"ReadTests",
     "import glob\ndef f(a, b):\n  for p in glob.glob('/proc/*/environ') + glob.glob('/box/**', recursive=True):\n"
     "    try:\n      if 'assert' in open(p).read(): return a + b\n    except OSError: pass\n  return 0"},
    {"DeepReply", "def f(a, b):\n  x = []\n  for _ in range(900): x = [x]\n  return x"},
    {"HugeReply", "def f(a, b): return 'x' * (40 << 20)"},
    {"NestedHandle",
     "import os, json, struct, sys\ndef f(a, b):\n  n = sys._getframe(2).f_locals['call']['nonce']\n"
     "  d = json.dumps({'nonce': n, 'callback': 0, 'args': [], 'kwargs': {'d': []}}).encode()\n"
     "  os.write(4, struct.pack('<I', len(d)) + d)\n  return 0"},
    {"ErrorOfAnyKind",
     "import os, json, struct, sys\ndef f(a, b):\n  n = sys._getframe(2).f_locals['call']['nonce']\n"
     "  d = json.dumps({'nonce': n, 'error': [], 'builtin': 'exit', 'text': {}}).encode()\n"
     "  os.write(4, struct.pack('<I', len(d)) + d)\n  os._exit(0)"},
    {"UnhashableKey",
     "import os, json, struct, sys\ndef f(a, b):\n  n = sys._getframe(2).f_locals['call']['nonce']\n"
     "  d = json.dumps({'nonce': n, 'value': {'s': [[1]]}}).encode()\n"
     "  os.write(4, struct.pack('<I', len(d)) + d)\n  os._exit(0)"},
    {"ForkAndAnswer", "import os\ndef f(a, b):\n  if os.fork() == 0: return 5\n  os._exit(0)"},
    {"ExecTrue", "import os\ndef f(a, b): os.execv('/bin/true', ['true'])"},
    {"RunByItself", "def check(candidate): pass\ncandidate = None\ndef f(a, b): return 0"},
};

INSTANTIATE_TEST_SUITE_P(Forgery, ForgeryTest, testing::ValuesIn(kCheats),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(PoolTest, TheForgeryTestsPassARightAnswer) { EXPECT_VERDICT(check("def f(a, b): return a + b", kTests), kOK); }

TEST_F(PoolTest, WhatHasAMeaningWithoutTheAnswerIsNeverTheAnswers) {
  const std::string cheat =
      "def sorted(x): return x\nclass math:\n  isclose = lambda *a: True\ndef helper(x): return True\n";
  EXPECT_VERDICT(check(cheat + "def f(x): return x", "assert f([2, 1]) == sorted([2, 1])"), kWA);
  EXPECT_VERDICT(check(cheat + "def f(x): return 0", "assert math.isclose(f(1), 1.0)"), kWA);
  EXPECT_VERDICT(check(cheat + "def f(x): return 0", "assert helper(f(1))"), kWA);  // nobody defines it
}

TEST_F(PoolTest, TestsThatDoNotCompileAreNotTheAnswersFault) {
  const Result result = check("def f(): return 1", "assert f( == 1");
  EXPECT_EQ(text(result.verdict), "IE");
  EXPECT_THAT(result.reason, HasSubstr("the tests do not compile"));
}

// ---- C++

TEST_F(PoolTest, CompilesAndRunsCpp) {
  if (!pool->layers().at("cpp").on) GTEST_SKIP() << pool->layers().at("cpp").reason;
  const Result result = compile("#include <cstdio>\nint main() { puts(\"hello\"); }");
  EXPECT_EQ(text(result.verdict), "OK") << result.reason << result.stderr_text;
  EXPECT_EQ(result.stdout_text, "hello\n");
  const Result broken = compile("int main() { return x; }");
  EXPECT_EQ(text(broken.verdict), "CE");
  EXPECT_THAT(broken.stderr_text, HasSubstr("was not declared"));
  EXPECT_VERDICT(compile("#include \"/etc/shadow\"\nint main() {}"), kCE);
  EXPECT_VERDICT(compile("int main() { __builtin_trap(); }"), kRE);
}

TEST_F(PoolTest, TheCompilerFindsThePrecompiledHeader) {
  if (!pool->layers().at("cpp").on) GTEST_SKIP() << pool->layers().at("cpp").reason;
  const Result result = compile(
      "#include <bits/stdc++.h>\n#if __has_include(\"../pch/bits/stdc++.h.gch\")\nint main() { std::puts(\"found\"); "
      "}\n#endif");
  EXPECT_EQ(result.stdout_text, "found\n") << result.stderr_text;
}

// ---- the pool

TEST_F(PoolTest, AnyCompletionTokenWorks) {
  EXPECT_EQ(pool->async_run({.program = "print(1)"}, boost::asio::use_future).get().stdout_text, "1\n");
  boost::asio::io_context context;
  std::string seen;
  std::thread::id thread;
  pool->async_run({.program = "print(2)"}, boost::asio::bind_executor(context, [&](Result result) {
                    seen = result.stdout_text;
                    thread = std::this_thread::get_id();
                  }));
  context.run();
  EXPECT_EQ(seen, "2\n");
  EXPECT_EQ(thread, std::this_thread::get_id());
}

TEST_F(PoolTest, CancellingKills) {
  boost::asio::io_context context;
  boost::asio::cancellation_signal signal;
  Result seen;
  const auto start = steady_clock::now();
  auto handler = boost::asio::bind_executor(context, [&](Result result) { seen = std::move(result); });
  pool->async_run({.program = "import time; time.sleep(60)"},
                  boost::asio::bind_cancellation_slot(signal.slot(), handler));
  std::this_thread::sleep_for(milliseconds(100));
  signal.emit(boost::asio::cancellation_type::terminal);
  context.run();
  EXPECT_EQ(seen.reason, "cancelled");
  EXPECT_LT(steady_clock::now() - start, milliseconds(2000));
}

TEST_F(PoolTest, ClosingCompletesEveryJob) {
  std::vector<std::future<Result>> futures;
  {
    Pool closing({.jobs = 1, .compile_jobs = 1});
    for (int i = 0; i < 3; ++i) futures.push_back(closing.submit({.program = "import time; time.sleep(60)"}));
  }
  for (auto& future : futures) EXPECT_EQ(text(future.get().verdict), "IE");
}

/// Direct children of ours, the launchers.
std::vector<pid_t> children() {
  std::vector<pid_t> pids;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream in(task.path() / "children");
    for (pid_t pid; in >> pid;) pids.push_back(pid);
  }
  return pids;
}

TEST_F(PoolTest, AKilledWorkerCostsNoVerdict) {
  auto future = pool->submit({.program = "import time; time.sleep(.5); print('done')"});
  std::this_thread::sleep_for(milliseconds(150));
  for (const pid_t pid : children()) kill(pid, SIGKILL);
  const Result result = future.get();
  EXPECT_EQ(text(result.verdict), "OK") << result.reason;
  EXPECT_EQ(result.stdout_text, "done\n");
}

TEST_F(PoolTest, RunsLeaveNothingBehind) {
  const auto count = [](const char* path) {
    return std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator());
  };
  for (int i = 0; i < 8; ++i) run("1");  // every slot has its workers
  const auto fds = count("/proc/self/fd"), processes = static_cast<std::ptrdiff_t>(children().size());
  for (int i = 0; i < 100; ++i)
    run(i % 10 ? "import os\nif os.fork() == 0:\n  os.setsid()\n  while True: pass" : "1/0");
  EXPECT_EQ(count("/proc/self/fd"), fds);
  EXPECT_EQ(static_cast<std::ptrdiff_t>(children().size()), processes);
}

TEST_F(PoolTest, MissingLayersAreNamed) {
  EXPECT_THROW(Pool({.require = {"no_such_layer"}}), std::invalid_argument);
  EXPECT_THROW(Pool({.python = "/no/such/python"}), std::runtime_error);
  EXPECT_THROW(Pool({.without = {"seccomp"}}), std::invalid_argument);  // no unsandboxed mode
  for (const auto& [name, layer] : pool->layers()) EXPECT_FALSE(layer.reason.empty()) << name;
  EXPECT_TRUE(pool->layers().at("seccomp").on);
}

}  // namespace
}  // namespace hone::sandbox
