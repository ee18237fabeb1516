#include "models/gguf/tokenizer.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/gguf/pre_tokenizers.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// llama.cpp's kinds of token.
enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5 };

// --- GGUF -> files --------------------------------------------------------------------------------

/// The keys under "tokenizer.".
class TokenizerKeys {
 public:
  explicit TokenizerKeys(const GgufFile& file) : file_(file) {}

  [[noreturn]] void refuse(const std::string& key, const std::string& what) const {
    throw std::runtime_error(fmt::format("{}: tokenizer.{}: {}", file_.path().string(), key, what));
  }
  /// Null when the key is absent; throws when it is of another type.
  template <class T>
  const T* get(const std::string& key, std::string_view kind) const {
    const GgufValue* value = find(file_.metadata(), "tokenizer." + key);
    const T* held = value ? std::get_if<T>(value) : nullptr;
    if (value && !held) refuse(key, fmt::format("it is no {}", kind));
    return held;
  }
  template <class T>
  const T& required(const std::string& key, std::string_view kind) const {
    const T* held = get<T>(key, kind);
    if (!held) refuse(key, "the key is missing; only files with their tokenizer can be imported");
    return *held;
  }
  std::optional<int64_t> id(const std::string& key) const {
    const uint32_t* id = get<uint32_t>("ggml." + key, "uint32");
    return id ? std::optional<int64_t>(*id) : std::nullopt;
  }
  bool flag(const std::string& key, bool fallback) const {
    const bool* flag = get<bool>("ggml." + key, "boolean");
    return flag ? *flag : fallback;
  }
  const GgufFile& file() const { return file_; }

 private:
  const GgufFile& file_;
};

const GgufPreTokenizer& read_pre_tokenizer(const TokenizerKeys& keys) {
  const auto& model = keys.required<std::string>("ggml.model", "string");
  if (model != "gpt2") {
    keys.refuse("ggml.model", fmt::format("\"{}\" is not supported; supported: gpt2, which is byte-level BPE", model));
  }
  const auto& word = keys.required<std::string>("ggml.pre", "string");
  if (const GgufPreTokenizer* known = find_pre_tokenizer(word)) return *known;
  keys.refuse("ggml.pre",
              fmt::format("\"{}\" is not supported; supported: {}", word, fmt::join(known_pre_tokenizers(), ", ")));
}

struct Vocabulary {
  const std::vector<std::string>& tokens;
  std::vector<int32_t> types;
  std::unordered_map<std::string_view, int64_t> ids;
};

bool is_filler(const Vocabulary& vocabulary, size_t id) {
  return vocabulary.types[id] == kUnused && vocabulary.tokens[id] == fmt::format("[PAD{}]", id);
}

void mark_special(Vocabulary& vocabulary, const SpecialIds& special) {
  for (const auto& id : {special.bos, special.eos, special.pad}) {
    if (id) vocabulary.types[static_cast<size_t>(*id)] = kControl;
  }
}

Vocabulary read_vocabulary(const TokenizerKeys& keys, const ModelConfig& config) {
  Vocabulary vocabulary{keys.required<std::vector<std::string>>("ggml.tokens", "array of strings"), {}, {}};
  const size_t size = vocabulary.tokens.size();
  if (size > static_cast<size_t>(config.vocab_size)) {
    keys.refuse("ggml.tokens", fmt::format("{} tokens, but token_embd.weight has {} rows", size, config.vocab_size));
  }
  const auto* types = keys.get<std::vector<int32_t>>("ggml.token_type", "array of int32");
  if (types && types->size() != size) {
    keys.refuse("ggml.token_type", fmt::format("{} entries for {} tokens", types->size(), size));
  }
  vocabulary.types = types ? *types : std::vector<int32_t>(size, kNormal);
  mark_special(vocabulary, special_ids(keys.file()));
  for (size_t id = 0; id < size; ++id) {
    const auto [place, added] = vocabulary.ids.emplace(vocabulary.tokens[id], static_cast<int64_t>(id));
    if (!added) keys.refuse("ggml.tokens", fmt::format("tokens {} and {} are the same", place->second, id));
  }
  return vocabulary;
}

