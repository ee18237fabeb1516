#include "rl/batch.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include <fmt/format.h>

namespace hone {
namespace {

// Appends prompt + completion; every completion token becomes a loss token when `loss` is set.
void append(Batch& batch, const std::vector<int32_t>& prompt, const std::vector<int32_t>& completion, bool loss) {
  const auto first_row = static_cast<int64_t>(batch.inputs.size()), b = batch.num_sequences();
  batch.inputs.insert(batch.inputs.end(), prompt.begin(), prompt.end());
  batch.inputs.insert(batch.inputs.end(), completion.begin(), completion.end());
  batch.inputs.pop_back();
  batch.lengths.push_back(static_cast<int64_t>(batch.inputs.size()) - first_row);
  for (size_t t = 0; loss && t < completion.size(); ++t) {
    batch.rows.push_back(first_row + static_cast<int64_t>(prompt.size() + t) - 1);
    batch.targets.push_back(completion[t]);
    batch.sequence.push_back(b);
  }
}

bool has_loss(const Rollout& r, const BatchOptions& options) {
  return !(options.mask_truncated && r.finish_reason == FinishReason::kLength);
}

}  // namespace

std::vector<double> sequence_weights(const std::vector<int64_t>& loss_tokens, const BatchOptions& options) {
  const size_t count = loss_tokens.size();
  const auto sequences = static_cast<double>(count);
  std::vector<double> weights(count);
  const size_t part = options.normaliser == Normaliser::kMicroBatchTokenMean && options.micro_batch_sequences > 0
                          ? static_cast<size_t>(options.micro_batch_sequences)
                          : std::max<size_t>(1, count);
  const auto parts = static_cast<double>((count + part - 1) / part);
  for (size_t begin = 0; begin < count; begin += part) {
    const size_t end = std::min(count, begin + part);
    const double tokens =
        static_cast<double>(std::accumulate(loss_tokens.begin() + static_cast<int64_t>(begin),
                                            loss_tokens.begin() + static_cast<int64_t>(end), int64_t{0}));
    for (size_t s = begin; s < end; ++s) {
      if (options.normaliser == Normaliser::kSequenceMean)
        weights[s] = 1.0 / (sequences * static_cast<double>(loss_tokens[s]));
      else if (options.normaliser == Normaliser::kMaxLength)
        weights[s] = 1.0 / (sequences * static_cast<double>(options.max_completion_length));
      else weights[s] = 1.0 / (parts * tokens);
    }
  }
  return weights;
}

Batch make_batch(const std::vector<Group>& groups, const std::vector<std::vector<double>>& advantages,
                 const BatchOptions& options) {
  if (advantages.size() != groups.size())
    throw std::invalid_argument("make_batch: one row of advantages a group is needed");
  Batch batch;
  std::vector<int64_t> tokens_of;  // (B) loss tokens
  for (size_t p = 0; p < groups.size(); ++p) {
    if (advantages[p].size() != groups[p].rollouts.size()) {
      throw std::invalid_argument(fmt::format("make_batch: group {} has {} rollouts and {} advantages", p,
                                              groups[p].rollouts.size(), advantages[p].size()));
    }
    for (size_t g = 0; g < groups[p].rollouts.size(); ++g) {
      const Rollout& r = groups[p].rollouts[g];
      const bool loss = has_loss(r, options);
      append(batch, groups[p].prompt.token_ids, r.token_ids, loss);
      tokens_of.push_back(loss ? static_cast<int64_t>(r.token_ids.size()) : 0);
      for (size_t t = 0; loss && t < r.token_ids.size(); ++t) {
        const bool barred = static_cast<int64_t>(t) + 1 < options.min_completion_length;
        batch.forbidden.push_back(barred ? options.end_token : -1);
        batch.sampler_logprobs.push_back(r.logprobs[t]);
        batch.advantages.push_back(static_cast<float>(advantages[p][g]));
      }
    }
  }
  const std::vector<double> weights = sequence_weights(tokens_of, options);
  for (const int64_t s : batch.sequence) batch.weights.push_back(static_cast<float>(weights[static_cast<size_t>(s)]));
  return batch;
}

Batch make_batch(const std::vector<TokenDocument>& documents) {
  Batch batch;
  for (const TokenDocument& d : documents) {
    const std::vector<int32_t> before(d.tokens.begin(), d.tokens.begin() + d.loss_from);
    append(batch, before, {d.tokens.begin() + d.loss_from, d.tokens.end()}, true);
  }
  batch.forbidden.assign(batch.rows.size(), -1);
  batch.weights.assign(batch.rows.size(), 1.f / static_cast<float>(batch.rows.size()));
  return batch;
}

Batch slice(const Batch& batch, int64_t begin, int64_t end) {
  Batch part;
  int64_t row0 = 0, rows = 0;
  for (int64_t b = 0; b < end; ++b) {
    if (b < begin) row0 += batch.lengths[static_cast<size_t>(b)];
    else rows += batch.lengths[static_cast<size_t>(b)];
  }
  part.lengths.assign(batch.lengths.begin() + begin, batch.lengths.begin() + end);
  part.inputs.assign(batch.inputs.begin() + row0, batch.inputs.begin() + row0 + rows);
  const auto m0 = std::lower_bound(batch.sequence.begin(), batch.sequence.end(), begin) - batch.sequence.begin();
  const auto m1 = std::lower_bound(batch.sequence.begin(), batch.sequence.end(), end) - batch.sequence.begin();
  auto take = [&](auto& to, const auto& from) {
    if (!from.empty()) to.assign(from.begin() + m0, from.begin() + m1);
  };
  take(part.rows, batch.rows);
  take(part.targets, batch.targets);
  take(part.sequence, batch.sequence);
  take(part.forbidden, batch.forbidden);
  take(part.sampler_logprobs, batch.sampler_logprobs);
  take(part.advantages, batch.advantages);
  take(part.weights, batch.weights);
  for (auto& row : part.rows) row -= row0;
  for (auto& s : part.sequence) s -= begin;
  return part;
}

std::vector<std::pair<int64_t, int64_t>> split_evenly(const Batch& batch, int64_t parts) {
  const auto total = static_cast<int64_t>(batch.inputs.size());
  std::vector<std::pair<int64_t, int64_t>> runs;
  int64_t begin = 0, tokens = 0;
  for (int64_t b = 0; b < batch.num_sequences(); ++b) {
    tokens += batch.lengths[static_cast<size_t>(b)];
    if (tokens * parts < total * (static_cast<int64_t>(runs.size()) + 1)) continue;
    runs.emplace_back(begin, b + 1);
    begin = b + 1;
  }
  return runs;
}

}  // namespace hone
