// The layers by name, what depends on what, and the words for why one is off.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sandbox/protocol.h"
#include "sandbox/sandbox.h"

namespace hone::sandbox {

std::string_view name_of(LayerId layer);

/// All layers but those named, and those that need them. Throws std::invalid_argument for a name that is none.
uint32_t layers_without(const std::vector<std::string>& names);

/// `layers` less this one and all that cannot be without it.
uint32_t without(uint32_t layers, LayerId layer);

/// Whether `layer` cannot be without `needed`.
bool needs(LayerId layer, LayerId needed);

/// Why a layer that failed with `error` (an errno) is off, and what helps.
std::string remedy(LayerId layer, int error);

/// Throws std::runtime_error naming the first of `required` that is off; std::invalid_argument if it is no layer.
void require_layers(const std::map<std::string, Layer>& found, const std::vector<std::string>& required);

}  // namespace hone::sandbox
