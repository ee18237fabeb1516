#include "rewards/code.h"

#include <algorithm>
#include <latch>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "rewards/code_block.h"
#include "rewards/code_tests.h"

namespace hone {
namespace {

using sandbox::Job;
using sandbox::Language;
using sandbox::Pool;
using sandbox::Result;

/// What became of one program's tests.
struct Outcome {
  size_t passed = 0;
  std::string first_failure;  ///< empty: none failed
  std::string fault;          ///< the sandbox's own; empty: none
};

/// Runs the tests of one program one after the other, each started by the end of the one before it, so that no thread
/// waits. Ends at the first that fails, unless they are to be counted.
class Chain : public std::enable_shared_from_this<Chain> {
 public:
  Chain(Pool& pool, std::vector<Job> jobs, bool count_all, Outcome& outcome, std::shared_ptr<std::latch> done)
      : pool_(pool), jobs_(std::move(jobs)), count_all_(count_all), outcome_(outcome), done_(std::move(done)) {}

  void next() {
    pool_.async_run(std::move(jobs_[at_]), [self = shared_from_this()](Result result) { self->take(result); });
  }

 private:
  void take(const Result& result) {
    ++at_;
    if (result.verdict == sandbox::Verdict::kIE) {
      outcome_.fault = result.reason;
    } else if (result.verdict == sandbox::Verdict::kOK) {
      ++outcome_.passed;
    } else if (outcome_.first_failure.empty()) {
      outcome_.first_failure =
          fmt::format("test {} of {}: {}: {}", at_, jobs_.size(), sandbox::name_of(result.verdict), result.reason);
    }
    const bool ended = !outcome_.fault.empty() || (!outcome_.first_failure.empty() && !count_all_);
    if (ended || at_ == jobs_.size()) {
      done_->count_down();
    } else {
      next();
    }
  }

  Pool& pool_;
  std::vector<Job> jobs_;
  size_t at_ = 0;
  const bool count_all_;
  Outcome& outcome_;
  std::shared_ptr<std::latch> done_;  // outlives the wait, which the last count ends
};

struct Program {
  Language language;
  std::string text;
  auto operator<=>(const Program&) const = default;
};

double number_or(const nlohmann::json& row, const char* name, double otherwise) {
  const auto found = row.find(name);
  return found != row.end() && found->is_number() && found->get<double>() > 0 ? found->get<double>() : otherwise;
}

void set_limits(CodeTests& tests, const Prompt& prompt, const CodeOptions& options) {
  const auto row = nlohmann::json::parse(prompt.columns);
  const double cpu_s = number_or(row, "time_limit", options.time_limit);
  for (Job& job : tests.jobs) {
    job.limits.cpu_s = cpu_s;
    job.limits.wall_s = std::max(3 * cpu_s, cpu_s + 1);
    job.limits.memory_mib = static_cast<int>(number_or(row, "memory_limit", options.memory_limit));
    job.caller = static_cast<uint64_t>(prompt.id);  // prompts take turns in the pool
  }
}

std::optional<CodeTests> tests_of(const Prompt& prompt, const CodeOptions& options) {
  auto tests = read_code_tests(prompt, options.partial ? Grouping::kEach : Grouping::kTogether);
  if (!tests) return tests;
  if (!tests->language && options.language != "auto") tests->language = language_named(options.language);
  set_limits(*tests, prompt, options);
  return tests;
}

std::optional<Program> program_of(const Rollout& rollout, std::optional<Language> wanted) {
  auto block = find_code(rollout.text, rollout.finish_reason, wanted);
  if (!block) return {};
  return Program{wanted.value_or(block->language.value_or(Language::kPython)), std::move(block->text)};
}

std::vector<Job> jobs_for(const CodeTests& tests, const Program& program) {
  std::vector<Job> jobs;
  for (const Job& test : tests.jobs) {
    jobs.push_back(with_program(test, program.text));
    jobs.back().language = program.language;
  }
  return jobs;
}

using Outcomes = std::map<Program, Outcome>;

/// All programs at once; returns when the last test of the last one ended.
void run_all(Pool& pool, const CodeTests& tests, bool count_all, Outcomes& outcomes) {
  const auto done = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(outcomes.size()));
  for (auto& [program, outcome] : outcomes) {
    std::make_shared<Chain>(pool, jobs_for(tests, program), count_all, outcome, done)->next();
  }
  done->wait();
}

Score score_of(const Outcome& outcome, size_t num_tests, bool partial) {
  if (!outcome.fault.empty()) {
    throw SandboxFault("the sandbox could not run a completion's program, twice: " + outcome.fault);
  }
  if (outcome.first_failure.empty()) return Score::correct(fmt::format("passes all {} tests", num_tests));
  Score score = Score::wrong(outcome.first_failure);
  if (partial) score.value = static_cast<double>(outcome.passed) / static_cast<double>(num_tests);
  return score;
}

std::vector<Score> score_group(const CodeOptions& options, const PoolSource& pool, const Prompt& prompt,
                               std::span<const Rollout> rollouts) {
  const auto tests = tests_of(prompt, options);
  if (!tests) {
    return {rollouts.size(), Score::not_applicable("the row has no tests (test, test_list, test_cases, "
                                                   "verification_info, input_output, inputs and outputs)")};
  }
  Outcomes outcomes;
  std::vector<std::optional<Program>> programs;
  for (const auto& rollout : rollouts) {
    programs.push_back(program_of(rollout, tests->language));
    if (programs.back()) outcomes.emplace(*programs.back(), Outcome{});
  }
  if (!outcomes.empty()) {
    const std::shared_ptr<Pool> shared = pool();
    run_all(*shared, *tests, options.partial, outcomes);
  }
  std::vector<Score> scores;
  for (const auto& program : programs) {
    scores.push_back(program ? score_of(outcomes.at(*program), tests->jobs.size(), options.partial)
                             : Score::wrong("holds no program"));
  }
  return scores;
}

}  // namespace

PoolSource lazy_pool(sandbox::PoolOptions options) {
  struct State {
    std::mutex mutex;
    std::shared_ptr<Pool> pool;
  };
  return [options = std::move(options), state = std::make_shared<State>()] {
    const std::lock_guard lock(state->mutex);
    if (!state->pool) state->pool = std::make_shared<Pool>(options);
    return state->pool;
  };
}

RewardFn code_reward(const CodeOptions& options, PoolSource pool) {
  return [options, pool = std::move(pool)](const Prompt& prompt, std::span<const Rollout> rollouts) {
    return score_group(options, pool, prompt, rollouts);
  };
}

RewardFn code_reward(const CodeOptions& options) {
  return code_reward(options, lazy_pool({.jobs = static_cast<int>(options.jobs)}));
}

}  // namespace hone
