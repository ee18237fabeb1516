// A recipe as YAML again, with or without the help of its options.
#include <algorithm>
#include <cctype>
#include <set>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "rl/recipe.h"

namespace hone {
namespace {

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Plain where YAML reads it back as the same text, else in quotes.
std::string yaml_text(const std::string& text) {
  static const std::set<std::string> kWords{"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  const auto plain = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '/' || c == '-'; };
  std::string lower = text;
  for (char& c : lower) c = char(std::tolower(static_cast<unsigned char>(c)));
  const bool safe = !text.empty() && std::isalpha(static_cast<unsigned char>(text[0])) && !kWords.count(lower) &&
                    std::all_of(text.begin(), text.end(), plain);
  return safe ? text : quoted(text);
}

std::string yaml_value(const nlohmann::json& value) {
  std::vector<std::string> parts;
  if (value.is_array()) {
    for (const auto& item : value) parts.push_back(yaml_value(item));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
  if (!value.is_object()) return value.is_string() ? quoted(value.get<std::string>()) : value.dump();
  for (const auto& [key, item] : value.items()) parts.push_back(quoted(key) + ": " + yaml_value(item));
  return fmt::format("{{{}}}", fmt::join(parts, ", "));
}

/// Writes `key: value` lines, with the help beside them if wanted.
struct Printer {
  bool with_help;
  std::string out;

  void line(const std::string& key, const std::string& value, const std::string& help, const char* indent = "    ") {
    const std::string entry = fmt::format("{}{}: {}", indent, key, value);
    out += with_help && !help.empty() ? fmt::format("{:<44}  # {}\n", entry, help) : entry + "\n";
  }
  void operator()(const char* key, double& field, Range, const char* help) {
    line(key, fmt::format("{}", field), help);
  }
  void operator()(const char* key, int64_t& field, Range, const char* help) {
    line(key, fmt::format("{}", field), help);
  }
  void operator()(const char* key, std::string& field, const Words& words, const char* help) {
    const std::string choice = words.empty() ? "" : fmt::format("{}; ", fmt::join(words, " | "));
    line(key, yaml_text(field), choice + help);
  }
  void operator()(const char* key, bool& field, const char* help) { line(key, fmt::format("{}", field), help); }
  void operator()(const char* key, std::vector<std::string>& field, const char* help) {
    std::vector<std::string> items;
    for (const auto& item : field) items.push_back(yaml_text(item));
    line(key, fmt::format("[{}]", fmt::join(items, ", ")), help);
  }
  void operator()(const char* key, std::vector<double>& field, const char* help) {
    line(key, fmt::format("[{}]", fmt::join(field, ", ")), help);
  }
  void operator()(const char* key, nlohmann::json& field, const char* help) { line(key, yaml_value(field), help); }
  void operator()(const char* key, std::vector<nlohmann::json>& field, const char* help) {
    line(key, yaml_value(field), help);
  }
};

std::string print(Recipe recipe, bool with_help) {
  Printer printer{with_help, {}};
  printer.line("name", yaml_text(recipe.name), "the run directory is runs/NAME unless --run-dir says otherwise", "");
  printer.line("seed", fmt::format("{}", recipe.seed), "every random draw of the run follows from it", "");
  printer.out += "stages:\n";
  for (auto& stage : recipe.stages) {
    printer.line("name", yaml_text(stage.name), "", "  - ");
    printer.line("kind", stage.kind, "");
    printer.line("gates", yaml_value(stage.gates), "what the stage must reach before the next one starts; 0: off");
    std::visit([&](auto& options) { options.visit(printer); }, stage.options);
  }
  return printer.out;
}

}  // namespace

std::string to_yaml(const Recipe& recipe) { return print(recipe, /*with_help=*/false); }

nlohmann::json options_of(const StageConfig& stage) {
  nlohmann::json out{{"kind", stage.kind}};
  const auto keep = [&out](const char* key, const auto& field, auto&&...) { out[key] = field; };
  auto options = stage.options;
  std::visit([&](auto& o) { o.visit(keep); }, options);
  return out;
}

std::string describe(const Recipe& recipe) { return print(recipe, /*with_help=*/true); }

}  // namespace hone
