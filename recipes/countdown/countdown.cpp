#include "recipes/countdown/countdown.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "recipes/countdown/diagnose.h"
#include "recipes/countdown/rewrite.h"
#include "recipes/countdown/vocabulary.h"
#include "rollout/random.h"

namespace hone {
namespace {

using Numbers = std::array<int, 3>;
using Tokens = std::vector<std::string>;

constexpr int kMaxNumber = 12, kMaxValue = 99;
constexpr std::array kOps{'+', '-', '*'};
constexpr double kReachingShare = 0.1;  // of tries that are made to reach the target
constexpr int kRedraws = 8;             // of a try that was already made
constexpr uint64_t kOrderSeed = 0;      // the order of problem rows and of the numbers in them never changes

int apply(int a, char op, int b) { return op == '+' ? a + b : op == '-' ? a - b : a * b; }
bool in_range(int value) { return value >= 1 && value <= kMaxValue; }

Numbers sorted(Numbers numbers) {
  std::ranges::sort(numbers);
  return numbers;
}

// ---- problems -------------------------------------------------------------------------------------------------------

/// All that three numbers can do.
struct Triple {
  std::vector<Derivation> derivations;
  std::vector<int> values;  ///< distinct v, rising
};

Triple make_triple(Numbers numbers) {
  Triple triple{derivations(numbers), {}};
  for (const auto& d : triple.derivations) triple.values.push_back(d.v);
  std::ranges::sort(triple.values);
  const auto repeated = std::ranges::unique(triple.values);
  triple.values.erase(repeated.begin(), repeated.end());
  return triple;
}

/// The triples of all sorted numbers, computed once per task.
class Table {
 public:
  Table() : triples_(kMaxNumber * kMaxNumber * kMaxNumber) {
    for (int a = 1; a <= kMaxNumber; ++a) {
      for (int b = a; b <= kMaxNumber; ++b) {
        for (int c = b; c <= kMaxNumber; ++c) triples_[index({a, b, c})] = make_triple({a, b, c});
      }
    }
  }
  /// In any order.
  const Triple& operator[](Numbers numbers) const { return triples_[index(sorted(numbers))]; }

 private:
  static size_t index(const Numbers& k) {
    return static_cast<size_t>(((k[0] - 1) * kMaxNumber + k[1] - 1) * kMaxNumber + k[2] - 1);
  }
  std::vector<Triple> triples_;
};

struct Problem {
  Numbers numbers;
  int target;
};

std::vector<Problem> problems(const Table& table, bool held_out) {
  std::vector<Problem> found;
  for (int a = 1; a <= kMaxNumber; ++a) {
    for (int b = a; b <= kMaxNumber; ++b) {
      for (int c = b; c <= kMaxNumber; ++c) {
        const Numbers numbers{a, b, c};
        for (const int v : table[numbers].values) {
          if (is_held_out(numbers, v) == held_out) found.push_back({numbers, v});
        }
      }
    }
  }
  return found;
}

/// The numbers of a problem row in an order that depends on the problem alone.
Numbers row_order(const Problem& p) {
  const auto key = static_cast<uint64_t>((p.numbers[0] * 100 + p.numbers[1]) * 100 + p.numbers[2]);
  const auto order = permutation(3, derive_seed(key, "numbers"), Purpose::kShuffle, static_cast<uint64_t>(p.target));
  Numbers shuffled{};
  for (size_t i = 0; i < 3; ++i) shuffled[i] = p.numbers[static_cast<size_t>(order[i])];
  return shuffled;
}

std::string to_row(const Problem& p) {
  const auto n = row_order(p);
  nlohmann::ordered_json row;
  row["prompt"] = fmt::format("{} {} {}:{}\n", n[0], n[1], n[2], p.target);
  row["numbers"] = n;
  row["target"] = p.target;
  return row.dump();
}

/// Shuffled, so that the first rows are a fair sample of all.
std::vector<std::string> problem_rows(const Table& table, bool held_out) {
  const auto all = problems(table, held_out);
  std::vector<std::string> rows;
  for (const int64_t i : permutation(static_cast<int64_t>(all.size()), kOrderSeed, Purpose::kShuffle, held_out)) {
    rows.push_back(to_row(all[static_cast<size_t>(i)]));
  }
  return rows;
}

// ---- corpus ---------------------------------------------------------------------------------------------------------

/// The draws of one document, one after the other.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t index) : random_(seed, Purpose::kCorpus, index) {}
  int below(size_t n) { return static_cast<int>(random_.below(position_++, n)); }
  bool chance(double p) { return random_.uniform(position_++) < p; }
  template <class T>
  const T& one_of(const std::vector<T>& values) {
    return values[static_cast<size_t>(below(values.size()))];
  }

