#include "sandbox/run.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/jail/processes.h"
#include "sandbox/jail/wire.h"

namespace hone::sandbox {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kHeadroom = 64 * kMiB;  // address space of the interpreter itself; its worker's memory in a group
constexpr std::chrono::milliseconds kFarewell{50}, kLeastExtraTime{2};
constexpr double kMostExtraTime = .25;  // of the wall limit, for who waits for a core
constexpr Seconds kPatience{10};        // for a worker to start a run, and to report the end of a killed one

/// The number of the process, as we see it; -1 when it is gone.
pid_t process_of(const Descriptor& pidfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd.get()));
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("Pid:")) return std::atoi(line.c_str() + 4);
  }
  return -1;
}

class Lane {
 public:
  Lane(Party party, const Budget& budget)
      : worker_(party.worker), limit_(budget.output_bytes), kills_before_(worker_->cgroup().out_of_memory_kills()) {
    Pipe out = make_pipe(), err = make_pipe();
    worker_->limit(budget.memory_bytes + kHeadroom, budget.processes + worker_->processes_before());
    ++worker_->runs;
    Task task{request_of(budget), {party.stdin_fd, out.write.get(), err.write.get(), party.job_fd}};
    task.request.action = party.action;
    task.request.header_fd = party.header_fd >= 0;
    if (party.channel) task.fds.push_back(party.channel.get());
    if (party.header_fd >= 0) task.fds.push_back(party.header_fd);
    outcome_.lost = !worker_->begin(task);
    out_ = std::move(out.read);
    err_ = std::move(err.read);
  }

  bool over() const { return ended_ || outcome_.lost; }
  std::optional<Clock::time_point> started() const { return started_; }

  /// Descriptors to wait for, in the order that handle() takes their events.
  void wait_for(std::vector<pollfd>& polls) const {
    polls.push_back({over() ? -1 : worker_->socket(), POLLIN, 0});
    polls.push_back({over() ? -1 : out_.get(), POLLIN, 0});
    polls.push_back({over() ? -1 : err_.get(), POLLIN, 0});
  }

  void handle(const pollfd* polls) {
    if (over()) return;
    if (polls[1].revents) read_stream(out_, outcome_.stdout_text);
    if (polls[2].revents) read_stream(err_, outcome_.stderr_text);
    if (polls[0].revents) receive();
  }

  /// The first cause stays.
  void stop(Outcome::Cause cause) {
    if (over()) return;
    if (outcome_.cause == Outcome::Cause::kNone) outcome_.cause = cause;
    if (!killed_) killed_ = Clock::now();
    outcome_.stopped = true;
    if (pidfd_) syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  }

  /// What the run's processes got of the machine so far.
  Share share() const {
    const pid_t init = over() || !pidfd_ ? -1 : process_of(pidfd_);
    return init > 0 ? share_of_cores(init) : Share{};
  }

  /// A worker that does not start the run, or does not report the end of a killed one, is lost.
  void lose_if_late(Clock::time_point begun) {
    const auto now = Clock::now();
    if ((!started_ && now - begun > kPatience) || (killed_ && now - *killed_ > kPatience)) outcome_.lost = true;
  }

  Outcome finish() {
    if (ended_) outcome_.ended = *ended_;
    read_stream(out_, outcome_.stdout_text);
    read_stream(err_, outcome_.stderr_text);
    const bool failed = !ended_ || !ended_->finished || ended_->wait_status != 0;
    outcome_.out_of_memory = failed && worker_->cgroup().out_of_memory_kills() > kills_before_;
    worker_->lost = outcome_.lost;
    return std::move(outcome_);
  }

 private:
  Request request_of(const Budget& budget) const {
    Request r;
    r.processes = budget.processes + worker_->processes_before();
    r.cpu_ns = static_cast<uint64_t>(budget.cpu_s * 1e9);
    r.data_bytes = budget.memory_bytes + kHeadroom;
    if (!worker_->cgroup().limits_memory()) r.resident_bytes = r.data_bytes;
    r.file_bytes = budget.file_bytes;
    r.stack_bytes = budget.stack_bytes;
    r.tmpfs_bytes = budget.tmpfs_bytes;
    r.open_files = budget.open_files;
    r.tmpfs_inodes = budget.tmpfs_inodes;
    return r;
  }

  /// Reads what is there; past the limit the run is over.
  void read_stream(Descriptor& stream, std::string& text) {
    char buffer[16384];
    while (stream) {
      const ssize_t got = read(stream.get(), buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return stream.reset();
      const size_t room = limit_ - text.size();
      text.append(buffer, std::min(room, static_cast<size_t>(got)));
      if (static_cast<size_t>(got) <= room) continue;
      if (over()) outcome_.cause = Outcome::Cause::kOutput;
      else stop(Outcome::Cause::kOutput);
      return stream.reset();
    }
  }

  void receive() {
    Ended message;
    int fds[kMaxFds], num_fds = 0;
    const ssize_t got = receive_message(worker_->socket(), &message, sizeof message, fds, &num_fds, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      outcome_.lost = true;
    } else if (message.type == MessageType::kStarted && num_fds == 1) {
      pidfd_ = Descriptor(fds[0]);
      started_ = Clock::now();
      if (killed_) stop(outcome_.cause);  // asked for before there was anything to kill
    } else if (message.type == MessageType::kEnded && got == sizeof message) {
      ended_ = message;
      outcome_.wall_ms = started_ ? std::chrono::duration<double, std::milli>(Clock::now() - *started_).count() : 0;
    }
  }

  Worker* worker_;
  size_t limit_;
  uint64_t kills_before_;
  Descriptor out_, err_, pidfd_;
  Outcome outcome_;
  std::optional<Ended> ended_;
  std::optional<Clock::time_point> started_, killed_;
};

class Session {
 public:
  Session(std::vector<Party> parties, const Budget& budget, const std::vector<int>& stops)
      : wall_(budget.wall_s), stops_(stops) {
    lanes_.reserve(parties.size());
    for (Party& party : parties) lanes_.emplace_back(std::move(party), budget);
  }