std::string json_text(std::string_view text) { return json(text).dump(-1, ' ', /*ensure_ascii=*/false); }

std::string vocab_json(const Vocabulary& vocabulary) {
  std::string out = "{";
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (is_filler(vocabulary, id)) continue;
    out += fmt::format("{}\n      {}: {}", out.size() > 1 ? "," : "", json_text(vocabulary.tokens[id]), id);
  }
  return out + "\n    }";
}

/// The two tokens of each merge; all three must be tokens, else PyPI `tokenizers` refuses the file.
std::string merges_json(const TokenizerKeys& keys, const Vocabulary& vocabulary) {
  const auto& merges = keys.required<std::vector<std::string>>("ggml.merges", "array of strings");
  std::string out = "[";
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string_view merge = merges[i];
    const size_t space = merge.find(' ');
    const std::string_view left = merge.substr(0, space), right = space < merge.size() ? merge.substr(space + 1) : "";
    const bool known = vocabulary.ids.contains(left) && vocabulary.ids.contains(right) &&
                       vocabulary.ids.contains(std::string(left) + std::string(right));
    if (!known) keys.refuse("ggml.merges", fmt::format("merge {} is not two tokens that make a third", i));
    out += fmt::format("{}\n      [{}, {}]", i > 0 ? "," : "", json_text(left), json_text(right));
  }
  return out + "\n    ]";
}

json added_tokens_json(const Vocabulary& vocabulary) {
  json added = json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const int32_t type = vocabulary.types[id];
    if (type != kControl && type != kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type == kControl}});
  }
  return added;
}

json template_piece(const char* kind, const std::string& id, int type) {
  return {{kind, {{"id", id}, {"type_id", type}}}};
}

/// Puts the beginning and end tokens that the file asks for around a text.
json post_processor_json(const TokenizerKeys& keys, const Vocabulary& vocabulary, const SpecialIds& special,
                         const GgufPreTokenizer& pre) {
  const bool bos = special.bos && keys.flag("add_bos_token", pre.adds_bos);
  const bool eos = special.eos && keys.flag("add_eos_token", false);
  if (!bos && !eos) return nullptr;
  json single = json::array(), pair = json::array(), tokens = json::object();
  const auto add = [&](const std::optional<int64_t>& id, int type, json& where) {
    const std::string& text = vocabulary.tokens[static_cast<size_t>(*id)];
    where.push_back(template_piece("SpecialToken", text, type));
    tokens[text] = {{"id", text}, {"ids", {*id}}, {"tokens", {text}}};
  };
  for (const auto& [name, type, with_single] : {std::tuple("A", 0, true), {"B", 1, false}}) {
    for (json* where : with_single ? std::vector<json*>{&single, &pair} : std::vector<json*>{&pair}) {
      if (bos) add(special.bos, type, *where);
      where->push_back(template_piece("Sequence", name, type));
      if (eos) add(special.eos, type, *where);
    }
  }
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

std::string tokenizer_json_of(const TokenizerKeys& keys, const Vocabulary& vocabulary, const SpecialIds& special,
                              const GgufPreTokenizer& pre) {
  const json normalizer = pre.nfc ? json{{"type", "NFC"}} : json(nullptr);
  const json decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  const auto dumped = [](const json& value) { return value.dump(-1, ' ', /*ensure_ascii=*/false); };
  return fmt::format(R"({{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": {},
  "normalizer": {},
  "pre_tokenizer": {},
  "post_processor": {},
  "decoder": {},
  "model": {{
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": {},
    "vocab": {},
    "merges": {}
  }}
}}
)",
                     dumped(added_tokens_json(vocabulary)), dumped(normalizer), dumped(pre_tokenizer_json(pre)),
                     dumped(post_processor_json(keys, vocabulary, special, pre)), dumped(decoder), pre.ignore_merges,
                     vocab_json(vocabulary), merges_json(keys, vocabulary));
}

