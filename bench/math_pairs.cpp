// Times the math checker on the pairs of a JSONL file ({"gold", "pred", "config"?}), whole pipeline, nothing cached:
// read the gold answer, read the prediction, compare. One line of JSON: mean and percentiles in microseconds, pairs a
// second over some threads, and the most memory that one pair took.
//
//   math_pairs tests/data/math/cases.jsonl [--repeat 5] [--threads 2] [--quirks]
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "rewards/math_reward.h"

namespace hone {
namespace {

using Clock = std::chrono::steady_clock;

struct Pair {
  std::string gold, prediction;
  MathConfig config;
};

std::vector<Pair> read_pairs(const std::string& path, bool quirks) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  std::vector<Pair> pairs;
  for (std::string line; std::getline(file, line);) {
    const auto row = nlohmann::json::parse(line);
    MathConfig config;
    if (row.contains("config")) config = read_math_config(row["config"], config);
    config.compare.upstream_quirks = quirks;
    pairs.push_back({row.at("gold"), row.at("pred"), config});
  }
  return pairs;
}

bool is_correct(const Pair& pair) {
  return Gold(pair.gold, pair.config).verify(pair.prediction).verdict == Verdict::kCorrect;
}

double microseconds(const Pair& pair) {
  const auto start = Clock::now();
  is_correct(pair);
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

/// Per pair the median of its repetitions, sorted.
std::vector<double> time_pairs(const std::vector<Pair>& pairs, int repeat) {
  std::vector<double> times;
  for (const auto& pair : pairs) {
    std::vector<double> own;
    for (int i = 0; i < repeat; ++i) own.push_back(microseconds(pair));
    std::ranges::sort(own);
    times.push_back(own[own.size() / 2]);
  }
  std::ranges::sort(times);
  return times;
}

double pairs_per_second(const std::vector<Pair>& pairs, int repeat, unsigned num_threads) {
  std::atomic<size_t> next{0};
  const size_t total = pairs.size() * static_cast<size_t>(repeat);
  const auto work = [&] {
    for (size_t i = next++; i < total; i = next++) is_correct(pairs[i % pairs.size()]);
  };
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < num_threads; ++t) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  return static_cast<double>(total) / std::chrono::duration<double>(Clock::now() - start).count();
}

size_t peak_kilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtoull(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

size_t worst_kilobytes(const std::vector<Pair>& pairs) {
  size_t worst = 0;
  for (const auto& pair : pairs) {
    malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << 5;  // the peak is now what is resident
    const size_t before = peak_kilobytes();
    is_correct(pair);
    worst = std::max(worst, peak_kilobytes() - before);
  }
  return worst;
}

int bench(const std::vector<std::string>& args) {
  int repeat = 5;
  unsigned threads = 2;
  bool quirks = false;
  for (size_t i = 1; i < args.size(); ++i) {
    if (args[i] == "--quirks") quirks = true;
    if (args[i] == "--repeat") repeat = std::stoi(args.at(++i));
    else if (args[i] == "--threads") threads = static_cast<unsigned>(std::stoul(args.at(++i)));
  }
  const auto pairs = read_pairs(args.at(0), quirks);
  const auto times = time_pairs(pairs, repeat);
  double sum = 0;
  for (const double t : times) sum += t;
  const auto at = [&](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  nlohmann::ordered_json out{{"pairs", pairs.size()},
                             {"correct", std::ranges::count_if(pairs, is_correct)},
                             {"mean_us", sum / static_cast<double>(times.size())},
                             {"p50_us", at(0.5)},
                             {"p90_us", at(0.9)},
                             {"p99_us", at(0.99)},
                             {"max_us", times.back()},
                             {"pairs_per_s_1", pairs_per_second(pairs, repeat, 1)},
                             {"pairs_per_s_" + std::to_string(threads), pairs_per_second(pairs, repeat, threads)},
                             {"worst_pair_kb", worst_kilobytes(pairs)}};
  std::cout << out.dump() << '\n';
  return 0;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) {
  try {
    return hone::bench({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "math_pairs: " << error.what()
              << "; usage: math_pairs FILE.jsonl [--repeat N] [--threads N] [--quirks]\n";
    return 2;
  }
}
