// The checker survives whatever it is given: random formulas, mutated cases, bytes. HONE_FUZZ_RUNS=1000000 makes it
// long, HONE_FUZZ_FIRST=200000 begins at another input (for runs in slices).
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rewards/math/verify.h"
#include "tests/rewards/math/test_random.h"

namespace hone {
namespace {

using Random = TestRandom;
using Words = std::vector<std::string>;

/// A formula from a grammar of everything the parser knows and more, legal or nearly so.
std::string random_latex(Random& r, int depth);

std::string number(Random& r) {
  switch (r.between(0, 9)) {
    case 0:
      return std::to_string(r.next());
    case 1:
      return std::to_string(r.between(0, 999)) + "." + std::to_string(r.between(0, 99999));
    case 2:
      return std::string(static_cast<size_t>(r.between(1, 400)), static_cast<char>('0' + r.between(0, 9)));
    case 3:
      return r.pick(Words{"0", "1", "-1", "1,000", "0.5", "1e9", "10^{10}", "999999999999"});
    default:
      return std::to_string(r.between(-20, 99));
  }
}

std::string atom(Random& r) {
  static const Words kAtoms{"x",           "y",       "n",          "e",           "i",          "\\pi",
                            "\\infty",     "\\theta", "\\text{cm}", "\\mathbb{R}", "\\emptyset", "\\varnothing",
                            "a_1",         "x_{n-1}", "F_n",        "\\%",         "\\ldots",    "\\cdots",
                            "\\text{yes}", "\\circ",  "",           "!",           "'",          "|",
                            "\\dots",      "\\alpha", "\\$"};
  return r.chance(60) ? number(r) : r.pick(kAtoms);
}

std::string joined(Random& r, int depth, int count, const std::string& separator) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i ? separator : "") + random_latex(r, depth);
  return text;
}

std::string matrix(Random& r, int depth) {
  const auto kind = r.pick(Words{"pmatrix", "bmatrix", "vmatrix", "matrix", "array", "cases"});
  std::string text = "\\begin{" + kind + "}";
  for (int row = r.between(1, 4); row > 0; --row)
    text += joined(r, depth, r.between(1, 4), " & ") + (row > 1 ? "\\\\" : "");
  return text + "\\end{" + (r.chance(95) ? kind : "bmatrix") + "}";
}

std::string operation(Random& r, int depth) {
  static const Words kOperators{
      "+",      "-",     "*",     "/",         "\\cdot ", "\\times ",    "\\div ", "^",    "=",     "<",
      "\\le ",  ">",     "\\ge ", "\\ne ",     ",",       ";",           ":",      "_",    "\\pm ", "\\cup ",
      "\\cap ", "\\in ", "\\to ", "\\approx ", "\\mod ",  "\\setminus ", " and ",  " or ", "",      " "};
  return random_latex(r, depth) + r.pick(kOperators) + random_latex(r, depth);
}

std::string function(Random& r, int depth) {
  static const Words kFunctions{
      "\\sin",    "\\cos",     "\\tan",  "\\log",      "\\ln",  "\\log_{2}", "\\exp",
      "\\arctan", "\\gcd",     "\\max",  "\\min",      "\\det", "\\lfloor",  "\\lceil",
      "f",        "\\sin^{2}", "\\sqrt", "\\overline", "\\hat", "\\mathbf",  "\\operatorname{lcm}",
      "\\Re",     "\\arg"};
  const auto argument = random_latex(r, depth);
  return r.pick(kFunctions) + (r.chance(50) ? "{" + argument + "}" : "(" + argument + ")");
}

std::string big_operator(Random& r, int depth) {
  const auto body = random_latex(r, depth), high = random_latex(r, depth);
  switch (r.between(0, 3)) {
    case 0:
      return "\\sum_{k=" + number(r) + "}^{" + high + "}" + body;
    case 1:
      return "\\prod_{k=1}^{" + high + "}" + body;
    case 2:
      return "\\int_{0}^{" + high + "}" + body + "\\,dx";
    default:
      return "\\lim_{x\\to " + high + "}" + body;
  }
}

std::string bracketed(Random& r, int depth) {
  static const std::vector<std::pair<std::string, std::string>> kPairs{{"(", ")"},
                                                                       {"[", "]"},
                                                                       {"\\left(", "\\right)"},
                                                                       {"\\{", "\\}"},
                                                                       {"(", "]"},
                                                                       {"[", ")"},
                                                                       {"|", "|"},
                                                                       {"{", "}"},
                                                                       {"\\left\\{", "\\right."},
                                                                       {"\\langle ", "\\rangle"},
                                                                       {"\\boxed{", "}"},
                                                                       {"\\text{", "}"},
                                                                       {"\\left[", "\\right]"}};
  const auto& [open, close] = r.pick(kPairs);
  return open + joined(r, depth, r.between(1, 4), ",") + (r.chance(95) ? close : "");
}

