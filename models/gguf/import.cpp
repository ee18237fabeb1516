#include "models/gguf/import.h"

#include <cstdio>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/float_formats.h"
#include "models/gguf/architecture.h"
#include "models/weights.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

/// One tensor of the checkpoint and the parts of the file that it is made of.
struct Made {
  std::vector<GgufPart> parts;
  int64_t slice = 0;
};

[[noreturn]] void refuse(const GgufFile& file, const std::string& tensor, const std::string& what) {
  throw std::runtime_error(fmt::format("{}: tensor {}: {}", file.path().string(), tensor, what));
}

void check_shape(const GgufFile& file, const GgufPart& part, const GgufTensor& tensor) {
  if (tensor.shape == part.file_shape()) return;
  refuse(file, part.name,
         fmt::format("its shape is [{}], the file's keys ask for [{}]; keys and tensors do not belong together",
                     fmt::join(tensor.shape, ", "), fmt::join(part.file_shape(), ", ")));
}

/// Every tensor of the model must be there in its shape, and nothing else.
void check_tensors(const GgufFile& file, const std::vector<GgufPart>& parts, int64_t num_layers) {
  std::map<std::string_view, const GgufPart*> wanted;
  for (const GgufPart& part : parts) {
    wanted[part.name] = &part;
    const GgufTensor* tensor = file.find(part.name);
    if (!tensor) refuse(file, part.name, "it is missing; the file is not complete, or not of this architecture");
    check_shape(file, part, *tensor);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (wanted.contains(tensor.name) || tensor.name == "rope_freqs.weight") continue;
    int64_t layer = -1;
    if (std::sscanf(tensor.name.c_str(), "blk.%ld.", &layer) == 1 && layer >= num_layers) continue;  // token prediction
    refuse(file, tensor.name, "it has no place in a model of this architecture, which is not supported then");
  }
}

std::vector<float> read_slice(const GgufTensor& tensor, int64_t slice, int64_t slices) {
  const size_t bytes = tensor.data.size() / static_cast<size_t>(slices);
  std::vector<float> numbers(element_count(tensor.shape) / static_cast<size_t>(slices));
  const auto data = tensor.data.subspan(static_cast<size_t>(slice) * bytes, bytes);
  dequantize(tensor.type, data, numbers);
  drop_mapped_pages(data);
  return numbers;
}

std::string bytes_of(const std::vector<float>& numbers, std::string_view dtype) {
  std::string bytes(numbers.size() * (dtype == "F32" ? 4 : 2), '\0');
  narrow(dtype, numbers, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

std::vector<float> numbers_of(const GgufFile& file, const Made& made) {
  std::vector<float> source(element_count(made.parts[0].shape));
  for (const GgufPart& part : made.parts) {
    from_file(part, read_slice(*file.find(part.name), made.slice, std::max<int64_t>(part.slices, 1)), source);
  }
  return source;
}

/// The checkpoint's tensors in the order of the parts.
std::vector<TensorSource> sources_of(const GgufFile& file, const std::vector<GgufPart>& parts, std::string_view dtype) {
  std::vector<std::pair<std::string, Made>> tensors;
  for (const GgufPart& part : parts) {
    for (int64_t slice = 0; slice < std::max<int64_t>(part.slices, 1); ++slice) {
      const std::string name = part.source_name(slice);
      const bool second_half = !tensors.empty() && tensors.back().first == name;
      if (second_half) tensors.back().second.parts.push_back(part);
      else tensors.push_back({name, Made{{part}, slice}});
    }
  }
  std::vector<TensorSource> sources;
  for (auto& [name, made] : tensors) {
    const std::vector<int64_t> shape = made.parts[0].shape;
    sources.push_back({name, std::string(dtype), shape, [&file, dtype, made = std::move(made)](const ByteSink& sink) {
                         sink(bytes_of(numbers_of(file, made), dtype));
                       }});
  }
  return sources;
}

std::string_view stored_dtype(const std::string& dtype) {
  for (const auto& [word, stored] : {std::pair("float32", "F32"), {"bfloat16", "BF16"}, {"float16", "F16"}}) {
    if (dtype == word) return stored;
  }
  throw std::invalid_argument("dtype \"" + dtype + "\" is none of float32, bfloat16, float16");
}

nlohmann::json generation_config(const ModelConfig& config) {
  nlohmann::json object = nlohmann::json::object();
  if (config.bos_token_id) object["bos_token_id"] = *config.bos_token_id;
  if (config.eos_token_id.size() == 1) object["eos_token_id"] = config.eos_token_id[0];
  if (config.eos_token_id.size() > 1) object["eos_token_id"] = config.eos_token_id;
  if (config.pad_token_id) object["pad_token_id"] = *config.pad_token_id;
  return object;
}

ModelConfig complete_config(const GgufFile& file) {
  ModelConfig config = config_of(file);
  const SpecialIds ids = special_ids(file);
  config.bos_token_id = ids.bos;
  if (ids.eos) config.eos_token_id = {*ids.eos};
  config.pad_token_id = ids.pad;
  return config;
}

void write_tokenizer(const fs::path& folder, const TokenizerFiles& files) {
  write_file_atomic(folder / "tokenizer.json", files.tokenizer_json);
  write_file_atomic(folder / "tokenizer_config.json", files.tokenizer_config_json);
  for (const auto& [name, text] : files.chat_templates) {
    if (!name.empty()) fs::create_directories(folder / "additional_chat_templates");
    write_file_atomic(
        name.empty() ? folder / "chat_template.jinja" : folder / "additional_chat_templates" / (name + ".jinja"), text);
  }
}

}  // namespace

GgufImport GgufImport::of(GgufFile file) {
  GgufImport model(std::move(file));
  for (const GgufTensor& tensor : model.file_.tensors()) {
    if (element_count(tensor.shape) == 0) refuse(model.file_, tensor.name, "it has no elements");
  }
  model.config_ = complete_config(model.file_);
  model.parts_ = gguf_parts(model.config_);
  check_tensors(model.file_, model.parts_, model.config_.num_hidden_layers);
  model.tokenizer_ = tokenizer_files(model.file_, model.config_);
  return model;
}

void GgufImport::write(const fs::path& out_dir, const GgufImportOptions& options) const {
  const std::string_view dtype = stored_dtype(options.dtype);
  if (fs::exists(out_dir) && !(fs::is_directory(out_dir) && fs::is_empty(out_dir))) {
    throw std::invalid_argument(out_dir.string() + ": it is there already and not empty; name a new folder");
  }
  ModelConfig config = config_;
  config.dtype = options.dtype;
  AtomicDirectory folder(out_dir);
  write_file_atomic(folder.temporary() / "config.json", to_json(config).dump(2) + "\n");
  write_file_atomic(folder.temporary() / "generation_config.json", generation_config(config).dump(2) + "\n");
  write_tokenizer(folder.temporary(), tokenizer_);
  write_model_safetensors(folder.temporary(), sources_of(file_, parts_, dtype), options.max_shard_bytes);
  folder.commit();
}

}  // namespace hone
