// A Task makes the data of a run from nothing: a vocabulary, problems, a pre-training corpus, and a reading of what a
// completion did. Pure functions of (seed, index); no torch. Tasks live in recipes/<task>/ and are handed in by cli/.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rollout/types.h"

namespace hone {

/// One pre-training document as token strings: `prompt` then `response` (the end token is added by the trainer).
struct Document {
  std::vector<std::string> prompt;
  std::vector<std::string> response;
};

struct CorpusOptions {
  int max_tries = 16;            ///< a search document holds 1..max_tries tries
  double guided_fraction = .35;  ///< share of tries whose second step is the one closest to the target
  // of tasks whose thoughts have words of two languages
  double foreign_fraction = 0;  ///< share of documents in the second one
  double mixed_fraction = 0;    ///< share of documents that draw the language of every word
};

struct Task {
  std::string name;
  /// tokenizer.json text: an ordinary WordLevel tokenizer with the specials <pad> <eos> and the task's own.
  std::function<std::string()> tokenizer_json;
  /// JSONL rows ({"prompt", columns..}) of the training or the held-out problems, in a fixed order.
  std::function<std::vector<std::string>(bool held_out)> problem_rows;
  /// The index-th document of the corpus of this seed. Only training problems occur.
  std::function<Document(uint64_t seed, uint64_t index, const CorpusOptions&)> document;
  /// Averages over completions of what they did, e.g. {"step_arithmetic": .98, "verdict": .99, "waits": 1.7}.
  std::function<std::map<std::string, double>(std::span<const Prompt>, std::span<const Rollout>)> diagnose;
  /// A correct completion in a form that is good to read, for a cold start; nothing where there is none. May be empty.
  std::function<std::optional<std::string>(const Prompt&, const std::string& completion)> rewrite = {};
  /// Whether a re-check in a correct completion changed a wrong result into the right one (rl/aha.h). May be empty.
  std::function<bool(const Prompt&, const std::string& completion)> corrects_itself = {};
};

}  // namespace hone