  std::vector<Outcome> run() {
    while (!std::all_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.over(); })) step();
    std::vector<Outcome> outcomes;
    for (Lane& lane : lanes_) outcomes.push_back(lane.finish());
    return outcomes;
  }

 private:
  void step() {
    std::vector<pollfd> polls;
    for (const Lane& lane : lanes_) lane.wait_for(polls);
    for (const int fd : stops_) polls.push_back({stopped_ ? -1 : fd, POLLIN, 0});
    const Seconds left = farewell_ ? std::min<Seconds>(time_left(), *farewell_ - Clock::now()) : time_left();
    const auto ns = std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::nanoseconds>(left).count());
    const timespec wait{ns / 1000000000, ns % 1000000000};
    ppoll(polls.data(), polls.size(), &wait, nullptr);
    for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i].handle(&polls[3 * i]);
    for (size_t i = 3 * lanes_.size(); i < polls.size(); ++i) stopped_ |= polls[i].revents != 0;
    if (stopped_) stop_all(Outcome::Cause::kCancelled);
    if (time_left() <= Seconds(0) && !extend()) stop_all(Outcome::Cause::kWall);
    if (lanes_.back().over()) say_farewell();
    for (Lane& lane : lanes_) lane.lose_if_late(begun_);
  }

  /// An answer has nothing to do without its checker. That it ends by itself, and how, is worth a moment: one that was
  /// killed by somebody else must not be taken for one that gave up.
  void say_farewell() {
    if (!farewell_) farewell_ = Clock::now() + kFarewell;
    if (Clock::now() >= *farewell_) stop_all(Outcome::Cause::kNone);
  }

  /// On a busy machine a program is not slow because others run: while it waits for a core the wall clock stands still,
  /// unless it is its own processes that keep each other waiting.
  bool extend() {
    Seconds ran{0}, waited{0};
    for (const Lane& lane : lanes_) {
      const Share share = lane.share();
      ran += std::chrono::nanoseconds(share.ran_ns);
      waited += std::chrono::nanoseconds(share.waited_ns);
    }
    if (ran > .75 * (wall_ + extra_)) return false;
    extra_ = std::min<Seconds>(waited, kMostExtraTime * wall_);
    return time_left() > kLeastExtraTime;
  }

  void stop_all(Outcome::Cause cause) {
    for (Lane& lane : lanes_) lane.stop(cause);
  }

  /// Until the deadline; a second at most, so that late workers are noticed.
  Seconds time_left() const {
    const auto now = Clock::now();
    const auto started = lanes_.front().started();
    if (!started) return Seconds(1);
    return std::min<Seconds>(Seconds(1), wall_ + extra_ - (now - *started));
  }

  Seconds wall_, extra_{0};
  std::vector<int> stops_;
  std::vector<Lane> lanes_;
  Clock::time_point begun_ = Clock::now();
  std::optional<Clock::time_point> farewell_;
  bool stopped_ = false;
};

}  // namespace

Budget budget_of(const Limits& limits, Language language) {
  const auto mib = [](int count) { return static_cast<uint64_t>(count) * kMiB; };
  Budget b;
  b.wall_s = limits.wall_s;
  b.cpu_s = limits.cpu_s;
  b.memory_bytes = mib(limits.memory_mib);
  b.output_bytes = static_cast<uint64_t>(limits.output_bytes);
  b.file_bytes = mib(limits.file_mib);
  b.tmpfs_bytes = mib(limits.tmpfs_mib);
  b.stack_bytes = mib(language == Language::kCpp ? 64 : 8);  // a thread of Python takes as much address space
  b.processes = static_cast<uint32_t>(limits.processes);
  b.open_files = static_cast<uint32_t>(limits.open_files);
  b.tmpfs_inodes = static_cast<uint32_t>(limits.tmpfs_inodes);
  return b;
}

Budget compile_budget(const Limits& limits) {
  Budget b = budget_of(limits, Language::kCpp);
  b.cpu_s = limits.compile_s;
  b.wall_s = 1.5 * limits.compile_s;
  b.memory_bytes = static_cast<uint64_t>(limits.compile_mib) * kMiB;
  b.file_bytes = b.tmpfs_bytes = 256 * kMiB;
  b.processes = 32;
  b.open_files = 64;
  return b;
}

std::vector<Outcome> run_parties(std::vector<Party> parties, const Budget& budget, const std::vector<int>& stops) {
  return Session(std::move(parties), budget, stops).run();
}

Outcome run_party(Party party, const Budget& budget, const std::vector<int>& stops) {
  std::vector<Party> parties;
  parties.push_back(std::move(party));
  return std::move(run_parties(std::move(parties), budget, stops).front());
}

}  // namespace hone::sandbox
