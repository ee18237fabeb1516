#include "models/weights.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/float_formats.h"
#include "models/mapped_file.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kScaleSuffix = "_scale_inv";
constexpr size_t kElementsAtOnce = size_t{1} << 20;  // pages of so many are held at a time

[[noreturn]] void refuse(const fs::path& file, std::string_view name, const std::string& what) {
  throw std::runtime_error(fmt::format("{}: tensor {}: {}", file.string(), name, what));
}

bool is_fp8(const TensorInfo& info) { return info.dtype.starts_with("F8_"); }

int64_t blocks_of(int64_t size) { return (size + kScaleBlock - 1) / kScaleBlock; }

void check_scale(const StoredWeight& weight) {
  const TensorInfo& info = *weight.info;
  if (!weight.scale) {
    refuse(*weight.file, info.name,
           fmt::format("it is stored as {} but {}{} is missing; fetch a folder that has its scales", info.dtype,
                       info.name, kScaleSuffix));
  }
  if (info.shape.size() != 2) {
    refuse(*weight.file, info.name,
           fmt::format("{} is read for matrices only, it has {} dimensions", info.dtype, info.shape.size()));
  }
  const std::vector<int64_t> expected = {blocks_of(info.shape[0]), blocks_of(info.shape[1])};
  if (weight.scale->dtype != "F32" || weight.scale->shape != expected) {
    refuse(*weight.file, weight.scale->name,
           fmt::format("found {} of shape [{}]; a scale for each {} x {} block of [{}] is F32 of shape [{}]",
                       weight.scale->dtype, fmt::join(weight.scale->shape, ", "), kScaleBlock, kScaleBlock,
                       fmt::join(info.shape, ", "), fmt::join(expected, ", ")));
  }
}

void check_dtype(const StoredWeight& weight) {
  if (!is_float_dtype(weight.info->dtype)) {
    refuse(*weight.file, weight.info->name,
           fmt::format("it is stored as {}; weights are read from F32, F16, BF16, F64, F8_E4M3 or F8_E5M2",
                       weight.info->dtype));
  }
}

/// The index must be right about what it lists; a shard may hold more.
void check_index(const fs::path& model_dir, const std::map<std::string, StoredWeight, std::less<>>& weights) {
  const fs::path index = model_dir / "model.safetensors.index.json";
  for (const auto& [tensor, file] : safetensors_weight_map(index)) {
    const auto found = weights.find(tensor);
    if (found != weights.end() && found->second.file->filename() == file) continue;
    throw std::runtime_error(
        fmt::format("{}: weight_map puts tensor {} into {}, which does not hold it; fetch the folder "
                    "again, or write the model again",
                    index.string(), tensor, file));
  }
}

bool may_be_ignored(const std::string& name, const ModelConfig& config) {
  for (int64_t i = 0; i < config.num_nextn_predict_layers; ++i) {
    if (name.starts_with(fmt::format("model.layers.{}.", config.num_hidden_layers + i))) return true;
  }
  return name.ends_with(".rotary_emb.inv_freq") || (config.tie_word_embeddings && name == "lm_head.weight");
}

/// out[r][c] *= the scale of its block.
void apply_scales(const StoredWeight& weight, std::span<float> out) {
  const int64_t rows = weight.info->shape[0], columns = weight.info->shape[1], across = blocks_of(columns);
  std::vector<float> scales(static_cast<size_t>(blocks_of(rows) * across));
  std::memcpy(scales.data(), weight.scale->data, weight.scale->num_bytes);
  for (int64_t r = 0; r < rows; ++r) {
    const float* scale = scales.data() + r / kScaleBlock * across;
    float* row = out.data() + r * columns;
    for (int64_t c = 0; c < columns; ++c) row[c] *= scale[c / kScaleBlock];
  }
}

}  // namespace

size_t element_count(std::span<const int64_t> shape) {
  size_t count = 1;
  for (int64_t dimension : shape) count *= static_cast<size_t>(dimension);
  return count;
}

