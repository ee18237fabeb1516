// hone export --model DIR --format hf|gguf --out PATH: a model folder as a GGUF file, or as a folder in another dtype.
#include "models/gguf/export.h"

#include <iostream>
#include <stdexcept>

#include "cli/convert.h"
#include "cli/input.h"

namespace hone {

int export_model(const ExportArgs& args) {
  if (args.format != "gguf" && args.format != "hf") {
    throw std::invalid_argument("--format " + args.format + ": gguf or hf belongs there");
  }
  const auto folder = model_folder(args.model);
  const bool gguf = args.format == "gguf";
  const std::string type = !args.type.empty() ? args.type : gguf ? "f16" : "f32";
  if (gguf) as_input([&] { return GgufExport::open(folder, type); }).write(args.out);
  else as_input([&] { return FolderExport::open(folder, type); }).write(args.out);
  std::cout << "wrote " << args.out << " (" << args.format << ", " << type << ")\n";
  return 0;
}

}  // namespace hone
