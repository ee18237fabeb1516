// hone import --gguf FILE --out DIR: a GGUF file as a Hugging Face folder.
#include "models/gguf/import.h"

#include <iostream>

#include "cli/convert.h"
#include "cli/input.h"

namespace hone {

int import_model(const ImportArgs& args) {
  const GgufImport model = as_input([&] { return GgufImport::open(args.gguf); });
  model.write(args.out, {.dtype = args.dtype});
  std::cout << "wrote " << args.out << " (" << model_type(model.config().architecture) << ", " << args.dtype << ")\n";
  return 0;
}

}  // namespace hone