std::string tokenizer_config_of(const Vocabulary& vocabulary, const SpecialIds& special, const ModelConfig& config) {
  const auto text = [&](const std::optional<int64_t>& id) {
    return id ? json(vocabulary.tokens[static_cast<size_t>(*id)]) : json(nullptr);
  };
  const json object = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"bos_token", text(special.bos)},
                       {"eos_token", text(special.eos)},
                       {"unk_token", text(special.unk)},
                       {"pad_token", text(special.pad)},
                       {"clean_up_tokenization_spaces", false},
                       {"model_max_length", config.max_position_embeddings}};
  return object.dump(2) + "\n";
}

std::vector<std::pair<std::string, std::string>> read_chat_templates(const TokenizerKeys& keys) {
  std::vector<std::pair<std::string, std::string>> templates;
  if (const auto* text = keys.get<std::string>("chat_template", "string")) templates.emplace_back("", *text);
  const auto* names = keys.get<std::vector<std::string>>("chat_templates", "array of strings");
  for (const std::string& name : names ? *names : std::vector<std::string>{}) {
    const bool safe =
        !name.empty() &&
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string::npos;
    if (!safe) keys.refuse("chat_templates", "a name holds other characters than letters, digits, _ and -");
    templates.emplace_back(name, keys.required<std::string>("chat_template." + name, "string"));
  }
  return templates;
}

// --- files -> GGUF --------------------------------------------------------------------------------

json load_json(const fs::path& path) {
  json parsed = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object())
    throw std::runtime_error(path.string() + ": it is not a JSON object; fetch or write it again");
  return parsed;
}

[[noreturn]] void no_word(const fs::path& path, const std::string& what) {
  throw std::runtime_error(
      fmt::format("{}: {}; GGUF files are written for byte-level BPE tokenizers that llama.cpp knows "
                  "by name",
                  path.string(), what));
}

bool is_empty(const json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() || *found == "";
}

void check_model(const fs::path& path, const json& model) {
  if (model.value("type", "") != "BPE") no_word(path, fmt::format("its model is {}", model.value("type", "none")));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!is_empty(model, key)) no_word(path, fmt::format("model.{} is set", key));
  }
  if (model.value("byte_fallback", false)) no_word(path, "model.byte_fallback is true");
}

void check_normalizer(const fs::path& path, const json& tokenizer) {
  const auto found = tokenizer.find("normalizer");
  if (found == tokenizer.end() || found->is_null()) return;
  const std::string type = found->value("type", "");
  const bool nothing = type == "Sequence" && found->value("normalizers", json::array()).empty();
  if (!nothing && type != "NFC") no_word(path, fmt::format("it has the normalizer {}", type));
}

std::vector<std::string> read_merges(const fs::path& path, const json& model) {
  std::vector<std::string> merges;
  for (const json& merge : model.at("merges")) {
    const bool pair = merge.is_array() && merge.size() == 2;
    if (!pair && !merge.is_string()) no_word(path, "a merge is neither a string nor a pair of strings");
    merges.push_back(pair ? merge[0].get<std::string>() + " " + merge[1].get<std::string>() : merge.get<std::string>());
  }
  return merges;
}

/// Tokens by id, as llama.cpp wants them: added tokens as their text, one for each row of the embedding.
struct TokenTable {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::map<std::string, int64_t> ids;
};

TokenTable read_tokens(const fs::path& path, const json& tokenizer, int64_t vocab_size) {
  TokenTable table{std::vector<std::string>(vocab_size), std::vector<int32_t>(vocab_size, kUnused), {}};
  const auto put = [&](const std::string& text, const json& id, TokenType type) {
    if (!id.is_number_unsigned() || id >= vocab_size) {
      throw std::runtime_error(fmt::format("{}: token {} has an id that is not below vocab_size, which is {}",
                                           path.string(), json_text(text), vocab_size));
    }
    const auto place = id.get<size_t>();
    if (table.types[place] != kUnused && table.tokens[place] != text) {
      throw std::runtime_error(fmt::format("{}: two tokens have the id {}", path.string(), place));
    }
    table.tokens[place] = text;
    table.types[place] = type;
    table.ids[text] = static_cast<int64_t>(place);
  };
  for (const auto& [text, id] : tokenizer.at("model").at("vocab").items()) put(text, id, kNormal);
  for (const json& added : tokenizer.value("added_tokens", json::array())) {
    put(added.at("content").get<std::string>(), added.at("id"),
        added.value("special", false) ? kControl : kUserDefined);
  }
  for (size_t id = 0; id < table.tokens.size(); ++id) {
    if (table.types[id] == kUnused) table.tokens[id] = fmt::format("[PAD{}]", id);
  }
  return table;
}

