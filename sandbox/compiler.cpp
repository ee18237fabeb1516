#include "sandbox/compiler.h"

#include <sstream>

#include <fcntl.h>

namespace hone::sandbox {
namespace {

constexpr size_t kPrograms = 64;
constexpr std::string_view kHeader = "bits/stdc++.h";

std::string command_line(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text.append(word).push_back('\0');
  return text;
}

}  // namespace

Compiler::Compiler(std::string program, const std::string& flags) : program_(std::move(program)) {
  std::istringstream words(flags);
  for (std::string word; words >> word;) flags_.push_back(word);
}

Outcome Compiler::run(Worker& worker, const Budget& budget, const std::vector<std::string>& arguments,
                      const std::string& source, int output_fd, int header_fd, const std::vector<int>& stops) const {
  std::vector<std::string> words{program_};
  words.insert(words.end(), flags_.begin(), flags_.end());
  words.insert(words.end(), arguments.begin(), arguments.end());
  const Descriptor text = sealed_file("source", source), command = sealed_file("command", command_line(words));
  Descriptor output(fcntl(output_fd, F_DUPFD_CLOEXEC, 0));
  if (!output) fail("fcntl");
  return run_party({&worker, Action::kCommand, text.get(), command.get(), header_fd, std::move(output)}, budget, stops);
}

int Compiler::header(Worker& worker, const std::vector<int>& stops) {
  const std::lock_guard lock(header_mutex_);
  if (header_tried_) return header_.get();
  Descriptor output = memory_file("header");
  const std::string include = "#include <" + std::string(kHeader) + ">\n";
  Job job;
  job.limits.compile_s = 30;  // our own text, on a machine that may be busy
  const Outcome outcome =
      run(worker, compile_budget(job.limits), {"-x", "c++-header", "/dev/stdin", "-o", "/proc/self/fd/4"}, include,
          output.get(), -1, stops);
  const Judged judged = judge_compilation(job, outcome);
  header_tried_ = !judged.retry && outcome.cause != Outcome::Cause::kCancelled;
  if (judged.result.verdict == Verdict::kOK) header_ = sealed(std::move(output));
  return header_.get();
}

Compiled Compiler::compile(Worker& worker, const Job& job, const std::vector<int>& stops) {
  if (Binary known = find(job.program)) return {std::move(known), {}};
  const int header_fd = job.program.find(kHeader) == std::string::npos ? -1 : header(worker, stops);
  Descriptor output = memory_file("program");
  const std::vector<std::string> arguments{"-pipe", "-I../pch", "-x", "c++", "-", "-o", "/proc/self/fd/4"};
  Outcome outcome = run(worker, compile_budget(job.limits), arguments, job.program, output.get(), header_fd, stops);
  Judged judged = judge_compilation(job, std::move(outcome));
  if (judged.result.verdict != Verdict::kOK) return {nullptr, std::move(judged)};
  const auto binary = std::make_shared<const Descriptor>(sealed(std::move(output)));
  keep(job.program, binary);
  return {binary, std::move(judged)};
}

Binary Compiler::find(const std::string& source) {
  const std::lock_guard lock(programs_mutex_);
  const auto found = programs_.find(source);
  return found == programs_.end() ? nullptr : found->second;
}

void Compiler::keep(const std::string& source, const Binary& binary) {
  const std::lock_guard lock(programs_mutex_);
  if (!programs_.emplace(source, binary).second) return;
  order_.push_back(source);
  if (order_.size() <= kPrograms) return;
  programs_.erase(order_.front());
  order_.pop_front();
}

}  // namespace hone::sandbox