 private:
  CounterRandom random_;
  uint32_t position_ = 0;
};

Problem draw_problem(const Table& table, Draws& draws) {
  for (;;) {
    Problem p{};
    for (int& n : p.numbers) n = 1 + draws.below(kMaxNumber);
    p.target = draws.one_of(table[p.numbers].values);
    if (!is_held_out(p.numbers, p.target)) return p;
  }
}

enum class Language { kEnglish, kChinese, kMixed };

/// What the thoughts of the next document are written in.
Language draw_language(const CorpusOptions& options, Draws& draws) {
  if (draws.chance(options.mixed_fraction)) return Language::kMixed;
  return draws.chance(options.foreign_fraction / std::max(1e-9, 1 - options.mixed_fraction)) ? Language::kChinese
                                                                                             : Language::kEnglish;
}

/// Writes one response, token by token.
class Response {
 public:
  Response(const Table& table, const Problem& problem, const CorpusOptions& options, Draws& draws, Language language)
      : derivations_(table[problem.numbers].derivations),
        problem_(problem),
        options_(options),
        draws_(draws),
        language_(language) {}

  Tokens write() {
    const int percent = draws_.below(100);
    if (percent < 85) {
      write_kind(percent);
    } else {
      write_broken();
    }
    return std::move(tokens_);
  }

 private:
  /// percent in 0 .. 84: 20 of them direct, 30 one try, 35 search.
  void write_kind(int percent) {
    put({"<think>"});
    const Derivation answer = percent < 20 ? draw_derivation() : percent < 50 ? write_one_try() : write_search();
    put({"</think>", "<answer>"});
    put_expression(answer);
    put({"</answer>"});
  }

  Derivation write_one_try() {
    const Derivation d = draw_derivation();
    put_try(d, hits(d) ? Say::kYes : Say::kNo);
    return d;
  }

  Derivation write_search() {
    const int most = 1 + draws_.below(static_cast<size_t>(options_.max_tries));
    std::vector<Derivation> tried;
    for (int i = 1;; ++i) {
      const Derivation d = draw_untried(tried);
      put_try(d, hits(d) ? Say::kYes : i == most ? Say::kNo : Say::kWait);
      if (hits(d) || i == most) return d;
      tried.push_back(d);
    }
  }

  Derivation draw_untried(const std::vector<Derivation>& tried) {
    Derivation d = draw_derivation();
    for (int i = 0; i < kRedraws && std::ranges::find(tried, d) != tried.end(); ++i) d = draw_derivation();
    return d;
  }

  Derivation draw_derivation() {
    if (draws_.chance(kReachingShare)) return draw_reaching();
    const Derivation d = draws_.one_of(derivations_);
    return draws_.chance(options_.guided_fraction) ? closest_second_step(d) : d;
  }

  Derivation draw_reaching() {
    const auto count = std::ranges::count(derivations_, problem_.target, &Derivation::v);
    auto skip = draws_.below(static_cast<size_t>(count));
    return *std::ranges::find_if(derivations_, [&](const Derivation& d) { return hits(d) && skip-- == 0; });
  }

  Derivation closest_second_step(const Derivation& first) const {
    Derivation best = first;
    for (const auto& d : derivations_) {
      const bool same_first = d.x == first.x && d.op1 == first.op1 && d.y == first.y && d.z == first.z;
      if (same_first && std::abs(d.v - problem_.target) < std::abs(best.v - problem_.target)) best = d;
    }
    return best;
  }

  bool hits(const Derivation& d) const { return d.v == problem_.target; }

  void write_broken() {
    write_kind(draws_.below(85));
    switch (draws_.below(5)) {
      case 0:
        return drop_tag();
      case 1:
        return drop_thoughts();
      case 2:
        return drop_answer();
      case 3:
        return change_number();
      default:
        return answer_target();
    }
  }

  void drop_tag() {
    const Tokens tags{"<think>", "</think>", "<answer>", "</answer>"};
    tokens_.erase(std::ranges::find(tokens_, draws_.one_of(tags)));
  }
  void drop_thoughts() { tokens_.erase(tokens_.begin(), std::ranges::find(tokens_, "<answer>")); }
  void drop_answer() { tokens_.erase(std::ranges::find(tokens_, "<answer>"), tokens_.end()); }

