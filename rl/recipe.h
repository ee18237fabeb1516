// A recipe: YAML in, typed stages out, and back. The options themselves live in rl/config.h; here is only how they are
// read, overridden (`--set rl.max_steps=8`), checked and printed.
//
// Every error is a std::invalid_argument of one sentence: file:line, stage and key, what was found, what is allowed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "rl/config.h"

namespace hone {

/// Reads a recipe file, applies the overrides in order and checks it. An override is `seed=3`, `name=x`, `stage.key=v`,
/// `stage.gates.pass@16=0` or `stage.model_config.hidden_size=64`; values are YAML (`[1.0, 0.1]`). A recipe without a
/// `name` is named after its file. `defaults: {eval: {num_generations: 16}}` gives every stage of a kind the options
/// that it begins with; `quick: {base.max_steps: 100}` lists overrides that hold before the others if `quick` is true.
/// Throws for an unreadable file, an unknown, double or missing key ("did you mean"), a value of
/// the wrong type or out of range, and for whatever validate() finds.
Recipe load_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides = {},
                   bool quick = false);

/// The same from text; `origin` stands for the file in messages.
Recipe parse_recipe(const std::string& yaml, const std::string& origin, const std::vector<std::string>& overrides = {},
                    bool quick = false);

/// Every conflict between keys, a sentence each; empty when the recipe is sound. Touches no file.
std::vector<std::string> validate(const Recipe& recipe);

/// The recipe with every key resolved; parse_recipe(to_yaml(r)) is r again.
std::string to_yaml(const Recipe& recipe);

/// "a number from 0 to 1", "a whole number of at least 1".
std::string describe_range(Range range, const char* noun);

/// The options of one stage, with its kind.
nlohmann::json options_of(const StageConfig& stage);

/// to_yaml with each option's help beside it, for --dry-run. Reads back too.
std::string describe(const Recipe& recipe);

/// `${base}` -> run_dir/stages/base/final, `${base}/train.jsonl` -> run_dir/stages/base/data/train.jsonl. Another
/// relative path is meant from the recipe's folder if it exists there, else from the working directory.
std::filesystem::path resolve_path(const std::string& value, const std::filesystem::path& recipe_dir,
                                   const std::filesystem::path& run_dir);

}  // namespace hone
