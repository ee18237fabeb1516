// What turns a process into a jailed one: steps that a run's child takes one after the other, and that cannot be
// undone. No C++ library: this also lives in an interpreter's process.
#pragma once

#include <linux/filter.h>

#include "sandbox/protocol.h"

namespace hone::sandbox {

/// The result of a step: 0, or the errno it failed with and the layer it belongs to.
struct Fault {
  LayerId layer = LayerId::kCount;
  int error = 0;
  explicit operator bool() const { return error != 0; }
};

bool has(uint32_t layers, LayerId layer);

/// In this order. `box` is the folder that the run may write in.
Fault limit_resources(const Request& request);
Fault drop_capabilities(uint32_t layers);
Fault confine_with_landlock(uint32_t layers, const char* box);
Fault filter_system_calls(uint32_t layers, const sock_fprog& program);

/// Landlock's version on this kernel; 0: none.
int landlock_abi();

}  // namespace hone::sandbox
