// hone tokenize --model DIR: {"text"} -> {"token_ids"} on standard input, or back.
#include <filesystem>
#include <iostream>
#include <span>
#include <stdexcept>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace hone {
namespace {

std::string encoded(const Tokenizer& tokenizer, const nlohmann::json& row, bool add_special) {
  const auto found = row.find("text");
  if (found == row.end() || !found->is_string()) throw std::invalid_argument("the row has no string \"text\"");
  const auto ids = tokenizer.encode(found->get<std::string>(), add_special);
  return "{\"token_ids\":" + json_list(std::span<const int32_t>(ids)) + "}\n";
}

std::string decoded(const Tokenizer& tokenizer, const nlohmann::json& row) {
  return "{\"text\":" + json_text(tokenizer.decode(token_ids_of(row))) + "}\n";
}

}  // namespace

int tokenize(const TokenizeArgs& args) {
  const std::filesystem::path own = std::filesystem::path(args.model) / "tokenizer.json";  // a folder without a model
  const auto tokenizer = as_input([&] {
    return Tokenizer::from_file(std::filesystem::exists(own) ? own : model_folder(args.model) / "tokenizer.json");
  });
  for_each_row(std::cin, "standard input", [&](const nlohmann::json& row) {
    std::cout << (args.decode ? decoded(tokenizer, row) : encoded(tokenizer, row, !args.no_special));
    // a caller that sends rows one by one gets each answer at once
    if (std::cin.rdbuf()->in_avail() <= 0) std::cout.flush();
  });
  return 0;
}

}  // namespace hone
