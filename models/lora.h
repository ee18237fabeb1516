// Low-rank adaptation (Hu et al. 2021, "LoRA"): a weight W0 (out, in) stays as it is, and
//
//   W = W0 + alpha / r B A    with A (r, in) and B (out, r)
//
// is what products read, packed again after every update for sampler and trainer alike, and what is saved and copied:
// to all else an adapted policy is one like any other. Gradients of A and B come out of a linear layer's input and its
// output's gradient (ops::linear), so that of W's size there is neither a gradient nor optimizer state, nor a second
// copy beside the packed one.
//
// Folders are PEFT's: adapter_config.json, adapter_model.safetensors. Not here: dropout, biases, embeddings, MLA's
// kv_b_proj (never a product of its own), multi-token prediction, and in a mixture of experts the feed-forward layers:
// the routed ones, and the others because peft takes gate_proj, up_proj and down_proj for those.
#pragma once

#include <cstdint>
#include <filesystem>

#include "models/lora_options.h"
#include "models/policy.h"

namespace hone {

/// Gives the policy adapters in place of all else that is trained. A is drawn as PEFT does, uniform within
/// 1/sqrt(in), a function of the seed; B is 0, so that no output changes. Throws std::invalid_argument for a module
/// that the policy does not have as a linear layer. REQUIRES: float32 weights, no adapters, options.rank > 0.
void add_lora(Policy& policy, const LoraOptions& options, uint64_t seed);

/// Into an existing folder; a base model stands nowhere in it, so name one when you load it
/// (peft.PeftModel.from_pretrained(base, folder)).
void save_adapter(const Policy& policy, const std::filesystem::path& folder);
/// Reads A and B of a policy with the same adapters. std::runtime_error names what does not fit.
void load_adapter(Policy& policy, const std::filesystem::path& folder);

}  // namespace hone
