// hone version: what this binary was built from and what it finds here.
#include <iostream>
#include <string>
#include <vector>

#include <ATen/Context.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>
#include <nlohmann/json.hpp>

#include "cli/verbs.h"
#include "models/kernels/cpu.h"

namespace hone {
namespace {

std::vector<std::string> cpu_features() {
  std::vector<std::string> found;
#if defined(__x86_64__)
#define HONE_ADD_IF_PRESENT(name) \
  if (__builtin_cpu_supports(name)) found.emplace_back(name)
  HONE_ADD_IF_PRESENT("sse4.2");
  HONE_ADD_IF_PRESENT("avx");
  HONE_ADD_IF_PRESENT("avx2");
  HONE_ADD_IF_PRESENT("fma");
  HONE_ADD_IF_PRESENT("avx512f");
  HONE_ADD_IF_PRESENT("avx512bw");
  HONE_ADD_IF_PRESENT("avx512dq");
  HONE_ADD_IF_PRESENT("avx512vl");
  HONE_ADD_IF_PRESENT("avx512vnni");
#undef HONE_ADD_IF_PRESENT
#endif
  return found;
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

int version(const VersionArgs& args) {
  const std::string instructions(cpu::instruction_set());
  const bool cuda = at::hasCUDA();
  if (args.json) {
    const nlohmann::ordered_json json{{"version", HONE_VERSION},         {"torch", TORCH_VERSION},
                                      {"compiler", compiler()},          {"cpu_features", cpu_features()},
                                      {"instruction_set", instructions}, {"cuda", cuda}};
    std::cout << json.dump() << '\n';
  } else {
    std::cout << fmt::format("hone {}\ntorch {}\ncompiler {}\nkernels use {} (this CPU has {})\nCUDA {}\n",
                             HONE_VERSION, TORCH_VERSION, compiler(), instructions, fmt::join(cpu_features(), ", "),
                             cuda ? "yes" : "no");
  }
  return 0;
}

}  // namespace hone
