// Untrusted program in, Result out. Every program runs in jails made by the kernel: user, mount, pid, ipc and network
// namespaces where the machine has them, Landlock, a seccomp allow list, rlimits, cgroups where writable. There is no
// way to run without a jail. Not for: hiding CPU side channels, surviving a hole in the kernel.
//
//   Pool pool({.jobs = 4});
//   Result r = pool.run({.program = "print(6*7)", .expected_stdout = "42"});      // r.verdict == Verdict::kOK
//   co_await pool.async_run(job, boost::asio::use_awaitable);                     // or any other completion token
//
// What decides a verdict is the wait status the kernel gives and what the host itself measured, never anything that the
// program printed. Function tests run in two jails, checker and answer, that exchange values only (see zygote.py).
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>

namespace hone::sandbox {

enum class Verdict {
  kOK,   ///< ended by itself with status 0 (and printed what was expected; and passed its tests)
  kWA,   ///< wrong answer: output differs from `expected_stdout`, or an assertion of the tests failed
  kRE,   ///< run-time error: another exit status, a signal, an exception in a tested call
  kTLE,  ///< wall or CPU time limit
  kMLE,  ///< memory limit
  kOLE,  ///< output limit
  kSV,   ///< security violation: killed by the system call filter
  kCE,   ///< does not compile (C++)
  kIE    ///< a fault of the sandbox, not of the program: never a reward
};

/// "OK", "WA", ...
std::string_view name_of(Verdict verdict);

struct Limits {
  double wall_s = 3;             ///< from its start to its end; a quarter more while it waits for a free core
  double cpu_s = 2;              ///< of the program itself; its children are bounded by wall_s
  int memory_mib = 512;          ///< of all its processes: exact in a cgroup, else seen within 50 ms; and of each
  int64_t output_bytes = 65536;  ///< of each of stdout and stderr
  int processes = 32;            ///< processes and threads
  int file_mib = 8;              ///< largest file
  int open_files = 64;
  int tmpfs_mib = 16;  ///< all files together
  int tmpfs_inodes = 512;
  double compile_s = 10;  ///< C++: CPU time of the compiler; its wall limit is half as long again
  int compile_mib = 1024;
};

enum class Language { kPython, kCpp };

enum class Mode {
  kScript,   ///< runs `program` as a script: stdin_text in, stdout out
  kFunction  ///< runs `test` against the function `entry_point` of `program` (Python only)
};

struct Job {
  Language language = Language::kPython;
  Mode mode = Mode::kScript;
  std::string program;
  std::string stdin_text;
  Limits limits;
  /// Script: the verdict is WA unless stdout equals this, trailing white space of lines and trailing empty lines
  /// aside. It never enters the jail.
  std::optional<std::string> expected_stdout;
  /// Function: trusted text that comes before the answer (imports, helpers, the signature); may be empty. A `program`
  /// that only compiles as its continuation (a function body) is run as such.
  std::string prompt;
  /// Function: trusted tests, run in the checker. Either defines `check(candidate)`, which is then called, or consists
  /// of asserts that name the function.
  std::string test;
  /// Function: what is tested, an expression evaluated in the answer: "add", or "Solution().twoSum". Nothing else of
  /// the answer is visible to the tests. Empty: every name in `test` that neither it, the prompt nor Python defines is
  /// the answer's, which is only safe where all such names are things to be tested.
  std::string entry_point;
  uint64_t caller = 0;   ///< jobs of different callers take turns
  std::stop_token stop;  ///< when requested the job is killed; its result is IE with reason "cancelled"
};

struct Result {
  Verdict verdict = Verdict::kIE;
  std::optional<int> exit_code;          ///< of the program (function: of the answer, when it ended by itself)
  std::optional<int> signal;             ///< that ended it
  std::string stdout_text, stderr_text;  ///< bytes, cut at the output limit; CE: the compiler's messages in stderr_text
  double wall_ms = 0, cpu_ms = 0, peak_mb = 0;  ///< of the run; compilation is not counted
  std::string reason;                           ///< one sentence wherever the verdict is not OK
};

/// One isolation layer as probed on this machine.
struct Layer {
  bool on = false;
  std::string reason;  ///< how it was seen to work, or why it does not and what helps
};

/// Probes each layer by doing it, in a worker that is started for this. About 0.1 s. Keys, fixed: user_namespace,
/// mount_namespace, pid_namespace, ipc_namespace, network_namespace, proc, spare_uid, no_new_privs, capabilities,
/// landlock, landlock_network, landlock_scope, seccomp, rlimits, cgroup_memory, cgroup_pids, pidfd, python, cpp.
std::map<std::string, Layer> capabilities();

struct PoolOptions {
  int jobs = 0;                      ///< programs that run at the same time; 0: one a core
  int compile_jobs = 0;              ///< compilers that run at the same time, beside `jobs`; 0: as many as jobs
  int max_queue = 0;                 ///< submit() blocks while so many jobs wait; 0: 4 a job slot
  int recycle_after = 5000;          ///< runs after which a worker is replaced
  std::vector<std::string> require;  ///< layers (keys of capabilities()) without which the pool does not start
  std::string python = "/usr/bin/python3", compiler = "/usr/bin/g++";
  std::string cpp_flags = "-O2 -std=gnu++17";
  /// Layers to leave out, for the test of the tests. Only a library built with HONE_SANDBOX_SWITCHES (target
  /// sandbox_switchable) takes them; in every other the constructor throws.
  std::vector<std::string> without;
};

/// A pool of warm workers. Thread-safe. Starting throws std::runtime_error (one sentence: layer or program, why, what
/// helps) when a required layer is missing or no worker starts. The destructor kills what still runs and completes
/// every job that waits with IE "the pool was closed".
class Pool {
 public:
  explicit Pool(PoolOptions options = {});
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Starts the job; the token is completed with the Result (`void(Result)`) on its associated executor. A job that
  /// waits costs its caller nothing but its own suspension. Cancelling through the token's cancellation slot kills it.
  template <class Token>
  auto async_run(Job job, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result)>(
        [this](auto handler, Job job) { start(std::move(job), std::move(handler)); }, token, std::move(job));
  }

  /// Blocks while the queue is full (back-pressure), then returns at once.
  std::future<Result> submit(Job job);

  /// Runs one job and waits for its result.
  Result run(Job job);

  /// Slots for programs.
  int jobs() const;

  /// What the pool's own workers found when they started; see capabilities().
  const std::map<std::string, Layer>& layers() const;

 private:
  class Impl;
  using Done = std::function<void(Result)>;

  template <class Handler>
  void start(Job job, Handler handler) {
    namespace asio = boost::asio;
    std::stop_source source;
    if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
      slot.assign([source](asio::cancellation_type) mutable { source.request_stop(); });
      job.stop = source.get_token();
    }
    auto work = asio::make_work_guard(asio::get_associated_executor(handler));
    auto shared = std::make_shared<Handler>(std::move(handler));  // std::function wants what can be copied
    enqueue(std::move(job), [shared, work](Result result) mutable {
      asio::dispatch(work.get_executor(),
                     [shared, result = std::move(result)]() mutable { std::move (*shared)(std::move(result)); });
    });
  }

  void enqueue(Job job, Done done);

  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::sandbox
