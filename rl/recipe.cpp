#include "rl/recipe.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include "rl/suggest.h"

namespace hone {

std::string describe_range(Range range, const char* noun) {
  const bool low = range.low > -1e300, high = range.high < 1e300 && range.high < 9e15;
  if (low && high) return fmt::format("{} from {} to {}", noun, range.low, range.high);
  if (range.low == kPositive.low) return fmt::format("{} above 0", noun);
  if (low) return fmt::format("{} of at least {}", noun, range.low);
  return noun;
}

namespace {

using Names = std::vector<std::string>;

[[noreturn]] void fail(const std::string& place, const std::string& what) {
  throw std::invalid_argument(place + ": " + what);
}

// ---- one value ------------------------------------------------------------------------------------------------------

/// A value that an option cannot take; the caller adds place and key.
struct BadValue {
  std::string allowed;
};

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

bool is_plain_scalar(const YAML::Node& node) { return node.IsScalar() && node.Tag() != "!"; }

double read_double(const YAML::Node& node, Range range) {
  const auto value = is_plain_scalar(node) ? parse_number<double>(node.Scalar()) : std::nullopt;
  if (!value || !(*value >= range.low && *value <= range.high)) throw BadValue{describe_range(range, "a number")};
  return *value;
}

/// Also takes 1e3, as long as it is whole.
int64_t read_integer(const YAML::Node& node, Range range) {
  const BadValue bad{describe_range(range, "a whole number")};
  if (!is_plain_scalar(node)) throw bad;
  auto value = parse_number<int64_t>(node.Scalar());
  if (const auto real = parse_number<double>(node.Scalar());
      !value && real && *real == std::floor(*real) && std::abs(*real) < 9e15) {
    value = static_cast<int64_t>(*real);
  }
  if (!value || double(*value) < range.low || double(*value) > range.high) throw bad;
  return *value;
}

bool read_bool(const YAML::Node& node) {
  bool value = false;
  if (!is_plain_scalar(node) || !YAML::convert<bool>::decode(node, value)) throw BadValue{"true or false"};
  return value;
}

std::string read_text(const YAML::Node& node) {
  if (!node.IsScalar()) throw BadValue{"text"};
  return node.Scalar();
}

/// A single value stands for a list of one.
template <class Read>
auto read_list(const YAML::Node& node, const char* allowed, Read read) -> std::vector<decltype(read(node))> {
  if (node.IsScalar()) return {read(node)};
  if (!node.IsSequence()) throw BadValue{allowed};
  std::vector<decltype(read(node))> out;
  for (const auto& item : node) out.push_back(read(item));
  return out;
}

nlohmann::json plain_to_json(const std::string& text) {
  if (text.empty() || text == "~" || text == "null") return nullptr;
  if (text == "true" || text == "false") return text == "true";
  if (text.find_first_of("0123456789") == std::string::npos) return text;  // from_chars would take "inf" and "nan"
  if (const auto whole = parse_number<int64_t>(text)) return *whole;
  if (const auto real = parse_number<double>(text); real && std::isfinite(*real)) return *real;
  return text;
}

/// `depth` ends a YAML anchor that holds itself.
nlohmann::json to_json(const YAML::Node& node, int depth = 0) {
  if (depth > 32) throw BadValue{"at most 32 levels of lists and maps"};
  if (node.IsScalar()) return is_plain_scalar(node) ? plain_to_json(node.Scalar()) : nlohmann::json(node.Scalar());
  if (node.IsSequence()) {
    auto out = nlohmann::json::array();
    for (const auto& item : node) out.push_back(to_json(item, depth + 1));
    return out;
  }
  if (!node.IsMap()) return nullptr;
  auto out = nlohmann::json::object();
  for (const auto& entry : node) {
    const auto& key = entry.first;
    if (!key.IsScalar()) throw BadValue{"a map whose keys are text"};
    if (out.contains(key.Scalar())) throw BadValue{fmt::format("each key once, and '{}' stands twice", key.Scalar())};
    out[key.Scalar()] = to_json(entry.second, depth + 1);
  }
  return out;
}

nlohmann::json read_object(const YAML::Node& node) {
  if (!node.IsMap()) throw BadValue{"a map"};
  return to_json(node);
}

// ---- visitors of rl/config.h ----------------------------------------------------------------------------------------

struct KeyLister {
  Names keys;
  template <class... Rest>
  void operator()(const char* key, Rest&&...) {
    keys.emplace_back(key);
  }
};

/// Sets the option called `key` from a YAML node.
struct Setter {
  std::string key;
  YAML::Node node;
  std::optional<std::string> raw;  ///< an override as it was typed: for text it is not YAML
  bool found = false;