/// A special token of tokenizer_config.json, a string or an object with its content, as an id.
std::optional<int64_t> named_id(const json& config, const std::string& key, const TokenTable& table) {
  const auto found = config.find(key);
  if (found == config.end()) return std::nullopt;
  const std::string text = found->is_string()   ? found->get<std::string>()
                           : found->is_object() ? found->value("content", "")
                                                : "";
  const auto id = table.ids.find(text);
  return id == table.ids.end() ? std::nullopt : std::optional(id->second);
}

std::optional<int64_t> first_of(std::optional<int64_t> a, std::optional<int64_t> b) { return a ? a : b; }

SpecialIds ids_of_folder(const json& tokenizer_config, const TokenTable& table, const ModelConfig& config) {
  const std::optional<int64_t> end =
      config.eos_token_id.empty() ? std::nullopt : std::optional(config.eos_token_id.front());
  return {.bos = first_of(named_id(tokenizer_config, "bos_token", table), config.bos_token_id),
          .eos = first_of(named_id(tokenizer_config, "eos_token", table), end),
          .unk = named_id(tokenizer_config, "unk_token", table),
          .pad = first_of(named_id(tokenizer_config, "pad_token", table), config.pad_token_id)};
}

/// Whether the post-processor puts `id` first (or last, seen from the back) around a text.
bool adds_token(const json& post_processor, const std::optional<int64_t>& id, const TokenTable& table, bool first,
                bool inside = false) {
  if (!post_processor.is_object() || !id) return false;
  if (!inside && post_processor.value("type", "") == "Sequence") {
    const json processors = post_processor.value("processors", json::array());
    return std::any_of(processors.begin(), processors.end(),
                       [&](const json& inner) { return adds_token(inner, id, table, first, true); });
  }
  const json single = post_processor.value("single", json::array());
  if (post_processor.value("type", "") != "TemplateProcessing" || single.empty()) return false;
  const json& piece = first ? single.front() : single.back();
  return piece.contains("SpecialToken") &&
         piece["SpecialToken"].value("id", "") == table.tokens[static_cast<size_t>(*id)];
}

void put_special(GgufMetadata& out, const SpecialIds& ids, const json& post_processor, const TokenTable& table) {
  for (const auto& [name, id] :
       {std::pair("bos", ids.bos), {"eos", ids.eos}, {"unknown", ids.unk}, {"padding", ids.pad}}) {
    if (id) out.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", name), static_cast<uint32_t>(*id));
  }
  out.emplace_back("tokenizer.ggml.add_bos_token", adds_token(post_processor, ids.bos, table, true));
  out.emplace_back("tokenizer.ggml.add_eos_token", adds_token(post_processor, ids.eos, table, false));
}

void put_template(GgufMetadata& out, const std::string& name, std::string text, std::vector<std::string>& names) {
  if (name.empty() || name == "default") {
    out.emplace_back("tokenizer.chat_template", std::move(text));
  } else {
    out.emplace_back("tokenizer.chat_template." + name, std::move(text));
    names.push_back(name);
  }
}

