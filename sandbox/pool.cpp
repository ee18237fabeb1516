#include <algorithm>
#include <cstring>
#include <latch>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/compiler.h"
#include "sandbox/layers.h"
#include "sandbox/queue.h"
#include "sandbox/run.h"
#include "sandbox/sandbox.h"
#include "sandbox/verdict.h"
#include "sandbox/worker.h"

namespace hone::sandbox {
namespace {

constexpr int kAttempts = 2;  // a fault of ours is tried once more, on fresh workers

/// A descriptor that becomes readable, and stays so, when it is raised.
class Flag {
 public:
  Flag() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!fd_) fail("eventfd");
  }
  void raise() const { (void)!eventfd_write(fd_.get(), 1); }
  int fd() const { return fd_.get(); }

 private:
  Descriptor fd_;
};

/// What the answer or the checker reads: three texts, after their sizes.
Descriptor job_file(const std::string& first, const std::string& second, const std::string& third) {
  std::string text;
  for (const auto* part : {&first, &second, &third}) {
    const auto size = static_cast<uint32_t>(part->size());
    text.append(reinterpret_cast<const char*>(&size), sizeof size);
  }
  return sealed_file("job", text + first + second + third);
}

struct Item {
  Job job;
  std::function<void(Result)> done;
  Binary binary;  ///< C++: compiled
};

}  // namespace

class Pool::Impl {
 public:
  explicit Impl(PoolOptions options);
  ~Impl();

  void enqueue(Item item);
  void wait_for_room() { programs_.wait_for_room(static_cast<size_t>(options_.max_queue)); }

  int jobs() const { return options_.jobs; }
  const std::map<std::string, Layer>& layers() const { return jail_.found; }

 private:
  /// The workers of one thread; each is made when it is missing.
  struct Slot {
    std::unique_ptr<Worker> answer, checker, native;
  };

  void start_threads(Discovery& discovery);
  void run_programs(std::unique_ptr<Worker> first, std::latch& ready);
  void run_compilers(std::latch& ready);
  Worker& fresh(std::unique_ptr<Worker>& worker, WorkerKind kind);

  template <class Attempt>
  Result attempt(Slot& slot, const Job& job, Attempt once);
  Judged run_once(Slot& slot, const Item& item, const std::vector<int>& stops);
  Judged run_script(Worker& worker, const Job& job, Action action, int job_fd, const std::vector<int>& stops);
  Judged run_function(Slot& slot, const Job& job, const std::vector<int>& stops);
  void compile(Slot& slot, Item item);

  PoolOptions options_;
  Jail jail_;
  Compiler compiler_;
  FairQueue<Item> programs_, sources_;
  Flag closing_;
  std::vector<std::thread> threads_;
};

namespace {

PoolOptions completed(PoolOptions options) {
#ifndef HONE_SANDBOX_SWITCHES
  if (!options.without.empty()) throw std::invalid_argument("sandbox: this build cannot leave isolation layers out");
#endif
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (options.jobs <= 0) options.jobs = cores;
  if (options.compile_jobs <= 0) options.compile_jobs = options.jobs;
  if (options.max_queue <= 0) options.max_queue = 4 * options.jobs;
  return options;
}

}  // namespace

// The thread that finds the layers keeps its worker, so it must be one that lives as long as the pool: it is the first
// of the slots' threads, and the constructor waits for it.
Pool::Impl::Impl(PoolOptions options)
    : options_(completed(std::move(options))), compiler_(options_.compiler, options_.cpp_flags) {
  std::promise<void> found;
  std::latch ready(options_.jobs + options_.compile_jobs);
  threads_.emplace_back([&] {
    Discovery discovery;
    try {
      discovery = discover(options_);
      require_layers(discovery.jail.found, options_.require);
    } catch (...) {
      return found.set_exception(std::current_exception());
    }
    jail_ = std::move(discovery.jail);
    found.set_value();
    run_programs(std::move(discovery.worker), ready);
  });
  try {
    found.get_future().get();
  } catch (...) {
    threads_.front().join();
    throw;
  }
  for (int i = 1; i < options_.jobs; ++i) threads_.emplace_back([&] { run_programs(nullptr, ready); });
  for (int i = 0; i < options_.compile_jobs; ++i) threads_.emplace_back([&] { run_compilers(ready); });
  ready.wait();
}

Pool::Impl::~Impl() {
  closing_.raise();
  for (auto* queue : {&programs_, &sources_}) {
    for (Item& item : queue->close()) item.done(internal_error("the pool was closed"));
  }
  for (std::thread& thread : threads_) thread.join();
}

void Pool::Impl::enqueue(Item item) {
  auto& queue = item.job.language == Language::kCpp && !item.binary ? sources_ : programs_;
  if (!queue.push(item.job.caller, item)) item.done(internal_error("the pool was closed"));
}

Worker& Pool::Impl::fresh(std::unique_ptr<Worker>& worker, WorkerKind kind) {
  if (worker && (worker->lost || worker->runs >= options_.recycle_after)) worker.reset();
  if (worker) return *worker;
  Greeting greeting;
  worker = Worker::start(jail_, kind, &greeting);
  if (worker) return *worker;
  throw std::runtime_error(
      fmt::format("no worker starts: {}: {}", name_of(greeting.layer), std::strerror(greeting.error)));
}

