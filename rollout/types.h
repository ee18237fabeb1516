// What goes into the sampler and what comes out. Standard library only: rewards and tools use it without torch.
//
//   Prompt   {"id": 7, "text": "7 3 12:33\n", "token_ids": [..], "columns": {"numbers": [7,3,12], "target": 33}}
//   Rollout  {"prompt_id": 7, "sample": 0, "token_ids": [..], "logprobs": [..], "text": "<think>..", "finish_reason":
//   "eos"}
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hone {

/// Why a completion ended: the end token was drawn, the length limit was met, or a stop string appeared.
enum class FinishReason { kEos, kLength, kStop };

/// "eos" / "length" / "stop", as written to run.db and JSONL.
inline const char* to_string(FinishReason r) {
  return r == FinishReason::kEos ? "eos" : r == FinishReason::kLength ? "length" : "stop";
}

struct Prompt {
  int64_t id = 0;                  ///< row number in its data set, or the row's own integer `id`
  std::string text;                ///< what the policy reads
  std::vector<int32_t> token_ids;  ///< text under the policy's tokenizer
  std::string columns = "{}";      ///< the row's other columns as a JSON object, handed to the rewards
};

struct Rollout {
  int64_t prompt_id = 0;
  int32_t sample = 0;              ///< 0 .. G-1 within its group
  std::vector<int32_t> token_ids;  ///< (T) the completion, with the end token if one was drawn
  std::vector<float> logprobs;     ///< (T) natural log-prob of each token under the distribution it was drawn from
  std::string text;                ///< decoded completion without the final end token
  FinishReason finish_reason = FinishReason::kLength;
  int64_t policy_version = 0;  ///< optimizer updates done before this was sampled
};

}  // namespace hone
