#include "rl/reward_model.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>

#include <fmt/format.h>

#include "rl/prompts.h"
#include "rl/rows.h"
#include "rl/sft.h"
#include "rl/update.h"
#include "rollout/dataset.h"
#include "rollout/engine.h"

namespace hone {
namespace {

// One loss token behind the last: its row is the last token's, where the head reads.
TokenDocument scored_document(std::vector<int32_t> tokens) {
  TokenDocument document{std::move(tokens), 0};
  document.loss_from = static_cast<int64_t>(document.tokens.size());
  document.tokens.push_back(document.tokens.back());
  return document;
}

PreferencePair parse_pair(const Row& row, const PromptEncoder& encoder, const Model& model) {
  const std::vector<Column> columns{{"prompt", ColumnType::kAny, "a pair"},
                                    {"chosen", ColumnType::kText, "a pair"},
                                    {"rejected", ColumnType::kText, "a pair"}};
  check_columns(row, columns);
  if (!row.at("prompt").is_string() && !encoder.chat)
    throw std::runtime_error("has chat messages, and the model has no chat template");
  const auto prompt = row.at("prompt").is_string() ? encoder.text(row["prompt"].get<std::string>())
                                                   : encoder.chat(row["prompt"].dump());
  const auto tokens = [&](const char* key) {
    std::vector<int32_t> ids = prompt.token_ids;
    const auto completion = model.tokenizer.encode(row.at(key).get<std::string>(), /*special=*/false);
    ids.insert(ids.end(), completion.begin(), completion.end());
    ids.push_back(end_tokens(model.policy->config())[0]);
    return ids;
  };
  return {tokens("chosen"), tokens("rejected")};
}

}  // namespace

std::vector<PreferencePair> load_pairs(const std::filesystem::path& file, const Model& model, int64_t max_length) {
  const PromptEncoder encoder = prompt_encoder(model);
  std::vector<PreferencePair> pairs;
  for_each_line(file, [&](const std::string& line, int64_t number) {
    try {
      pairs.push_back(parse_pair(read_row(line), encoder, model));
      for (const auto& tokens : {pairs.back().chosen, pairs.back().rejected})
        check_length(tokens, max_length, model.policy->config());
    } catch (const std::exception& error) {
      throw std::runtime_error(fmt::format("{}:{}: this row {}; a pair is prompt, chosen and rejected", file.string(),
                                           number, error.what()));
    }
  });
  if (pairs.empty()) throw std::runtime_error(file.string() + ": holds no row");
  return pairs;
}

PairLoss pair_loss(const std::vector<float>& scores) {
  PairLoss out{.weights = std::vector<float>(scores.size())};
  const double share = 2.0 / static_cast<double>(scores.size());
  for (size_t i = 0; i + 1 < scores.size(); i += 2) {
    const double margin = static_cast<double>(scores[i]) - scores[i + 1], surprise = 1 / (1 + std::exp(margin));
    // log(1 + e^-m), without overflow
    out.loss += share * (std::max(-margin, 0.0) + std::log1p(std::exp(-std::abs(margin))));
    out.accuracy += margin > 0 ? share : 0;
    out.margin += share * margin;
    out.weights[i] = static_cast<float>(-share * surprise);
    out.weights[i + 1] = static_cast<float>(share * surprise);
  }
  return out;
}

Metrics train_reward_model(const RewardModelConfig& config, const StageContext& stage, Model start,
                           const std::vector<PreferencePair>& pairs) {
  if (!start.policy->has_score_head()) start.policy->add_score_head();
  const auto documents_of = [&](int64_t step, const Model&) {
    std::vector<TokenDocument> documents;
    for (const int64_t i : prompt_indices(stage.seed, stage.name, step * config.pairs_per_step, config.pairs_per_step,
                                          static_cast<int64_t>(pairs.size()))) {
      documents.push_back(scored_document(pairs[static_cast<size_t>(i)].chosen));
      documents.push_back(scored_document(pairs[static_cast<size_t>(i)].rejected));
    }
    return documents;
  };
  // Scores first, then their gradient with weights that are the loss's derivative: so a pair need not pass together.
  double margin = 0;
  const auto gradient = [&](const Policy& policy, const Batch& batch, UpdateOptions options) {
    options.mtp_loss_weight = 0;
    PairLoss loss = pair_loss(scores(policy, batch, options));
    Batch weighed = batch;
    weighed.weights = std::move(loss.weights);
    UpdateStats stats = accumulate_score_gradient(policy, weighed, options);
    stats.loss = loss.loss;
    stats.accuracy = loss.accuracy;
    margin = loss.margin;
    return stats;
  };
  const auto metrics = [&](const UpdateStats& stats) {
    return Metrics{{"loss", stats.loss}, {"accuracy", stats.accuracy}, {"margin", margin}};
  };
  return train_documents(config.optim, stage, std::move(start), documents_of, {gradient, metrics});
}

NamedReward model_reward(const std::filesystem::path& folder, const Tokenizer& policy_tokenizer) {
  const auto model = std::make_shared<const Model>(load_model(folder, {.keep = Keep::kForSampling}));
  const auto refuse = [&](const char* what) {
    throw std::invalid_argument(fmt::format("reward_model:{}: {}", folder.string(), what));
  };
  if (!model->policy->has_score_head()) refuse("this model has no score head; name what a reward_model stage trained");
  if (model->tokenizer.json() != policy_tokenizer.json())
    refuse("its tokenizer is not the policy's; train it on a model with the same");
  const auto ask = [model](std::span<const Group> groups) {
    std::vector<TokenDocument> documents;
    for (const Group& group : groups) {
      for (const Rollout& rollout : group.rollouts) {
        std::vector<int32_t> tokens = group.prompt.token_ids;
        tokens.insert(tokens.end(), rollout.token_ids.begin(), rollout.token_ids.end());
        documents.push_back(scored_document(std::move(tokens)));
      }
    }
    const std::vector<float> all = scores(*model->policy, make_batch(documents), {});
    std::vector<std::vector<Score>> out;
    auto next = all.begin();
    for (const Group& group : groups) {
      out.emplace_back();
      for (size_t g = 0; g < group.rollouts.size(); ++g, ++next) {
        if (!std::isfinite(*next)) throw std::runtime_error("the reward model's score is not a finite number");
        const double value = 1 / (1 + std::exp(-static_cast<double>(*next)));
        out.back().push_back(
            {value, value > 0.5 ? Verdict::kCorrect : Verdict::kWrong, fmt::format("score {:.4g}", *next)});
      }
    }
    return out;
  };
  return {.name = "reward_model", .weight = 1.0, .fn = {}, .batch = ask};
}

}  // namespace hone
