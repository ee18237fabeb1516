#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "models/kernels/isa.h"

namespace hone::cpu {
namespace {
#include "models/kernels/cpu_kernels.inc"
}  // namespace

const Isa& generic_isa() {
  static const Isa isa = make_isa("generic");
  return isa;
}

}  // namespace hone::cpu
