#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#define HONE_ISA_AVX512
#define HONE_ISA_AVX512BF16
#include "models/kernels/isa.h"

namespace hone::cpu {
namespace {
#include "models/kernels/cpu_kernels.inc"
}  // namespace

const Isa& avx512bf16_isa() {
  static const Isa isa = make_isa("avx512bf16");
  return isa;
}

}  // namespace hone::cpu
