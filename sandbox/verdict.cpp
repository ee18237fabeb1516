#include "sandbox/verdict.h"

#include <csignal>
#include <cstring>

#include <fmt/format.h>
#include <sys/wait.h>

#include "sandbox/layers.h"

namespace hone::sandbox {
namespace {

constexpr std::string_view kBlank = " \t\r\f\v";

// What the checker's process ends with (see zygote.py).
enum CheckerStatus { kPassed, kWrong, kRaised, kGone, kBroken };

std::string_view next_line(std::string_view& text) {
  const size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text = end == std::string_view::npos ? "" : text.substr(end + 1);
  const size_t last = line.find_last_not_of(kBlank);
  return line.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

std::string_view without_empty_tail(std::string_view text) {
  const size_t last = text.find_last_not_of(" \t\r\f\v\n");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

/// Memory ran out although nothing was killed: an allocation was refused. The text only tells MLE from RE, and neither
/// is a pass.
bool says_out_of_memory(const Outcome& outcome, const Job& job) {
  const std::string_view tail = without_empty_tail(outcome.stderr_text);
  const std::string_view line = tail.substr(tail.find_last_of('\n') + 1);
  if (line.starts_with("MemoryError") || tail.find("std::bad_alloc") != std::string_view::npos) return true;
  return static_cast<double>(outcome.ended.max_resident_bytes) >= 0.95 * job.limits.memory_mib * (1 << 20);
}

void take_measures(Result& result, Outcome& outcome) {
  result.stdout_text = std::move(outcome.stdout_text);
  result.stderr_text = outcome.stderr_text;
  result.wall_ms = outcome.wall_ms;
  result.cpu_ms = static_cast<double>(outcome.ended.cpu_ns) / 1e6;
  result.peak_mb = static_cast<double>(outcome.ended.max_resident_bytes) / (1 << 20);
  const int status = outcome.ended.wait_status;
  if (!outcome.ended.finished || !outcome.ended.confined) return;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
}

struct Finding {
  Verdict verdict;
  std::string reason;
};

Finding find_limit(const Job& job, const Outcome& o) {
  if (o.out_of_memory || o.ended.cut == Cut::kMemory) {  // first: whoever waits for a killed child runs out of time
    return {Verdict::kMLE, fmt::format("more than {} MiB of memory", job.limits.memory_mib)};
  }
  if (o.cause == Outcome::Cause::kOutput) {
    return {Verdict::kOLE, fmt::format("more than {} bytes on stdout or stderr", job.limits.output_bytes)};
  }
  if (o.cause == Outcome::Cause::kWall) return {Verdict::kTLE, fmt::format("ran longer than {} s", job.limits.wall_s)};
  if (o.ended.cut == Cut::kFiles) return {Verdict::kOLE, "more files, or larger ones, than the limits allow"};
  if (o.ended.cut == Cut::kCpu || (WIFSIGNALED(o.ended.wait_status) && WTERMSIG(o.ended.wait_status) == SIGXCPU)) {
    return {Verdict::kTLE, fmt::format("more than {} s of CPU time", job.limits.cpu_s)};
  }
  return {Verdict::kOK, ""};
}

Finding find_status(const Job& job, const Outcome& o) {
  const int status = o.ended.wait_status;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {Verdict::kOK, ""};
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
    return {Verdict::kSV, "killed by the system call filter"};
  }
  if (says_out_of_memory(o, job)) {
    return {Verdict::kMLE, fmt::format("more than {} MiB of memory", job.limits.memory_mib)};
  }
  if (WIFSIGNALED(status)) {
    return {Verdict::kRE, fmt::format("ended by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)))};
  }
  return {Verdict::kRE, fmt::format("exit status {}", WEXITSTATUS(status))};
}

/// Why this run says nothing about its program.
std::optional<Judged> fault_of_ours(const Outcome& o) {
  if (o.cause == Outcome::Cause::kCancelled) return Judged{internal_error("cancelled"), false};
  if (o.out_of_memory) return std::nullopt;  // may have hit any process of the group
  if (o.lost) return Judged{internal_error("the worker ended in mid-run"), true};
  if (o.ended.failed_errno != 0) {
    return Judged{internal_error(fmt::format("the run could not be set up: {}: {}", name_of(o.ended.failed_layer),
                                             std::strerror(o.ended.failed_errno))),
                  true};
  }
  if (!o.stopped && !o.ended.finished) return Judged{internal_error("the run's init was killed"), true};
  if (o.ended.finished && !o.ended.confined) {
    return Judged{internal_error("the program's process died in its set-up"), true};
  }
  return std::nullopt;
}

/// Of one process tree, by itself.
Finding find(const Job& job, const Outcome& outcome) {
  const Finding limit = find_limit(job, outcome);
  return limit.verdict == Verdict::kOK ? find_status(job, outcome) : limit;
}

Result result_of(Finding finding, Outcome& outcome) {
  Result result;
  result.verdict = finding.verdict;
  result.reason = std::move(finding.reason);
  take_measures(result, outcome);
  return result;
}

Finding find_by_checker(const Job& job, const Outcome& checker) {
  const Finding own = find(job, checker);
  const int status = checker.ended.wait_status;
  if (own.verdict != Verdict::kOK && own.verdict != Verdict::kRE) return own;  // a limit, spent on what the answer gave
  if (!WIFEXITED(status)) return {Verdict::kRE, "the checker crashed on what the answer gave"};
  switch (WEXITSTATUS(status)) {
    case kPassed:
      return {Verdict::kOK, ""};
    case kWrong:
      return {Verdict::kWA, checker.stderr_text};
    case kBroken:
      return {Verdict::kIE, checker.stderr_text};
    case kGone:
    case kRaised:
      return {Verdict::kRE, checker.stderr_text};
    default:
      return {Verdict::kRE, "the checker did not run the tests to their end"};
  }
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  constexpr std::string_view kNames[] = {"OK", "WA", "RE", "TLE", "MLE", "OLE", "SV", "CE", "IE"};
  return kNames[static_cast<int>(verdict)];
}

Result internal_error(std::string reason) {
  Result result;
  result.reason = std::move(reason);
  return result;
}

bool same_output(std::string_view got, std::string_view expected) {
  got = without_empty_tail(got);
  expected = without_empty_tail(expected);
  while (!got.empty() || !expected.empty()) {
    if (next_line(got) != next_line(expected)) return false;
    if (got.empty() != expected.empty()) return false;
  }
  return true;
}

Judged judge_script(const Job& job, Outcome outcome) {
  if (auto fault = fault_of_ours(outcome)) return *fault;
  Finding finding = find(job, outcome);
  if (finding.verdict == Verdict::kOK && job.expected_stdout &&
      !same_output(outcome.stdout_text, *job.expected_stdout)) {
    finding = {Verdict::kWA, "stdout differs from what is expected"};
  }
  return {result_of(std::move(finding), outcome), false};
}

Judged judge_function(const Job& job, Outcome answer, Outcome checker) {
  if (auto fault = fault_of_ours(checker)) return *fault;
  const bool stopped_by_us = answer.stopped && answer.cause == Outcome::Cause::kNone && !answer.out_of_memory;
  if (!stopped_by_us) {
    if (auto fault = fault_of_ours(answer)) return *fault;
  }
  Finding finding = find_by_checker(job, checker);
  const bool passed = finding.verdict == Verdict::kOK && answer.cause != Outcome::Cause::kOutput;
  if (!stopped_by_us && !passed && finding.verdict != Verdict::kIE) {
    // what became of the answer says more than that its checker was left alone
    if (Finding own = find(job, answer); own.verdict != Verdict::kOK) finding = std::move(own);
  }
  return {result_of(std::move(finding), answer), false};
}

Judged judge_compilation(const Job& job, Outcome outcome) {
  if (auto fault = fault_of_ours(outcome)) return *fault;
  Finding finding = find(job, outcome);
  if (finding.verdict != Verdict::kOK) finding = {Verdict::kCE, "does not compile: " + finding.reason};
  return {result_of(std::move(finding), outcome), false};
}

}  // namespace hone::sandbox