/// Workers are started ahead of the first job, which then takes no longer than any other.
void Pool::Impl::run_programs(std::unique_ptr<Worker> first, std::latch& ready) {
  Slot slot{std::move(first), nullptr, nullptr};
  try {
    fresh(slot.answer, WorkerKind::kPython);
    fresh(slot.checker, WorkerKind::kPython);
    fresh(slot.native, WorkerKind::kNative);
  } catch (const std::exception&) {  // tried again, and reported, with each job
  }
  ready.count_down();
  while (auto item = programs_.pop()) {
    item->done(attempt(slot, item->job, [&](const std::vector<int>& stops) { return run_once(slot, *item, stops); }));
  }
}

void Pool::Impl::run_compilers(std::latch& ready) {
  Slot slot;
  try {
    fresh(slot.native, WorkerKind::kNative);
  } catch (const std::exception&) {
  }
  ready.count_down();
  while (auto item = sources_.pop()) compile(slot, std::move(*item));
}

void Pool::Impl::compile(Slot& slot, Item item) {
  Compiled compiled;
  Result result = attempt(slot, item.job, [&](const std::vector<int>& stops) {
    compiled = compiler_.compile(fresh(slot.native, WorkerKind::kNative), item.job, stops);
    return compiled.judged;
  });
  if (!compiled.binary) return item.done(std::move(result));
  item.binary = std::move(compiled.binary);
  enqueue(std::move(item));
}

template <class Attempt>
Result Pool::Impl::attempt(Slot& slot, const Job& job, Attempt once) {
  std::optional<Flag> cancelled;
  std::vector<int> stops{closing_.fd()};
  if (job.stop.stop_possible()) stops.push_back(cancelled.emplace().fd());
  const std::stop_callback on_stop(job.stop, [&] { cancelled->raise(); });
  Judged judged;
  for (int i = 0; i < kAttempts; ++i) {
    try {
      judged = once(stops);
    } catch (const std::exception& error) {
      judged = {internal_error(error.what()), true};
    }
    if (!judged.retry) break;
    slot = {};
  }
  return std::move(judged.result);
}

Judged Pool::Impl::run_once(Slot& slot, const Item& item, const std::vector<int>& stops) {
  const Job& job = item.job;
  if (job.language == Language::kCpp) {
    if (job.mode == Mode::kFunction) return {internal_error("function tests of C++ programs are not supported"), false};
    return run_script(fresh(slot.native, WorkerKind::kNative), job, Action::kExecute, item.binary->get(), stops);
  }
  if (job.mode == Mode::kFunction) return run_function(slot, job, stops);
  const Descriptor program = sealed_file("job", job.program);
  return run_script(fresh(slot.answer, WorkerKind::kPython), job, Action::kScript, program.get(), stops);
}

Judged Pool::Impl::run_script(Worker& worker, const Job& job, Action action, int job_fd,
                              const std::vector<int>& stops) {
  const Descriptor input = job.stdin_text.empty() ? null_device() : sealed_file("stdin", job.stdin_text);
  Party party{&worker, action, input.get(), job_fd, -1, {}};
  return judge_script(job, run_party(std::move(party), budget_of(job.limits, job.language), stops));
}

Judged Pool::Impl::run_function(Slot& slot, const Job& job, const std::vector<int>& stops) {
  Worker& answer = fresh(slot.answer, WorkerKind::kPython);
  Worker& checker = fresh(slot.checker, WorkerKind::kPython);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair");
  Descriptor answer_end(ends[0]), checker_end(ends[1]);
  const Descriptor null = null_device();
  const Descriptor program = job_file(job.prompt, job.program, ""),
                   test = job_file(job.prompt, job.test, job.entry_point);
  std::vector<Party> parties;
  parties.push_back({&answer, Action::kAnswer, null.get(), program.get(), -1, std::move(answer_end)});
  parties.push_back({&checker, Action::kChecker, null.get(), test.get(), -1, std::move(checker_end)});
  auto outcomes = run_parties(std::move(parties), budget_of(job.limits, job.language), stops);
  return judge_function(job, std::move(outcomes[0]), std::move(outcomes[1]));
}

// ---- the public class

Pool::Pool(PoolOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Pool::~Pool() = default;

int Pool::jobs() const { return impl_->jobs(); }
const std::map<std::string, Layer>& Pool::layers() const { return impl_->layers(); }

void Pool::enqueue(Job job, Done done) { impl_->enqueue({std::move(job), std::move(done), nullptr}); }

std::future<Result> Pool::submit(Job job) {
  impl_->wait_for_room();
  auto promise = std::make_shared<std::promise<Result>>();
  auto future = promise->get_future();
  enqueue(std::move(job), [promise](Result result) { promise->set_value(std::move(result)); });
  return future;
}

Result Pool::run(Job job) { return submit(std::move(job)).get(); }

}  // namespace hone::sandbox