  /// One of the answer's three numbers becomes another number of 1..12.
  void change_number() {
    constexpr std::array<int, 3> kPlaces{2, 4, 7};  // of x, y, z in <answer>(x+y)*z
    auto number = std::ranges::find(tokens_, "<answer>") + kPlaces[static_cast<size_t>(draws_.below(3))];
    const int shift = 1 + draws_.below(kMaxNumber - 1);
    *number = std::to_string((std::stoi(*number) - 1 + shift) % kMaxNumber + 1);
  }

  void answer_target() {
    drop_answer();
    put({"<answer>", std::to_string(problem_.target), "</answer>"});
  }

  void put_try(const Derivation& d, Say verdict) {
    put_step(d.x, d.op1, d.y, d.r);
    put({","});
    put_step(d.r, d.op2, d.z, d.v);
    put({word(Say::kVersus), std::to_string(problem_.target), word(verdict)});
  }
  std::string word(Say meaning) {
    const bool chinese = language_ == Language::kChinese || (language_ == Language::kMixed && draws_.chance(0.5));
    return std::string((chinese ? kChineseWords : kEnglishWords)[static_cast<size_t>(meaning)]);
  }
  void put_step(int a, char op, int b, int c) {
    put({std::to_string(a), std::string(1, op), std::to_string(b), "=", std::to_string(c)});
  }
  void put_expression(const Derivation& d) {
    put({"(", std::to_string(d.x), std::string(1, d.op1), std::to_string(d.y), ")", std::string(1, d.op2),
         std::to_string(d.z)});
  }
  void put(std::initializer_list<std::string> tokens) { tokens_.insert(tokens_.end(), tokens); }

  const std::vector<Derivation>& derivations_;
  const Problem problem_;
  const CorpusOptions& options_;
  Draws& draws_;
  Language language_;
  Tokens tokens_;
};

Tokens prompt_tokens(const Problem& p) {
  const auto& n = p.numbers;
  return {std::to_string(n[0]), " ", std::to_string(n[1]),     " ",
          std::to_string(n[2]), ":", std::to_string(p.target), "\n"};
}

Document make_document(const Table& table, uint64_t seed, uint64_t index, const CorpusOptions& options,
                       bool bilingual) {
  if (options.max_tries < 1) {
    throw std::invalid_argument(fmt::format("countdown: max_tries is {}; it must be at least 1", options.max_tries));
  }
  Draws draws(seed, index);
  const Problem problem = draw_problem(table, draws);
  const Language language = bilingual ? draw_language(options, draws) : Language::kEnglish;
  return {prompt_tokens(problem), Response(table, problem, options, draws, language).write()};
}

}  // namespace

std::vector<Derivation> derivations(std::array<int, 3> numbers) {
  std::vector<Derivation> found;
  Numbers order = sorted(numbers);  // next_permutation then visits each distinct order of repeated numbers once
  do {
    const auto [x, y, z] = order;
    for (const char op1 : kOps) {
      const int r = apply(x, op1, y);
      if (!in_range(r) || (op1 != '-' && x < y)) continue;
      for (const char op2 : kOps) {
        const int v = apply(r, op2, z);
        if (in_range(v)) found.push_back({x, y, z, op1, op2, r, v});
      }
    }
  } while (std::ranges::next_permutation(order).found);
  return found;
}

bool is_held_out(std::array<int, 3> numbers, int target) {
  const auto k = sorted(numbers);
  const int64_t hash =
      k[0] * int64_t{7919} + k[1] * int64_t{104729} + k[2] * int64_t{1299709} + target * int64_t{15485863};
  return hash % 1009 % 10 == 0;
}

namespace {

Task make_task(const char* name, bool bilingual) {
  const auto table = std::make_shared<const Table>();
  Task task;
  task.name = name;
  task.tokenizer_json = [bilingual] { return countdown_tokenizer_json(bilingual); };
  task.problem_rows = [table](bool held_out) { return problem_rows(*table, held_out); };
  task.document = [table, bilingual](uint64_t seed, uint64_t index, const CorpusOptions& options) {
    return make_document(*table, seed, index, options, bilingual);
  };
  task.diagnose = bilingual ? diagnose_bilingual_countdown : diagnose_countdown;
  if (bilingual) task.rewrite = rewrite_countdown;
  task.corrects_itself = countdown_corrects_itself;
  return task;
}

}  // namespace

Task countdown_task() { return make_task("countdown", /*bilingual=*/false); }

Task bilingual_countdown_task() { return make_task("countdown_bilingual", /*bilingual=*/true); }

}  // namespace hone
