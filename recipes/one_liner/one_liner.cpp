#include "recipes/one_liner/one_liner.h"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "recipes/countdown/vocabulary.h"
#include "recipes/one_liner/diagnose.h"
#include "rollout/random.h"

namespace hone {
namespace {

using Tokens = std::vector<std::string>;

constexpr int kMaxFactor = 9, kMaxTerm = 12, kInputs = 10, kMaxValue = 99;
constexpr double kRightShare = .05;  // of tries that are made right
constexpr size_t kTrainRows = 4000, kHeldOutRows = 400;
constexpr char kHead[] = "for x in map(int,open(0)):print(";  // one token; a program is it, an expression and )
constexpr std::array kHiddenInputs{-7, 0, 5, 9, 23, 100};     // of every row
constexpr uint64_t kRowSeed = 7;                              // the rows never change
constexpr std::array kDroppable{0, 1, 2, 4};                  // of x*M+B; M and B side by side would read as one number

/// The draws of one document, one after the other.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t index) : random_(seed, Purpose::kCorpus, index) {}
  int below(int n) { return static_cast<int>(random_.below(position_++, static_cast<uint64_t>(n))); }
  bool chance(double p) { return random_.uniform(position_++) < p; }

 private:
  CounterRandom random_;
  uint32_t position_ = 0;
};

// ---- problems -------------------------------------------------------------------------------------------------------

int draw_factor(Draws& draws) {
  const int factor = 1 + draws.below(kMaxFactor);
  return factor == 1 ? 0 : factor;
}

OneLiner draw_function(Draws& draws) {
  const int factor = draw_factor(draws);
  const int term = draws.below(2 * kMaxTerm + 1) - kMaxTerm;
  return {factor, term < 0 ? '-' : '+', std::abs(term)};
}

std::array<int, 3> draw_inputs(Draws& draws) {
  std::set<int> chosen;
  while (chosen.size() < 3) chosen.insert(draws.below(kInputs));
  std::array<int, 3> inputs{};
  std::ranges::copy(chosen, inputs.begin());
  return inputs;
}

OneLinerProblem draw_problem(Draws& draws, bool held_out) {
  for (;;) {
    const OneLinerProblem problem{draw_function(draws), draw_inputs(draws)};
    if (is_allowed(problem) && is_held_out(prompt_of(problem)) == held_out) return problem;
  }
}

std::string to_row(const OneLinerProblem& problem) {
  std::string in, out;
  for (const int x : kHiddenInputs) {
    in += fmt::format("{}\n", x);
    out += fmt::format("{}\n", problem.function(x));
  }
  return nlohmann::ordered_json{{"prompt", prompt_of(problem)}, {"inputs", {in}}, {"outputs", {out}}}.dump();
}

std::vector<std::string> problem_rows(bool held_out) {
  Draws draws(kRowSeed, held_out);
  std::set<std::string> seen;
  std::vector<std::string> rows;
  while (rows.size() < (held_out ? kHeldOutRows : kTrainRows)) {
    const OneLinerProblem problem = draw_problem(draws, held_out);
    if (seen.insert(prompt_of(problem)).second) rows.push_back(to_row(problem));
  }
  return rows;
}

// ---- corpus ---------------------------------------------------------------------------------------------------------

int product(const OneLiner& f, int x) { return f.factor == 0 ? x * x : x * f.factor; }

Tokens expression(const OneLiner& f) {
  return {"x", "*", f.factor == 0 ? "x" : std::to_string(f.factor), std::string(1, f.op), std::to_string(f.term)};
}

/// Writes one response, token by token.
class Response {
 public:
  Response(const OneLinerProblem& problem, const CorpusOptions& options, Draws& draws)
      : problem_(problem), options_(options), draws_(draws) {}

  Tokens write() {
    const int percent = draws_.below(100);
    const int tries = percent < 20 ? 0 : percent < 50 ? 1 : 1 + draws_.below(options_.max_tries);
    put({"<think>"});
    OneLiner answer = draw_try();
    for (int i = 1; i <= tries && !put_try(answer, i == tries); ++i) {
      if (i < tries) answer = draw_try();
    }
    put({"</think>", "<answer>", kHead});
    Tokens program = expression(answer);
    if (percent >= 90) program.erase(program.begin() + kDroppable[static_cast<size_t>(draws_.below(4))]);
    put(program);
    put({")", "</answer>"});
    return std::move(tokens_);
  }