/// chat_template.jinja and its neighbours, else `chat_template` of tokenizer_config.json: a text or a list of named
/// ones.
void put_chat_templates(GgufMetadata& out, const fs::path& model_dir, const json& tokenizer_config) {
  std::vector<std::string> names;
  const fs::path file = model_dir / "chat_template.jinja", others = model_dir / "additional_chat_templates";
  const auto inside = tokenizer_config.find("chat_template");
  if (fs::exists(file)) {
    put_template(out, "", read_file(file), names);
    std::set<fs::path> sorted;
    if (fs::is_directory(others)) {
      for (const auto& entry : fs::directory_iterator(others)) {
        if (entry.path().extension() == ".jinja") sorted.insert(entry.path());
      }
    }
    for (const fs::path& path : sorted) put_template(out, path.stem().string(), read_file(path), names);
  } else if (inside != tokenizer_config.end() && inside->is_string()) {
    put_template(out, "", inside->get<std::string>(), names);
  } else if (inside != tokenizer_config.end() && inside->is_array()) {
    for (const json& named : *inside) {
      put_template(out, named.at("name").get<std::string>(), named.at("template").get<std::string>(), names);
    }
  }
  if (!names.empty()) out.emplace_back("tokenizer.chat_templates", std::move(names));
}

GgufMetadata make_metadata(const fs::path& model_dir, const ModelConfig& config) {
  const fs::path path = model_dir / "tokenizer.json", config_path = model_dir / "tokenizer_config.json";
  const json tokenizer = load_json(path);
  const json tokenizer_config = fs::exists(config_path) ? load_json(config_path) : json::object();
  const json& model = tokenizer.at("model");
  check_model(path, model);
  check_normalizer(path, tokenizer);
  const GgufPreTokenizer* pre =
      matching_pre_tokenizer(tokenizer.value("pre_tokenizer", json()), model.value("ignore_merges", false));
  if (!pre)
    no_word(path, "its pre_tokenizer (with ignore_merges) is none of " +
                      fmt::format("{}", fmt::join(known_pre_tokenizers(), ", ")));
  const TokenTable table = read_tokens(path, tokenizer, config.vocab_size);

  GgufMetadata out = {{"tokenizer.ggml.model", std::string("gpt2")},
                      {"tokenizer.ggml.pre", std::string(pre->words[0])}};
  out.emplace_back("tokenizer.ggml.tokens", table.tokens);
  out.emplace_back("tokenizer.ggml.token_type", table.types);
  out.emplace_back("tokenizer.ggml.merges", read_merges(path, model));
  put_special(out, ids_of_folder(tokenizer_config, table, config), tokenizer.value("post_processor", json()), table);
  put_chat_templates(out, model_dir, tokenizer_config);
  return out;
}

}  // namespace

SpecialIds special_ids(const GgufFile& file) {
  const TokenizerKeys keys(file);
  const size_t size = keys.required<std::vector<std::string>>("ggml.tokens", "array of strings").size();
  const auto id = [&](const std::string& key) {
    const std::optional<int64_t> found = keys.id(key);
    if (found && static_cast<size_t>(*found) >= size) {
      keys.refuse("ggml." + key, fmt::format("{} is no token, there are {}", *found, size));
    }
    return found;
  };
  return {id("bos_token_id"), id("eos_token_id"), id("unknown_token_id"), id("padding_token_id")};
}

TokenizerFiles tokenizer_files(const GgufFile& file, const ModelConfig& config) {
  const TokenizerKeys keys(file);
  const GgufPreTokenizer& pre = read_pre_tokenizer(keys);
  const SpecialIds special = special_ids(file);
  const Vocabulary vocabulary = read_vocabulary(keys, config);
  try {
    return {tokenizer_json_of(keys, vocabulary, special, pre), tokenizer_config_of(vocabulary, special, config),
            read_chat_templates(keys)};
  } catch (const json::exception&) {
    keys.refuse("ggml.tokens", "a token or merge is not UTF-8");
  }
}

GgufMetadata tokenizer_metadata(const fs::path& model_dir, const ModelConfig& config) {
  try {
    return make_metadata(model_dir, config);
  } catch (const json::exception& error) {
    throw std::runtime_error(
        fmt::format("{}: a part of tokenizer.json or tokenizer_config.json is missing or of another "
                    "kind ({}); fetch them again",
                    model_dir.string(), error.what()));
  }
}

}  // namespace hone