ModelWeights ModelWeights::open(const fs::path& model_dir) {
  ModelWeights result;
  result.model_dir_ = model_dir;
  const std::vector<fs::path> paths = safetensors_files(model_dir);
  for (const fs::path& path : paths) result.files_.push_back(SafetensorsFile::open(path));
  for (const SafetensorsFile& file : result.files_) {
    for (const TensorInfo& info : file.tensors()) {
      const auto [place, added] = result.weights_.emplace(info.name, StoredWeight{&info, nullptr, &file.path()});
      if (!added) refuse(file.path(), info.name, "it also stands in " + place->second.file->string() + "; keep one");
    }
  }
  if (paths.front().filename() != "model.safetensors") check_index(model_dir, result.weights_);
  std::vector<std::string> scales;
  for (auto& [name, weight] : result.weights_) {
    const auto scale =
        is_fp8(*weight.info) ? result.weights_.find(name + std::string(kScaleSuffix)) : result.weights_.end();
    if (scale == result.weights_.end()) continue;
    weight.scale = scale->second.info;
    scales.push_back(scale->first);
  }
  for (const std::string& name : scales) result.weights_.erase(name);
  for (const auto& [name, weight] : result.weights_) {
    if (is_fp8(*weight.info)) check_scale(weight);
  }
  return result;
}

const StoredWeight* ModelWeights::find(std::string_view name) const {
  const auto found = weights_.find(name);
  return found == weights_.end() ? nullptr : &found->second;
}

const StoredWeight& ModelWeights::require(const std::string& name, std::span<const int64_t> shape) const {
  const StoredWeight* weight = find(name);
  if (!weight) {
    throw std::runtime_error(fmt::format("{}: tensor {} is missing; check that config.json and weights belong together",
                                         model_dir_.string(), name));
  }
  if (!std::equal(shape.begin(), shape.end(), weight->info->shape.begin(), weight->info->shape.end())) {
    refuse(*weight->file, name,
           fmt::format("it has shape [{}], config.json asks for [{}]; check that config and weights belong together",
                       fmt::join(weight->info->shape, ", "), fmt::join(shape, ", ")));
  }
  check_dtype(*weight);
  return *weight;
}

void ModelWeights::refuse_others(const std::set<std::string>& used, const ModelConfig& config) const {
  for (const auto& [name, weight] : weights_) {
    if (used.contains(name) || may_be_ignored(name, config)) continue;
    refuse(*weight.file, name,
           fmt::format("it has no place in a {} of this config.json; check that config and weights belong together",
                       model_type(config.architecture)));
  }
}

void ModelWeights::read(const StoredWeight& weight, std::span<float> out) {
  const TensorInfo& info = *weight.info;
  check_dtype(weight);
  if (out.size() != element_count(info.shape)) {
    throw std::invalid_argument(fmt::format("tensor {} has {} elements, there is room for {}", info.name,
                                            element_count(info.shape), out.size()));
  }
  const size_t size = out.empty() ? 0 : info.num_bytes / out.size();
  for (size_t first = 0; first < out.size(); first += kElementsAtOnce) {
    const size_t count = std::min(kElementsAtOnce, out.size() - first);
    const std::span<const std::byte> bytes(info.data + first * size, count * size);
    widen(info.dtype, bytes, out.subspan(first, count));
    drop_mapped_pages(bytes);
  }
  if (weight.scale) apply_scales(weight, out);
}

std::span<const float> ModelWeights::in_place(const StoredWeight& weight) {
  const TensorInfo& info = *weight.info;
  if (info.dtype != "F32" || reinterpret_cast<uintptr_t>(info.data) % alignof(float) != 0) return {};
  return {reinterpret_cast<const float*>(info.data), info.num_bytes / sizeof(float)};
}

void ModelWeights::give_back(const StoredWeight& weight) {
  drop_mapped_pages({weight.info->data, weight.info->num_bytes});
}

}  // namespace hone
