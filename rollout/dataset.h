// Prompts from a JSONL file, and which of them a step uses.
//
//   {"prompt": "7 3 12:33\n", "numbers": [7, 3, 12], "target": 33}      -> Prompt{0, "7 3 12:33\n", {..},
//   {"numbers":..}}
//   {"prompt_ids": [17, 5, 9], "id": 4}                                 -> Prompt{4, "", {17, 5, 9}, "{}"}
//   {"prompt": [{"role": "user", "content": "Hi"}]} or {"messages": [..]}  -> what the model's chat template makes of
//   it
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "rollout/types.h"

namespace hone {

/// What the policy reads and its token ids.
struct EncodedPrompt {
  std::string text;
  std::vector<int32_t> token_ids;
};

/// How the prompts of a policy are made. What these throw is reported with file and line.
struct PromptEncoder {
  std::function<EncodedPrompt(std::string_view text)> text;
  /// A list of chat messages as JSON text. Empty: messages are refused.
  std::function<EncodedPrompt(std::string_view messages)> chat;
};

/// One Prompt per row, in file order. A row holds `prompt` (a string or chat messages), `messages`, or `prompt_ids`
/// (token ids, which then stand in place of the encoded text); `id`, an integer, replaces the row number (counted from
/// 0); every other key goes to the columns. Empty lines are skipped. Throws std::runtime_error naming file and line for
/// a row that is broken, has no prompt or repeats an id, and for a file that cannot be read or holds no row.
std::vector<Prompt> load_prompts(const std::string& path, const PromptEncoder& encoder);

/// The prompts that a stage draws from position `drawn` on, as rows of the data set: each epoch is a permutation of all
/// prompts, the next begins where the last is used up (also in the middle of a draw). A pure function of its arguments,
/// so that a resumed run needs no state but `drawn`; `purpose` names the stage. Throws std::invalid_argument unless
/// num_prompts >= 1 and the others >= 0.
std::vector<int64_t> prompt_indices(uint64_t seed, std::string_view purpose, int64_t drawn, int64_t count,
                                    int64_t num_prompts);

}  // namespace hone