/// Repeats a wrapper around a core: \frac{1}{\frac{1}{.., ((((, 2^{2^{..
std::string tower(Random& r) {
  static const std::vector<std::pair<std::string, std::string>> kFloors{{"9^{", "}"},
                                                                        {"\\frac{1}{1+", "}"},
                                                                        {"\\sqrt{", "}"},
                                                                        {"(", ")"},
                                                                        {"{", "}"},
                                                                        {"-", ""},
                                                                        {"\\left(", "\\right)"},
                                                                        {"", "!"},
                                                                        {"", "^2"},
                                                                        {"\\binom{", "}{7}"},
                                                                        {"\\sin(", ")"},
                                                                        {"9^9^", ""},
                                                                        {"\\log ", ""},
                                                                        {"\\frac", ""},
                                                                        {"1+", ""},
                                                                        {"\\text{", "}"},
                                                                        {"x_{", "}"},
                                                                        {"2(", ")"}};
  const auto& [open, close] = r.pick(kFloors);
  const int height = r.chance(70) ? r.between(2, 12) : r.between(100, 2000);
  std::string text, end;
  for (int i = 0; i < height; ++i) {
    text += open;
    end += close;
  }
  return text + atom(r) + (r.chance(90) ? end : "");
}

std::string random_latex(Random& r, int depth) {
  if (depth <= 0) return atom(r);
  switch (r.between(0, 11)) {
    case 0:
    case 1:
      return atom(r);
    case 2:
    case 3:
      return operation(r, depth - 1);
    case 4:
      return "\\frac{" + random_latex(r, depth - 1) + "}{" + random_latex(r, depth - 1) + "}";
    case 5:
      return random_latex(r, depth - 1) + "^{" + random_latex(r, depth - 1) + "}";
    case 6:
      return (r.chance(50) ? "\\sqrt{" : "\\sqrt[3]{") + random_latex(r, depth - 1) + "}";
    case 7:
      return function(r, depth - 1);
    case 8:
      return bracketed(r, depth - 1);
    case 9:
      return r.chance(50) ? big_operator(r, depth - 1) : matrix(r, depth - 1);
    case 10:
      return "\\binom{" + random_latex(r, depth - 1) + "}{" + random_latex(r, depth - 1) + "}";
    default:
      return r.chance(15) ? tower(r) : "(" + random_latex(r, depth - 1) + ")" + (r.chance(30) ? "!" : "");
  }
}

/// Any bytes, with a preference for those that mean something.
std::string random_bytes(Random& r) {
  static const std::string kFavourites = "\\{}()[]^_$&,;:=<>+-*/!%.|0123456789xyzaenr \n";
  std::string text;
  for (int n = r.between(0, 200); n > 0; --n) {
    text += r.chance(80) ? kFavourites[r.below(kFavourites.size())] : static_cast<char>(r.below(256));
  }
  return text;
}

/// The text with pieces removed, doubled, turned, repeated up to thousands of times, or taken from `other`.
std::string mutate(std::string text, const std::string& other, Random& r) {
  for (int n = r.between(1, 4); n > 0; --n) {
    const size_t at = r.below(text.size() + 1), length = r.below(std::min<size_t>(text.size() - at, 20) + 1);
    const auto piece = text.substr(at, length);
    switch (r.between(0, 6)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, piece);
        break;
      case 2:
        text.insert(at, 1, static_cast<char>(r.below(256)));
        break;
      case 3:
        text.insert(at, other.substr(r.below(other.size() + 1), r.below(30)));
        break;
      case 4:
        std::reverse(text.begin() + static_cast<long>(at), text.begin() + static_cast<long>(at + length));
        break;
      case 5:
        text.insert(at, random_latex(r, 2));
        break;
      default: {
        std::string repeated;
        const size_t times = r.chance(95) ? r.below(20) : r.below(3000);
        for (size_t i = 0; i < times && repeated.size() < 60000; ++i) repeated += piece;
        text.insert(at, repeated);
      }
    }
  }
  return text;
}

// Running them.

constexpr bool kSanitized =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    true;
#else
    false;
#endif
#ifdef __OPTIMIZE__
constexpr double kMaxMilliseconds = kSanitized ? 300 : 10;
#else
constexpr double kMaxMilliseconds = 300;
#endif

size_t fuzz_runs() {
  const char* runs = std::getenv("HONE_FUZZ_RUNS");
  return runs ? std::strtoull(runs, nullptr, 10) : kSanitized ? 3000 : 20000;
}

size_t first_run() {
  const char* first = std::getenv("HONE_FUZZ_FIRST");
  return first ? std::strtoull(first, nullptr, 10) : 0;
}

double cpu_milliseconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

std::vector<std::string> case_texts() {
  std::vector<std::string> texts;
  for (const char* name : {"cases.jsonl", "oracle_cases.jsonl"}) {
    std::ifstream file(std::string(HONE_SOURCE_DIR "/tests/data/math/") + name);
    for (std::string line; std::getline(file, line);) {
      const auto row = nlohmann::json::parse(line);
      texts.push_back(row.at("gold"));
      texts.push_back(row.at("pred"));
    }
  }
  return texts;
}

