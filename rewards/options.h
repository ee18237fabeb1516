// Options of a reward, written behind its name: "cosine:max_len=2000,min_value_wrong=-1". A reward that has some
// declares them once, in a struct with defaults and a `visit`, as the stages of a recipe do:
//
//   struct RepetitionOptions {
//     double ngram_size = 3;
//     template <class Visitor> void visit(Visitor& v) { v("ngram_size", ngram_size, 1, 100); }
//   };
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// "name:key=value,key=value" taken apart. Throws std::invalid_argument when the text is not of this form.
struct RewardName {
  std::string name;
  std::map<std::string, std::string> options;
};
RewardName parse_reward_name(std::string_view text);

/// The entry of `known` that is nearest to `name`, empty when none is near enough to be meant.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

/// Fills an options struct. Each call takes one option out of the text; what is left over at the end is unknown.
class OptionReader {
 public:
  explicit OptionReader(RewardName text) : text_(std::move(text)) {}

  void operator()(const char* name, double& value, double low, double high);
  void operator()(const char* name, int64_t& value, int64_t low, int64_t high);
  void operator()(const char* name, bool& value);
  void operator()(const char* name, std::string& value, const std::vector<std::string>& allowed);
  /// Throws std::invalid_argument for an option that was not asked for, with the nearest that was.
  void finish() const;

 private:
  const std::string* find(const char* name);
  [[noreturn]] void refuse(const char* name, const std::string& value, const std::string& allowed) const;

  RewardName text_;
  std::vector<std::string> known_;
};

/// The options struct with what the text says. Throws std::invalid_argument for an unknown option or a bad value.
template <class Options>
Options read_options(const RewardName& text) {
  Options options;
  OptionReader reader(text);
  options.visit(reader);
  reader.finish();
  return options;
}

/// For rewards without options.
struct NoOptions {
  template <class Visitor>
  void visit(Visitor&) {}
};

}  // namespace hone