 private:
  OneLiner draw_try() {
    for (;;) {  // only those whose check can be written
      const OneLiner f = draws_.chance(kRightShare)                ? problem_.function
                         : draws_.chance(options_.guided_fraction) ? draw_fitting()
                                                                   : draw_function(draws_);
      if (is_allowed({f, problem_.inputs})) return f;
    }
  }

  /// Fits the first example.
  OneLiner draw_fitting() {
    const int x = problem_.inputs[0], y = problem_.function(x);
    for (;;) {
      const OneLiner f{draw_factor(draws_), '+', 0};
      const int term = y - product(f, x);
      if (std::abs(term) <= kMaxTerm) return {f.factor, term < 0 ? '-' : '+', std::abs(term)};
    }
  }

  /// True when it holds for all examples.
  bool put_try(const OneLiner& f, bool last) {
    put(expression(f));
    for (const int x : problem_.inputs) {
      const bool right = f(x) == problem_.function(x);
      put({" ", std::to_string(x), ":", std::to_string(product(f, x)), std::string(1, f.op), std::to_string(f.term),
           "=", std::to_string(f(x)), right ? " ok" : " no"});
      if (right) continue;
      if (!last) put({" wait"});
      return false;
    }
    put({" yes"});
    return true;
  }

  void put(const Tokens& tokens) { tokens_.insert(tokens_.end(), tokens.begin(), tokens.end()); }

  const OneLinerProblem problem_;
  const CorpusOptions& options_;
  Draws& draws_;
  Tokens tokens_;
};

Tokens prompt_tokens(const OneLinerProblem& problem) {
  Tokens tokens;
  for (const int x : problem.inputs) {
    for (const std::string& token : {std::to_string(x), std::string(":"), std::to_string(problem.function(x)),
                                     std::string(x == problem.inputs[2] ? "\n" : " ")}) {
      tokens.push_back(token);
    }
  }
  return tokens;
}

Document make_document(uint64_t seed, uint64_t index, const CorpusOptions& options) {
  if (options.max_tries < 1) {
    throw std::invalid_argument(fmt::format("one_liner: max_tries is {}; it must be at least 1", options.max_tries));
  }
  Draws draws(seed, index);
  const OneLinerProblem problem = draw_problem(draws, /*held_out=*/false);
  return {prompt_tokens(problem), Response(problem, options, draws).write()};
}

/// Countdown's tokenizer with this task's words.
std::string tokenizer_json() {
  auto tokenizer = nlohmann::ordered_json::parse(countdown_tokenizer_json());
  auto& vocabulary = tokenizer["model"]["vocab"];
  for (const char* word : {"x", " ok", kHead}) vocabulary[word] = vocabulary.size();
  tokenizer["pre_tokenizer"]["pattern"]["Regex"] =
      R"(for x in map\(int,open\(0\)\):print\(|[1-9]?[0-9]| wait| vs | yes| no| ok|[\s\S])";
  return tokenizer.dump(2);
}

}  // namespace

int OneLiner::operator()(int x) const {
  const int value = product(*this, x);
  return op == '+' ? value + term : value - term;
}

std::string OneLiner::text() const {
  std::string text;
  for (const auto& token : expression(*this)) text += token;
  return text;
}

bool is_allowed(const OneLinerProblem& problem) {
  return std::ranges::all_of(problem.inputs, [&](int x) {
    const int value = problem.function(x);
    return value >= 0 && value <= kMaxValue;
  });
}

std::string prompt_of(const OneLinerProblem& problem) {
  std::string text;
  for (const auto& token : prompt_tokens(problem)) text += token;
  return text;
}

bool is_held_out(std::string_view prompt) { return derive_seed(kRowSeed, prompt) % 10 == 0; }

Task one_liner_task() {
  Task task;
  task.name = "one_liner";
  task.tokenizer_json = tokenizer_json;
  task.problem_rows = problem_rows;
  task.document = make_document;
  task.diagnose = diagnose_one_liner;
  return task;
}

}  // namespace hone
