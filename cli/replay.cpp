// hone replay RUN --step N: a stored step computed again, as it was or under another reward or loss.
#include "rl/replay.h"

#include <cmath>
#include <iostream>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "models/kernels/thread_pool.h"
#include "rl/run_store.h"

namespace hone {
namespace {

using nlohmann::ordered_json;

std::string cell(const Replay::Metrics& metrics, const std::string& name) {
  const auto found = metrics.find(name);
  return found == metrics.end() ? "-" : fmt::format("{:.9g}", found->second);
}

ordered_json to_json(const Replay::Metrics& metrics) {
  ordered_json out = ordered_json::object();
  for (const auto& [name, value] : metrics) out[name] = std::isfinite(value) ? ordered_json(value) : ordered_json();
  return out;
}

ordered_json to_json(const Replay& r) {
  ordered_json out{{"stage", r.stage},
                   {"step", r.step},
                   {"first_step", r.first_step},
                   {"start", r.start},
                   {"identical", r.differences.empty()},
                   {"differences", r.differences},
                   {"weights", r.weights.empty() ? ordered_json() : ordered_json(r.weights)},
                   {"stored", to_json(r.stored)},
                   {"recomputed", to_json(r.recomputed)}};
  if (r.changed) {
    out["changed"] = to_json(*r.changed);
    out["gradient_cosine"] = r.gradient_cosine ? ordered_json(*r.gradient_cosine) : ordered_json();
  }
  return out;
}

void print(const Replay& r) {
  std::cout << fmt::format("stage {}, step {}: steps {} to {} made again from {}\n", r.stage, r.step, r.first_step,
                           r.step, r.start);
  std::vector<std::string> header{"metric", "stored", "recomputed"};
  if (r.changed) header.emplace_back("changed");
  Replay::Metrics names = r.recomputed;
  if (r.changed) names.insert(r.changed->begin(), r.changed->end());
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : names) {
    rows.push_back({name, cell(r.stored, name), cell(r.recomputed, name)});
    if (r.changed) rows.back().push_back(cell(*r.changed, name));
  }
  std::cout << table(header, rows);
  if (r.gradient_cosine)
    std::cout << fmt::format("cosine between the changed gradient and the one it had: {:.6f}\n", *r.gradient_cosine);
  for (const std::string& difference : r.differences) std::cout << difference << '\n';
  if (!r.differences.empty()) return;
  std::cout << "identical to the bit: metrics, advantages and log-probs of the steps made again"
            << (r.weights.empty() ? "; no checkpoint was kept after this step to compare weights with\n"
                                  : ", and the weights in " + r.weights + "\n");
}

}  // namespace

int replay(const ReplayArgs& args, const Host& host) {
  as_input([&] { return RunReader(args.run).stages().size(); });  // that it is a run
  const Replay result = replay_step({.run_dir = args.run,
                                     .stage = args.stage,
                                     .step = args.step,
                                     .overrides = args.set,
                                     .rewards = args.reward,
                                     .threads = kernel_pool().threads(),
                                     .host = host});
  if (args.json) std::cout << to_json(result).dump() << '\n';
  else print(result);
  if (result.differences.empty()) return 0;
  throw std::runtime_error(
      fmt::format("{} of the compared values differ, the first: {}; was the run made by another "
                  "binary or machine?",
                  result.differences.size(), result.differences[0]));
}

}  // namespace hone
