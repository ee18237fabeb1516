// The verbs that turn models from one form into another; they need no torch.
#pragma once

#include <string>

namespace hone {

struct ImportArgs {
  std::string gguf, out;
  std::string dtype = "float32";
};
/// hone import --gguf FILE --out DIR [--dtype float32|bfloat16|float16]
int import_model(const ImportArgs& args);

struct ExportArgs {
  std::string model, out;
  std::string format = "gguf";  ///< gguf or hf
  std::string type;             ///< empty: f16 for gguf, f32 for hf
};
/// hone export --model DIR --format hf|gguf [--type f32|f16|bf16|q8_0|q4_0|q4_k_m] --out PATH
int export_model(const ExportArgs& args);

}  // namespace hone
