// hone logprobs --model DIR --data FILE.jsonl: the log-prob of every given token, as the trainer computes it.
// N packed tokens of a forward pass, V vocabulary.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <span>
#include <stdexcept>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "rl/batch.h"
#include "rl/update.h"

namespace hone {
namespace {

using TokenRow = std::vector<int32_t>;

constexpr int64_t kTokensPerForward = 8192;

void check_row(const TokenRow& ids, const ModelConfig& config) {
  if (ids.empty()) throw std::invalid_argument("\"token_ids\" is empty; a row needs at least one token");
  check_token_ids(ids, config, "\"token_ids\"");
  const auto length = static_cast<int64_t>(ids.size());
  if (length <= config.max_position_embeddings) return;
  throw std::invalid_argument(
      fmt::format("\"token_ids\" has {} tokens, more than the model's max_position_embeddings of {}", length,
                  config.max_position_embeddings));
}

std::vector<TokenRow> read_rows(const std::string& file, const ModelConfig& config) {
  std::ifstream opened;
  if (file != "-") opened.open(file);
  if (!opened) throw std::invalid_argument(file + ": cannot be opened; give the path of a readable JSONL file");
  std::vector<TokenRow> rows;
  for_each_row(file == "-" ? std::cin : opened, file == "-" ? "standard input" : file, [&](const nlohmann::json& row) {
    rows.push_back(token_ids_of(row));
    check_row(rows.back(), config);
  });
  if (rows.empty()) throw std::invalid_argument(file + ": holds no rows; write one {\"token_ids\": [..]} a line");
  return rows;
}

/// The end of the rows from `begin` that pass forward together: one at least, then up to kTokensPerForward tokens.
size_t end_of_pack(const std::vector<TokenRow>& rows, size_t begin) {
  size_t end = begin, tokens = 0;
  while (end < rows.size() && (end == begin || tokens + rows[end].size() <= kTokensPerForward))
    tokens += rows[end++].size();
  return end;
}

/// log p of all tokens but the first of each row, one row after another.
std::vector<float> packed_logprobs(const Policy& policy, std::span<const TokenRow> rows) {
  std::vector<TokenDocument> documents;
  for (const TokenRow& row : rows) {
    if (row.size() > 1) documents.push_back({row, 1});
  }
  if (documents.empty()) return {};
  return token_logprobs(policy, make_batch(documents), {});
}

struct PackedForward {
  at::Tensor logits;                ///< (N, V) of the policy's dtype
  std::vector<at::Tensor> experts;  ///< (layers)(N, k)
};

PackedForward packed_forward(const Policy& policy, std::span<const TokenRow> rows) {
  std::vector<int64_t> lengths, ids;
  for (const TokenRow& row : rows) {
    lengths.push_back(static_cast<int64_t>(row.size()));
    ids.insert(ids.end(), row.begin(), row.end());
  }
  at::Tensor input = at::empty({static_cast<int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), input.mutable_data_ptr<int64_t>());
  const Rows positions = pack_rows(lengths);
  RouterLoad router;
  const at::Tensor hidden = policy.forward(input, {.rows = positions, .router = &router});
  return {policy.logits(hidden).contiguous(), std::move(router.chosen)};
}

/// [[..],..] of rows [first, first + count).
template <class T>
std::string rows_json(const at::Tensor& values, size_t first, size_t count) {
  const auto width = static_cast<size_t>(values.size(1));
  std::string text = "[";
  for (size_t t = first; t < first + count; ++t) {
    if (t > first) text += ',';
    text += json_list(std::span(values.const_data_ptr<T>() + t * width, width));
  }
  text += ']';
  return text;
}

std::string experts_json(const std::vector<at::Tensor>& layers, size_t first, size_t count) {
  std::string text = "[";
  for (const at::Tensor& ids : layers) text += (text.size() > 1 ? "," : "") + rows_json<int64_t>(ids, first, count);
  return text + "]";
}

void print_pack(const Policy& policy, std::span<const TokenRow> rows, const LogprobsArgs& args) {
  const std::vector<float> logprobs = packed_logprobs(policy, rows);
  const PackedForward forward = args.logits || args.experts ? packed_forward(policy, rows) : PackedForward();
  size_t token = 0, logprob = 0;
  for (const TokenRow& row : rows) {
    std::cout << "{\"logprobs\":" << json_list(std::span(logprobs).subspan(logprob, row.size() - 1));
    if (args.logits) {
      const size_t count = args.last ? 1 : row.size();
      const auto json = forward.logits.scalar_type() == at::kDouble ? rows_json<double> : rows_json<float>;
      std::cout << ",\"logits\":" << json(forward.logits, token + row.size() - count, count);
    }
    if (args.experts) std::cout << ",\"experts\":" << experts_json(forward.experts, token, row.size());
    std::cout << "}\n";
    logprob += row.size() - 1;
    token += row.size();
  }
  std::cout.flush();
}

}  // namespace

int logprobs(const LogprobsArgs& args) {
  const bool is_double = args.dtype == "float64";
  const Model model = read_model(args.model, {.keep = is_double ? Keep::kAll : Keep::kForSampling});
  if (args.experts && model.policy->config().n_routed_experts == 0)
    throw std::invalid_argument("--experts: the model has no mixture-of-experts layer; leave it out");
  const auto rows = read_rows(args.data, model.policy->config());
  if (is_double) model.policy->to(at::kDouble);
  const at::NoGradGuard no_grad;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    end = end_of_pack(rows, begin);
    print_pack(*model.policy, std::span(rows).subspan(begin, end - begin), args);
  }
  return 0;
}

}  // namespace hone