struct Input {
  std::string gold, prediction;
  bool quirks;
};

Input random_input(const std::vector<std::string>& cases, Random& r) {
  const auto text = [&] {
    switch (r.between(0, 9)) {
      case 0:
        return random_bytes(r);
      case 1:
      case 2:
      case 3: {
        const auto latex = random_latex(r, r.between(1, 5));
        return r.chance(50) ? "$" + latex + "$" : "\\boxed{" + latex + "}";
      }
      default:
        return mutate(r.pick(cases), r.pick(cases), r);
    }
  };
  auto gold = r.chance(50) ? r.pick(cases) : text();
  return {gold, r.chance(15) ? gold : text(), r.chance(50)};
}

Score judge(const Input& input) {
  MathConfig config;
  config.extract.boxed_match_priority = 0;
  config.compare.upstream_quirks = input.quirks;
  return Gold(input.gold, config).verify(input.prediction);
}

TEST(MathFuzz, EndsSoonWhateverTheInput) {
  const auto cases = case_texts();
  const size_t runs = fuzz_runs(), first = first_run();
  double worst = 0;
  size_t worst_run = 0, verdicts[4]{};
  for (size_t i = first; i < first + runs; ++i) {
    Random r(i);
    const auto input = random_input(cases, r);
    double spent = 1e9;
    Score score;
    for (int attempt = 0; attempt < 3 && spent > kMaxMilliseconds / 2; ++attempt) {  // a cold cache is no fault
      const double start = cpu_milliseconds();
      score = judge(input);
      spent = std::min(spent, cpu_milliseconds() - start);
    }
    if (spent > worst) {
      worst = spent;
      worst_run = i;
    }
    ASSERT_LE(spent, kMaxMilliseconds) << "run " << i << "\ngold " << input.gold.substr(0, 2000) << "\nprediction "
                                       << input.prediction.substr(0, 2000);
    ++verdicts[static_cast<int>(score.verdict)];
    ASSERT_FALSE(score.reason.empty()) << i;
    ASSERT_EQ(score.value.has_value(), score.verdict == Verdict::kCorrect || score.verdict == Verdict::kWrong);
  }
  RecordProperty("worst_ms", std::to_string(worst));
  RecordProperty("worst_run", std::to_string(worst_run));
  for (const Verdict v : {Verdict::kCorrect, Verdict::kWrong, Verdict::kNotApplicable}) {
    EXPECT_GT(verdicts[static_cast<int>(v)], runs / 200) << to_string(v) << ": the inputs are not what they should be";
  }
}

/// The process's largest resident size since it was last reset, in bytes; 0 where the kernel does not tell.
size_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtoull(line.c_str() + 6, nullptr, 10) << 10;
  }
  return 0;
}

TEST(MathFuzz, StaysWithinItsMemory) {
  if (kSanitized) GTEST_SKIP() << "sanitizers keep freed memory";
  const auto cases = case_texts();
  const size_t runs = fuzz_runs() / 20;
  constexpr size_t kBatch = 16, kMaxBytes = 4 << 20;
  for (size_t i = 0; i < runs; i += kBatch) {
    std::vector<Input> inputs;
    for (size_t k = 0; k < kBatch; ++k) {
      Random r(i + k + (uint64_t{1} << 40));
      inputs.push_back(random_input(cases, r));
    }
    malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << 5;  // the peak is now what is resident
    const size_t before = peak_resident_bytes();
    for (const auto& input : inputs) judge(input);
    ASSERT_LE(peak_resident_bytes(), before + kMaxBytes) << "in runs from " << i;
  }
}

TEST(MathFuzz, EightThreadsAgreeWithOne) {
  const auto cases = case_texts();
  std::vector<Input> inputs;
  for (size_t i = 0; i < std::min<size_t>(fuzz_runs() / 4, 4000); ++i) {
    Random r(i + (uint64_t{2} << 40));
    inputs.push_back(random_input(cases, r));
  }
  const auto run = [&](size_t first, size_t step, std::vector<Score>& out) {
    for (size_t i = first; i < inputs.size(); i += step) out[i] = judge(inputs[i]);
  };
  std::vector<Score> alone(inputs.size()), together(inputs.size());
  run(0, 1, alone);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 8; ++t) threads.emplace_back([&, t] { run(t, 8, together); });
  for (auto& thread : threads) thread.join();
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_EQ(alone[i].verdict, together[i].verdict) << i;
    ASSERT_EQ(alone[i].reason, together[i].reason) << i;
  }
}

TEST(MathFuzz, OneGoldServesManyThreads) {
  const Gold gold("$\\frac{\\sqrt{8}}{2}$", {});
  std::vector<std::thread> threads;
  std::vector<int> correct(8);
  for (size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) correct[t] += gold.verify("\\boxed{\\sqrt{2}}").verdict == Verdict::kCorrect;
    });
  }
  for (auto& thread : threads) thread.join();
  for (const int count : correct) EXPECT_EQ(count, 50);
}

}  // namespace
}  // namespace hone
