// The normalizer of a tokenizer.json: what happens to a text before it is split. Reads null, NFC, NFD, NFKC, NFKD,
// Lowercase, Strip, Replace, Prepend, ByteLevel, Sequence.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hone::text {

/// Immutable; any thread may call it.
class Normalizer {
 public:
  Normalizer() = default;
  Normalizer(const nlohmann::json& object, const std::string& place);

  bool is_identity() const { return steps_.empty(); }
  /// REQUIRES: valid UTF-8.
  std::string operator()(std::string_view text) const;

 private:
  void read(const nlohmann::json& object, const std::string& place, int depth);

  std::vector<std::function<std::string(std::string_view)>> steps_;
};

}  // namespace hone::text
