#include "models/text/decoder.h"

#include <optional>

#include <nlohmann/json.hpp>

#include "models/text/json_fields.h"
#include "models/text/pattern.h"
#include "models/text/unicode.h"

namespace hone::text {
namespace {

using nlohmann::json;

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  for (size_t found; (found = text.find(what)) != std::string_view::npos; text.remove_prefix(found + what.size())) {
    out += text.substr(0, found);
    out += by;
  }
  out += text;
  return out;
}

/// Bytes that a byte-level token stands for; its own when it has other characters.
std::string bytes_of(std::string_view token) {
  std::string bytes;
  return from_byte_characters(token, bytes) ? bytes : std::string(token);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/// The byte of a token like <0xE2>. `tokenizers` takes a plus sign for the first digit.
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  const int high = token[3] == '+' ? 0 : hex_digit(token[3]), low = hex_digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

/// The longest front of `bytes` that more bytes cannot change.
size_t settled_size(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Step step = utf8_step(bytes.substr(at));
    if (step.kind == Utf8::kCutOff) break;
    at += step.size;
  }
  return at;
}

}  // namespace

bool WholeToken::complete(TokenPart& part) {
  if (part.begins && part.ends) return true;
  if (part.begins) text_.clear();
  text_ += part.text;
  if (!part.ends) return false;
  part = {text_};
  return true;
}

void JoinStage::feed(TokenPart part, const PartSink& sink) {
  if (part.begins && begun) sink({" ", true, false});
  begun = true;
  sink(part);
}

void FuseStage::feed(TokenPart part, const PartSink& sink) {
  sink({part.text, !begun, false});
  begun = true;
}

void FuseStage::finish(const PartSink& sink) { sink({"", !begun, true}); }

void ByteLevelStage::feed(TokenPart part, const PartSink& sink) {
  if (!whole.complete(part)) return;
  pending += bytes_of(part.text);
  const size_t settled = settled_size(pending);
  fuse.feed({to_valid_utf8(std::string_view(pending).substr(0, settled))}, sink);
  pending.erase(0, settled);
}

void ByteLevelStage::finish(const PartSink& sink) {
  fuse.feed({to_valid_utf8(pending)}, sink);
  fuse.finish(sink);
}

std::string ByteLevelStage::bytes(std::string token) const { return bytes_of(token); }

void ByteFallbackStage::feed(TokenPart part, const PartSink& sink) {
  if (!whole.complete(part)) return;
  if (const auto byte = fallback_byte(part.text)) {
    run += *byte;
  } else {
    finish(sink);
    sink(part);
  }
}

void ByteFallbackStage::finish(const PartSink& sink) {
  if (is_utf8(run)) {
    if (!run.empty()) sink({run});
  } else {
    for (size_t i = 0; i < run.size(); ++i) sink({kReplacement});
  }
  run.clear();
}

std::string ByteFallbackStage::bytes(std::string token) const {
  const auto byte = fallback_byte(token);
  return byte ? std::string(1, *byte) : token;
}

void MetaspaceStage::feed(TokenPart part, const PartSink& sink) {
  if (part.begins) ++begun;
  const std::string text = replaced(part.text, mark, begun == 1 && drops_first ? "" : " ");
  sink({text, part.begins, part.ends});
}

std::string MetaspaceStage::bytes(std::string token) const { return replaced(token, mark, " "); }

void ReplaceStage::feed(TokenPart part, const PartSink& sink) {
  if (!whole.complete(part)) return;
  const std::string text = pattern.replace_all(part.text, content);
  sink({text});
}

std::string ReplaceStage::bytes(std::string token) const {
  return is_utf8(token) ? pattern.replace_all(token, content) : token;
}

void StripStage::feed(TokenPart part, const PartSink& sink) {
  if (stop > 0 && !whole.complete(part)) return;
  if (part.begins) left = start;
  size_t cut = 0;
  for (size_t i = 0; i < stop && std::string_view(part.text).substr(0, part.text.size() - cut).ends_with(content);
       ++i) {
    cut += content.size();
  }
  for (; left > 0 && !part.text.empty(); --left) {
    if (!part.text.starts_with(content)) {
      left = 0;
      break;
    }
    part.text.remove_prefix(content.size());
  }
  sink({part.text.substr(0, part.text.size() - std::min(cut, part.text.size())), part.begins, part.ends});
}

Decoder::Decoder(const json& object, const std::string& place) {
  if (object.is_null()) {
    stages_.push_back(JoinStage{});
  } else {
    read(object, place, 0);
  }
}

Decoder::Stage Decoder::read_stage(const json& object, const std::string& place) {
  const std::string type = text_member(object, "type", place);
  if (type == "Fuse") return FuseStage{};
  if (type == "ByteLevel") return ByteLevelStage{};
  if (type == "ByteFallback") return ByteFallbackStage{};
  if (type == "Replace") return ReplaceStage{read_pattern(object, place), text_member(object, "content", place), {}};
  if (type == "Metaspace") {
    MetaspaceStage stage;
    append_utf8(stage.mark, character_member(object, "replacement", place));
    stage.drops_first = optional_text_member(object, "prepend_scheme", place) != "never";
    return stage;
  }
  if (type == "Strip") {
    StripStage stage;
    append_utf8(stage.content, character_member(object, "content", place));
    stage.start = count_member(object, "start", place);
    stage.stop = count_member(object, "stop", place);
    return stage;
  }
  refuse_type(place, type, "ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip, Sequence, null");
}

void Decoder::read(const json& object, const std::string& place, int depth) {
  if (text_member(object, "type", place) != "Sequence") return stages_.push_back(read_stage(object, place));
  for_each_part(object, "decoders", place, depth,
                [&](const json& part, const std::string& where) { read(part, where, depth + 1); });
}

std::string Decoder::feed(std::string_view token) {
  std::string out;
  pass(0, {token}, out);
  return out;
}

std::string Decoder::finish() {
  std::string out;
  for (size_t i = 0; i < stages_.size(); ++i) {
    const PartSink sink = [&](TokenPart part) { pass(i + 1, part, out); };
    std::visit([&](auto& stage) { stage.finish(sink); }, stages_[i]);
  }
  return out;
}

std::string Decoder::bytes(std::string token) const {
  for (const Stage& stage : stages_) {
    token = std::visit([&](const auto& s) { return s.bytes(std::move(token)); }, stage);
  }
  return token;
}

void Decoder::pass(size_t stage, TokenPart part, std::string& out) {
  if (stage == stages_.size()) {
    out += part.text;
    return;
  }
  const PartSink sink = [&](TokenPart next) { pass(stage + 1, next, out); };
  std::visit([&](auto& s) { s.feed(part, sink); }, stages_[stage]);
}

}  // namespace hone::text