  bool matches(const char* name) {
    const bool match = key == name;
    found |= match;
    return match;
  }
  void operator()(const char* name, double& field, Range range, const char*) {
    if (matches(name)) field = read_double(node, range);
  }
  void operator()(const char* name, int64_t& field, Range range, const char*) {
    if (matches(name)) field = read_integer(node, range);
  }
  void operator()(const char* name, std::string& field, const Words& words, const char*) {
    if (!matches(name)) return;
    const BadValue bad{fmt::format("one of {}", fmt::join(words, ", "))};
    if (!words.empty() && !node.IsScalar()) throw bad;
    const std::string text = raw ? *raw : read_text(node);
    if (!words.empty() && std::find(words.begin(), words.end(), text) == words.end()) throw bad;
    field = text;
  }
  void operator()(const char* name, bool& field, const char*) {
    if (matches(name)) field = read_bool(node);
  }
  void operator()(const char* name, std::vector<std::string>& field, const char*) {
    if (matches(name)) field = read_list(node, "a list of texts", read_text);
  }
  void operator()(const char* name, std::vector<double>& field, const char*) {
    const auto number = [](const YAML::Node& n) { return read_double(n, {}); };
    if (matches(name)) field = read_list(node, "a list of numbers", number);
  }
  void operator()(const char* name, nlohmann::json& field, const char*) {
    if (matches(name)) field = read_object(node);
  }
  void operator()(const char* name, std::vector<nlohmann::json>& field, const char*) {
    if (matches(name)) field = read_list(node, "a list of objects", read_object);
  }
};

/// The member called `key` if it is a map of free fields (model_config).
struct ObjectFinder {
  std::string key;
  nlohmann::json* object = nullptr;
  void operator()(const char* name, nlohmann::json& field, const char*) {
    if (key == name) object = &field;
  }
  template <class... Rest>
  void operator()(const char*, Rest&&...) {}
};

template <class Visitor>
void visit_options(StageConfig& stage, Visitor& visitor) {
  std::visit([&](auto& options) { options.visit(visitor); }, stage.options);
}

// ---- reading --------------------------------------------------------------------------------------------------------

const Names kStageKeys{"name", "kind", "gates"};
const Names kKinds{"base",  "sft",    "rl",   "generate",     "filter", "pairs",
                   "merge", "distil", "eval", "reward_model", "python"};

bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string shown(const YAML::Node& node) {
  if (node.IsScalar()) return "'" + node.Scalar() + "'";
  return node.IsSequence() ? "a list" : node.IsMap() ? "a map" : "nothing";
}

std::string line_of(const std::string& origin, const YAML::Node& node) {
  return fmt::format("{}:{}", origin, node.Mark().line + 1);
}

struct Entry {
  std::string key;
  YAML::Node value;
  std::string place;  ///< file:line of the key; an empty value is marked on the line after it
};

/// The entries of a YAML map in order; a key that stands twice is refused, where yaml-cpp would keep the first.
std::vector<Entry> entries(const YAML::Node& map, const std::string& origin, const std::string& what) {
  if (!map.IsMap()) fail(line_of(origin, map), fmt::format("{} must be a map of keys, not {}", what, shown(map)));
  std::vector<Entry> out;
  std::set<std::string> seen;
  for (const auto& entry : map) {
    const auto& key = entry.first;
    const std::string place = line_of(origin, key);
    if (!key.IsScalar()) fail(place, fmt::format("a key of {} must be text", what));
    if (!seen.insert(key.Scalar()).second) {
      fail(place, fmt::format("{} has the key '{}' twice; keep one of them", what, key.Scalar()));
    }
    out.push_back({key.Scalar(), entry.second, place});
  }
  return out;
}

std::string read_name(const YAML::Node& node) {
  if (!node.IsScalar() || node.Scalar().empty()) throw BadValue{"a name"};
  return node.Scalar();
}

uint64_t read_seed(const YAML::Node& node) {
  const auto seed = is_plain_scalar(node) ? parse_number<uint64_t>(node.Scalar()) : std::nullopt;
  if (!seed) throw BadValue{"a whole number from 0 to 18446744073709551615"};
  return *seed;
}

/// Runs `read`; a BadValue becomes a sentence with place, key and what was found.
template <class Read>
void with_place(const std::string& place, const std::string& key, const YAML::Node& node, Read read) {
  try {
    read();
  } catch (const BadValue& bad) {
    fail(place, fmt::format("{} is {}, allowed is {}", key, shown(node), bad.allowed));
  }
}

std::map<std::string, double> read_gates(const YAML::Node& node, const std::string& place) {
  if (node.IsNull()) return {};
  std::map<std::string, double> gates;
  for (const auto& entry : entries(node, place, "gates")) {
    with_place(entry.place, "gates." + entry.key, entry.value,
               [&] { gates[entry.key] = read_double(entry.value, {}); });
  }
  return gates;
}

Names option_keys(StageConfig& stage) {
  KeyLister lister;
  visit_options(stage, lister);
  return lister.keys;
}

void set_option(StageConfig& stage, const std::string& key, const YAML::Node& node, const std::string& place,
                const std::optional<std::string>& raw = {}) {
  const std::string here = fmt::format("{}: stage '{}'", place, stage.name);
  if (key == "gates") return with_place(here, key, node, [&] { stage.gates = read_gates(node, place); });
  Setter setter{key, node, raw};
  with_place(here, key, node, [&] { visit_options(stage, setter); });
  if (setter.found) return;
  Names known = option_keys(stage);
  known.emplace_back("gates");
  fail(here, fmt::format("unknown key '{}' for kind {}; {}", key, stage.kind, did_you_mean(key, known)));
}

void check_kind(const std::string& place, const std::string& kind) {
  if (contains(kKinds, kind)) return;
  fail(place, fmt::format("unknown kind '{}'; {}", kind, did_you_mean(kind, kKinds)));
}

StageConfig empty_stage(const std::string& name, const std::string& kind) {
  StageConfig stage{.name = name, .kind = kind, .gates = {}, .options = {}};
  if (kind == "sft") stage.options = SftConfig{};
  if (kind == "rl") stage.options = RlConfig{};
  if (kind == "eval") stage.options = EvalConfig{};
  if (kind == "generate") stage.options = GenerateConfig{};
  if (kind == "filter") stage.options = FilterConfig{};
  if (kind == "pairs") stage.options = PairsConfig{};
  if (kind == "merge") stage.options = MergeConfig{};
  if (kind == "distil") stage.options = DistilConfig{};
  if (kind == "reward_model") stage.options = RewardModelConfig{};
  if (kind == "python") stage.options = PythonConfig{};
  return stage;
}

std::string required_text(const std::vector<Entry>& keys, const std::string& key, const std::string& place) {
  for (const auto& entry : keys) {
    if (entry.key != key) continue;
    std::string text;
    with_place(entry.place, key, entry.value, [&] { text = read_name(entry.value); });
    return text;
  }
  fail(place, fmt::format("a stage without '{}'; every stage has a name and a kind", key));
}

/// Kind -> the options that its stages begin with.
using Defaults = std::map<std::string, std::vector<Entry>>;

/// Each is tried on an empty stage, so that a wrong one is found where it stands.
Defaults read_defaults(const YAML::Node& node, const std::string& origin) {
  Defaults defaults;
  for (const auto& [kind, options, place] : entries(node, origin, "defaults")) {
    check_kind(place, kind);
    StageConfig stage = empty_stage("defaults", kind);
    for (const auto& entry : entries(options, origin, "defaults of kind " + kind)) {
      set_option(stage, entry.key, entry.value, entry.place);
      defaults[kind].push_back(entry);
    }
  }
  return defaults;
}

StageConfig read_stage(const YAML::Node& node, const std::string& origin, const Defaults& defaults) {
  const auto keys = entries(node, origin, "a stage");
  const std::string place = line_of(origin, node);
  const std::string name = required_text(keys, "name", place), kind = required_text(keys, "kind", place);
  check_kind(fmt::format("{}: stage '{}'", place, name), kind);
  StageConfig stage = empty_stage(name, kind);
  if (const auto found = defaults.find(kind); found != defaults.end()) {
    for (const auto& [key, value, line] : found->second) set_option(stage, key, value, line);
  }
  for (const auto& [key, value, line] : keys) {
    if (key != "name" && key != "kind") set_option(stage, key, value, line);
  }
  return stage;
}

void read_top_key(Recipe& recipe, const Entry& entry, const std::string& origin, const Defaults& defaults) {
  const auto& [key, node, place] = entry;
  if (key == "defaults" || key == "quick") return;  // read before, applied after
  if (key == "name") return with_place(place, key, node, [&] { recipe.name = read_name(entry.value); });
  if (key == "seed") return with_place(place, key, node, [&] { recipe.seed = read_seed(entry.value); });
  if (key != "stages")
    fail(place,
         fmt::format("unknown key '{}'; {}", key, did_you_mean(key, {"name", "seed", "defaults", "stages", "quick"})));
  if (!node.IsSequence()) fail(place, fmt::format("stages is {}, allowed is a list of stages", shown(node)));
  for (const auto& stage : node) recipe.stages.push_back(read_stage(stage, origin, defaults));
}

YAML::Node load_yaml(const std::string& text, const std::string& origin) {
  try {
    const auto documents = YAML::LoadAll(text);
    if (documents.size() == 1) return documents[0];
    fail(origin, fmt::format("a recipe is one YAML document, and here are {}", documents.size()));
  } catch (const YAML::Exception& e) {
    fail(fmt::format("{}:{}", origin, e.mark.line + 1), "not valid YAML: " + e.msg);
  }
}

// ---- overrides ------------------------------------------------------------------------------------------------------

/// A node from a command-line value. What YAML cannot read, or reads as nothing, is text.
YAML::Node override_node(const std::string& value) {
  try {
    const YAML::Node node = YAML::Load(value);
    if (node.IsDefined() && !node.IsNull()) return node;
  } catch (const YAML::Exception&) {
  }
  return YAML::Node(value);
}

/// The stage that `path` begins with; the longest name wins, for names may hold dots.
StageConfig* addressed_stage(Recipe& recipe, const std::string& path) {
  StageConfig* best = nullptr;
  for (auto& stage : recipe.stages) {
    if (path.starts_with(stage.name + ".") && (!best || stage.name.size() > best->name.size())) best = &stage;
  }
  return best;
}

void set_field(nlohmann::json& object, const std::string& path, const YAML::Node& node, const std::string& place) {
  const size_t dot = path.find('.');
  const std::string field = path.substr(0, dot);
  if (!object.is_object() || field.empty()) fail(place, fmt::format("'{}' does not lie in a map", path));
  if (dot == std::string::npos) {
    with_place(place, field, node, [&] { object[field] = to_json(node); });
  } else {
    set_field(object.emplace(field, nlohmann::json::object()).first.value(), path.substr(dot + 1), node, place);
  }
}

/// `raw` is the value as it was written, for options that are text.
struct Override {
  std::string path;  ///< stage.key, seed or name
  YAML::Node node;
  std::optional<std::string> raw;
  std::string place;
};

void override_stage(StageConfig& stage, const std::string& key, const Override& given) {
  const size_t dot = key.find('.');
  const std::string head = key.substr(0, dot);
  const std::string here = fmt::format("{}: stage '{}'", given.place, stage.name);
  if (key == "name" || key == "kind") fail(here, fmt::format("the {} of a stage cannot be overridden", key));
  if (dot == std::string::npos) return set_option(stage, key, given.node, given.place, given.raw);
  if (head == "gates") {
    return with_place(here, key, given.node, [&] { stage.gates[key.substr(dot + 1)] = read_double(given.node, {}); });
  }
  ObjectFinder finder{head};
  visit_options(stage, finder);
  if (finder.object) return set_field(*finder.object, key.substr(dot + 1), given.node, here);
  set_option(stage, key, given.node, given.place);  // says that there is no such key
}

void apply_override(Recipe& recipe, const Override& given) {
  const auto& [path, node, raw, place] = given;
  if (path == "name") {
    return with_place(place, path, node, [&] { recipe.name = read_name(raw ? YAML::Node(*raw) : node); });
  }
  if (path == "seed") return with_place(place, path, node, [&] { recipe.seed = read_seed(node); });
  if (StageConfig* stage = addressed_stage(recipe, path)) {
    return override_stage(*stage, path.substr(stage->name.size() + 1), given);
  }
  Names known;
  for (const auto& stage : recipe.stages) known.push_back(stage.name);
  if (path.find('.') == std::string::npos) known.insert(known.end(), {"seed", "name"});
  const std::string head = path.substr(0, path.find('.'));
  fail(place, fmt::format("the recipe has no stage '{}'; {}", head, did_you_mean(head, known)));
}

Override override_of(const std::string& text) {
  const std::string place = "--set " + text;
  const size_t equals = text.find('=');
  if (equals == std::string::npos) fail(place, "an override looks like stage.key=value, seed=3 or name=x");
  const std::string value = text.substr(equals + 1);
  return {text.substr(0, equals), override_node(value), value, place};
}

std::string recipe_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path))
    fail(path.string(), "the recipe cannot be read; name a YAML file that exists");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

