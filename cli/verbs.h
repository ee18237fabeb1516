// The verbs of the command line: what each is given, and the function that does it. Flags are bound in
// command_line.cpp. Every function returns the exit status; exceptions are turned into one there: std::invalid_argument
// (see cli/input.h) is what the user got wrong, everything else a failed run. Results go to standard output.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hone {

struct Host;  // rl/host.h

/// Where the arithmetic runs; neither changes a result.
struct ComputeArgs {
  int threads = 0;              ///< 0: all cores
  std::string instruction_set;  ///< avx512bf16, avx512, avx2 or generic; empty: the best this processor has
};

struct TrainArgs {
  std::string recipe;
  std::vector<std::string> set;
  bool quick = false;   ///< at the scale of the recipe's `quick`
  std::string run_dir;  ///< empty: runs/NAME
  bool resume = false;
  std::optional<std::string> from, until;
  bool dry_run = false;
  bool allow_missing = false;  ///< with dry_run: models and files that are not there are listed, not refused
  ComputeArgs compute;
};
/// `host`: what Python puts into the run.
int train(const TrainArgs& args, const Host& host);

/// How completions are drawn. What is absent comes from generation_config.json, else: temperature 1, no filters, and as
/// many new tokens as the model has positions for, 256 at most.
struct SamplingArgs {
  bool greedy = false;
  std::optional<double> temperature;
  std::optional<int64_t> top_k;              ///< 0: off
  std::optional<double> top_p;               ///< 1: off
  std::optional<double> min_p;               ///< 0: off
  std::optional<double> repetition_penalty;  ///< 1: off
  std::vector<std::string> stop;
  std::optional<int64_t> max_new_tokens, min_new_tokens;
  uint64_t seed = 1;
};

struct EvalArgs {
  std::string model, data, reward, task;
  int64_t k = 8;
  int64_t limit = 0;  ///< 0: all rows
  SamplingArgs sampling;
  std::string save;  ///< empty: the completions are not kept
  bool json = false;
  ComputeArgs compute;
};
int eval(const EvalArgs& args, const Host& host);

struct GenerateArgs {
  std::string model, data;
  std::optional<std::string> prompt;
  int64_t n = 1;
  SamplingArgs sampling;
  std::string dtype = "float32";
  bool chat = false;
  bool speculate = false;
  bool jsonl = false;
  ComputeArgs compute;
};
int generate(const GenerateArgs& args);

struct LogprobsArgs {
  std::string model, data;  ///< data "-": standard input
  bool logits = false, last = false, experts = false;
  std::string dtype = "float32";
  ComputeArgs compute;
};
int logprobs(const LogprobsArgs& args);

struct TokenizeArgs {
  std::string model;
  bool decode = false, no_special = false;
};
int tokenize(const TokenizeArgs& args);

struct ChatTemplateArgs {
  std::string model;
};
int chat_template(const ChatTemplateArgs& args);

struct InspectArgs {
  std::string path;   ///< a run directory or a model folder
  std::string model;  ///< a model folder; path or this
  std::optional<std::string> sql;
  std::optional<std::string> lineage;  ///< a stage, or the id of a rollout
  bool aha = false;                    ///< the first rollouts that corrected themselves
  bool json = false;
};
int inspect(const InspectArgs& args);

struct ReportArgs {
  std::string run;
  std::string out;         ///< empty: RUN/report.html
  std::string svg, stage;  ///< a figure: of the stage's curve, or without one of the evaluations
  bool table = false;
};
int report(const ReportArgs& args);

struct ReplayArgs {
  std::string run, stage;  ///< stage empty: the only rl stage
  int64_t step = 0;
  std::vector<std::string> set, reward;
  bool json = false;
  ComputeArgs compute;
};
int replay(const ReplayArgs& args, const Host& host);

struct ScoreArgs {
  std::string reward;
  std::string cases = "-";  ///< "-": standard input
  bool explain = false;     ///< math: what was extracted from both sides and how it compared
  ComputeArgs compute;
};
int score(const ScoreArgs& args);

struct VersionArgs {
  bool json = false;
};
int version(const VersionArgs& args);

}  // namespace hone