Recipe read_recipe(const std::string& yaml, const std::string& origin, const std::string& default_name,
                   const std::vector<std::string>& overrides, bool quick) {
  Recipe recipe;
  recipe.name = default_name;
  const auto keys = entries(load_yaml(yaml, origin), origin, "a recipe");
  const auto stands = [&](const char* key) { return std::ranges::find(keys, key, &Entry::key); };
  Defaults defaults;
  if (stands("defaults") != keys.end()) defaults = read_defaults(stands("defaults")->value, origin);
  for (const auto& entry : keys) read_top_key(recipe, entry, origin, defaults);
  if (const auto small = stands("quick"); small != keys.end()) {
    Recipe scaled = recipe;  // made whether or not it is wanted, so that a mistake in it is told
    for (const auto& [path, node, place] : entries(small->value, origin, "quick"))
      apply_override(scaled, {path, node, {}, place});
    if (quick) recipe = std::move(scaled);
  } else if (quick) {
    fail(origin, "the recipe has no quick scale; add `quick: {stage.key: value}`, or leave --quick out");
  }
  for (const auto& text : overrides) apply_override(recipe, override_of(text));
  const Names conflicts = validate(recipe);
  if (!conflicts.empty()) fail(origin, fmt::format("{}", fmt::join(conflicts, "; ")));
  return recipe;
}

}  // namespace

Recipe load_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides, bool quick) {
  return read_recipe(recipe_text(path), path.string(), path.stem().string(), overrides, quick);
}

Recipe parse_recipe(const std::string& yaml, const std::string& origin, const std::vector<std::string>& overrides,
                    bool quick) {
  return read_recipe(yaml, origin, "", overrides, quick);
}

}  // namespace hone
