#include "rl/sft.h"

#include <algorithm>
#include <functional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "rl/prompts.h"
#include "rl/rows.h"
#include "rl/schedule.h"
#include "rl/update.h"
#include "rollout/engine.h"
#include "rollout/random.h"

namespace hone {
namespace {

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, const std::vector<std::string>& tokens) {
  std::vector<int32_t> ids;
  for (const std::string& token : tokens) {
    const auto id = tokenizer.token_to_id(token);
    if (!id) throw std::runtime_error("the task's corpus holds '" + token + "', which its tokenizer lacks");
    ids.push_back(*id);
  }
  return ids;
}

TokenDocument token_document(const Tokenizer& tokenizer, const Document& d, int32_t end_token) {
  TokenDocument out{ids_of(tokenizer, d.prompt), static_cast<int64_t>(d.prompt.size())};
  const auto response = ids_of(tokenizer, d.response);
  out.tokens.insert(out.tokens.end(), response.begin(), response.end());
  out.tokens.push_back(end_token);
  return out;
}

Model random_model(const nlohmann::json& model_config, double initializer_range, const StageContext& stage,
                   Tokenizer tokenizer) {
  const ModelConfig config = parse_recipe_model(model_config, "stage " + stage.name + ", model_config");
  auto side_files = make_side_files(config, tokenizer);
  return {Policy::random(config, initializer_range, stage.seed), std::move(tokenizer), nullptr, std::move(side_files)};
}

// Whole documents from `draw` until `tokens` are reached.
std::vector<TokenDocument> fill(int64_t tokens, const std::function<TokenDocument(int64_t)>& draw) {
  std::vector<TokenDocument> documents;
  int64_t have = 0;
  for (int64_t i = 0; have < tokens; ++i) {
    documents.push_back(draw(i));
    have += static_cast<int64_t>(documents.back().tokens.size());
  }
  return documents;
}

}  // namespace

DocumentLoss token_loss(decltype(DocumentLoss::accumulate) accumulate) {
  const auto metrics = [](const UpdateStats& stats) {
    return Metrics{{"loss", stats.loss}, {"entropy", stats.entropy}, {"mean_token_accuracy", stats.accuracy}};
  };
  return {std::move(accumulate), metrics};
}

Metrics train_documents(const OptimConfig& config, const StageContext& stage, Model start,
                        const std::function<std::vector<TokenDocument>(int64_t step, const Model& now)>& documents_of,
                        const DocumentLoss& loss, const std::function<double()>& epoch) {
  Training training(stage, std::move(start), config, /*with_reference=*/false);
  Stopwatch watch;
  const auto learn = [&] {
    check_stop(stage.host.stop);
    const int64_t step = training.state().step;
    const Batch batch = make_batch(documents_of(step, training.model()));
    const UpdateOptions options{.micro_batch_tokens = config.micro_batch_tokens,
                                .max_memory_bytes = config.max_memory_bytes(),
                                .rate_factor = learning_rate_factor(config, step),
                                .router_bias_update_rate = config.router_bias_update_rate,
                                .router_aux_loss_alpha = config.router_aux_loss_alpha,
                                .stop = stage.host.stop,
                                .mtp_loss_weight = config.mtp_loss_weight};
    UpdateStats stats = loss.accumulate(training.policy(), batch, options);
    apply_gradient(training.optimizer(), options, stats);
    training.state().num_tokens += static_cast<int64_t>(batch.inputs.size()) + batch.num_sequences();
    Metrics metrics = loss.metrics(stats);
    metrics["grad_norm"] = stats.grad_norm;
    metrics["learning_rate"] = config.learning_rate * options.rate_factor;
    if (epoch) metrics["epoch"] = epoch();
    if (stats.mtp_loss != 0) metrics["mtp_loss"] = stats.mtp_loss;
    if (stats.has_router) metrics["moe/max_vio"] = stats.max_vio;
    metrics["step_time"] = metrics["time/update"] = watch.lap();
    training.finish_step({.stage = {}, .step = 0, .groups = {}, .advantages = {}, .metrics = std::move(metrics)});
    training.save_if_due();
  };
  while (training.state().step < config.max_steps) {
    try {
      learn();
    } catch (const Interrupted&) {
      training.save_interrupted();
      throw;
    }
  }
  return training.finish();
}

Metrics train_base(const BaseConfig& config, const StageContext& stage, const Task& task) {
  Tokenizer tokens = Tokenizer::from_json(task.tokenizer_json(), "tokenizer of task " + task.name);
  nlohmann::json model_config = config.model_config;
  model_config["vocab_size"] = tokens.vocab_size();
  model_config["eos_token_id"] = tokens.token_to_id("<eos>").value();
  model_config["pad_token_id"] = tokens.token_to_id("<pad>").value();
  Model model = random_model(model_config, config.initializer_range, stage, std::move(tokens));
  write_rows(stage.dir / "data" / "train.jsonl", task.problem_rows(/*held_out=*/false));
  write_rows(stage.dir / "data" / "heldout.jsonl", task.problem_rows(/*held_out=*/true));
  const Tokenizer tokenizer = model.tokenizer;
  const int32_t end = end_tokens(model.policy->config())[0];
  const CorpusOptions corpus{static_cast<int>(config.max_tries), config.guided_fraction, config.foreign_fraction,
                             config.mixed_fraction};
  const auto documents_of = [&](int64_t step, const Model&) {
    return fill(config.tokens_per_step, [&](int64_t i) {
      return token_document(
          tokenizer, task.document(stage.seed, (static_cast<uint64_t>(step) << 20) + static_cast<uint64_t>(i), corpus),
          end);
    });
  };
  return train_documents(config.optim, stage, std::move(model), documents_of, token_loss());
}

namespace {

std::vector<int32_t> field(const Row& row, const std::string& key, const Tokenizer& tokenizer, bool special,
                           bool use_ids) {
  const bool has_ids = row.contains(key + "_ids") && (use_ids || !row.contains(key));
  const Column column{has_ids ? key + "_ids" : key, has_ids ? ColumnType::kTokenIds : ColumnType::kText, "training"};
  check_columns(row, {column});
  if (has_ids) return row[column.key].get<std::vector<int32_t>>();
  return tokenizer.encode(row[column.key].get<std::string>(), special);
}

/// The row's prompt, which is empty when all is learnt, and completion.
Conversation tokens_of(const Row& row, const Model& model, bool use_ids) {
  const Tokenizer& tokenizer = model.tokenizer;
  const bool has_ids = use_ids && row.contains("prompt_ids");
  if (!has_ids && row.contains("messages")) return encode_conversation(model, Row::array(), row["messages"]);
  if (!has_ids && row.contains("prompt") && row["prompt"].is_array()) {
    check_columns(row, {{"completion", ColumnType::kAny, "training"}});
    const Row& answer = row["completion"];
    return encode_conversation(model, row["prompt"],
                               answer.is_string() ? Row{{{"role", "assistant"}, {"content", answer}}} : answer);
  }
  if (row.contains("prompt") || row.contains("prompt_ids"))
    return {field(row, "prompt", tokenizer, true, use_ids), field(row, "completion", tokenizer, false, use_ids)};
  if (row.contains("text")) return {{}, field(row, "text", tokenizer, true, use_ids)};
  throw std::runtime_error("has neither 'prompt' and 'completion' nor 'messages' nor 'text'");
}

// Data frames fill what a row does not have with null.
Row without_nulls(const Row& row) {
  Row out = Row::object();
  for (const auto& [key, value] : row.items()) {
    if (!value.is_null()) out[key] = value;
  }
  return out;
}

TokenDocument parse_document(const Row& row, const Model& model, const SftConfig& config) {
  auto [tokens, completion] = tokens_of(row, model, config.use_token_ids);
  if (tokens.empty() && config.on_policy_share > 0)
    throw std::runtime_error("has no prompt that a student could go on from, and on_policy_share is set");
  TokenDocument d{std::move(tokens), 1};
  if (config.completion_only_loss) d.loss_from = std::max<int64_t>(1, static_cast<int64_t>(d.tokens.size()));
  d.tokens.insert(d.tokens.end(), completion.begin(), completion.end());
  const int32_t end_token = end_tokens(model.policy->config())[0];
  if (d.tokens.empty() || d.tokens.back() != end_token) d.tokens.push_back(end_token);
  if (static_cast<int64_t>(d.tokens.size()) <= d.loss_from) throw std::runtime_error("holds no token to learn from");
  return d;
}

// The documents, some of them with a completion that the student samples now: which, and what it draws, is a function
// of (seed, step, place in the step).
std::vector<TokenDocument> on_policy(const SftConfig& config, uint64_t seed, int64_t step, const Model& student,
                                     std::vector<TokenDocument> documents) {
  std::vector<Prompt> prompts;
  std::vector<int64_t> slots;
  for (size_t i = 0; i < documents.size(); ++i) {
    if (CounterRandom(seed, Purpose::kShuffle, static_cast<uint64_t>(step), i).uniform(0) >= config.on_policy_share)
      continue;
    const auto& tokens = documents[i].tokens;
    prompts.push_back({static_cast<int64_t>(i), "", {tokens.begin(), tokens.begin() + documents[i].loss_from}, "{}"});
    slots.push_back(static_cast<int64_t>(i));
  }
  if (prompts.empty()) return documents;
  for (const Rollout& r : generate(*student.policy, student.tokenizer, prompts,
                                   {.sampling = {.max_new_tokens = config.max_completion_length},
                                   .key = {seed, Purpose::kRollout, static_cast<uint64_t>(step)},
                                   .slots = slots})) {
    TokenDocument& d = documents[static_cast<size_t>(r.prompt_id)];
    d.tokens.resize(static_cast<size_t>(d.loss_from));
    d.tokens.insert(d.tokens.end(), r.token_ids.begin(), r.token_ids.end());
  }
  return documents;
}

}  // namespace

std::vector<TokenDocument> load_documents(const std::filesystem::path& file, const Model& model,
                                          const SftConfig& config) {
  std::vector<TokenDocument> documents;
  for_each_line(file, [&](const std::string& line, int64_t number) {
    try {
      documents.push_back(parse_document(without_nulls(read_row(line)), model, config));
      check_length(documents.back().tokens, config.max_length, model.policy->config());
    } catch (const std::exception& error) {
      throw std::runtime_error(
          fmt::format("{}:{}: this row {}; mend or remove it", file.string(), number, error.what()));
    }
  });
  if (documents.empty()) throw std::runtime_error(file.string() + ": holds no row");
  return documents;
}

void check_length(const std::vector<int32_t>& tokens, int64_t max_length, const ModelConfig& config) {
  const auto length = static_cast<int64_t>(tokens.size());
  if (length > max_length) throw std::runtime_error(fmt::format("has {} tokens, max_length is {}", length, max_length));
  if (length > config.max_position_embeddings) {
    throw std::runtime_error(fmt::format("has {} tokens, and the model's max_position_embeddings is {}", length,
                                         config.max_position_embeddings));
  }
  for (const int32_t id : tokens) {
    if (id < 0 || id >= config.vocab_size)
      throw std::runtime_error(fmt::format("has the token id {}, and the vocabulary {} tokens", id, config.vocab_size));
  }
}

void check_same_vocabulary(const Model& student, const Model& teacher) {
  const int64_t own = student.policy->config().vocab_size, other = teacher.policy->config().vocab_size;
  if (own != other) {
    throw std::invalid_argument(fmt::format(
        "the teacher has {} tokens and the student {}: logits can only be distilled between equal vocabularies; "
        "distil from the teacher's completions instead (an sft stage without a teacher)",
        other, own));
  }
  for (int64_t id = 0; id < std::min(student.tokenizer.vocab_size(), teacher.tokenizer.vocab_size()); ++id) {
    const auto mine = student.tokenizer.id_to_token(static_cast<int32_t>(id));
    const auto theirs = teacher.tokenizer.id_to_token(static_cast<int32_t>(id));
    if (mine == theirs) continue;
    throw std::invalid_argument(fmt::format(
        "token {} is '{}' to the teacher and '{}' to the student: logits can only be distilled between equal "
        "vocabularies; distil from the teacher's completions instead (an sft stage without a teacher)",
        id, theirs, mine));
  }
}

Metrics train_sft(const SftConfig& config, const StageContext& stage, Model start,
                  const std::vector<TokenDocument>& documents, const Model* teacher) {
  if (teacher) check_same_vocabulary(start, *teacher);
  // Where each step begins is a function of the lengths alone, so a resumed run finds its place by walking there.
  const auto n = static_cast<int64_t>(documents.size());
  int64_t next = 0, walked = 0;
  std::vector<int64_t> order;
  const auto draw = [&](int64_t) {
    if (next % n == 0) order = permutation(n, stage.seed, Purpose::kPromptOrder, static_cast<uint64_t>(next / n));
    return documents[static_cast<size_t>(order[static_cast<size_t>(next++ % n)])];
  };
  const auto draw_step = [&] {
    if (config.rows_per_step == 0) return fill(config.tokens_per_step, draw);
    std::vector<TokenDocument> rows;
    for (int64_t i = 0; i < config.rows_per_step; ++i) rows.push_back(draw(i));
    return rows;
  };
  const auto documents_of = [&](int64_t step, const Model& now) {
    for (; walked < step; ++walked) draw_step();
    ++walked;
    auto rows = draw_step();
    return config.on_policy_share > 0 ? on_policy(config, stage.seed, step, now, std::move(rows)) : rows;
  };
  const auto epoch = [&] { return static_cast<double>(next) / static_cast<double>(n); };
  if (!teacher) return train_documents(config.optim, stage, std::move(start), documents_of, token_loss(), epoch);
  const auto distil = [teacher, spec = distillation_spec(config)](const Policy& policy, const Batch& batch,
                                                                  const UpdateOptions& options) {
    return accumulate_distillation_gradient(policy, *teacher->policy, batch, spec, options);
  };
  return train_documents(config.optim, stage, std::move(start), documents_of, token_loss(distil), epoch);
}

Model random_student(const DistilConfig& config, const StageContext& stage, const Model& teacher) {
  const ModelConfig& tokens = teacher.policy->config();
  nlohmann::json model_config = config.model_config;
  model_config["vocab_size"] = tokens.vocab_size;
  model_config["eos_token_id"] = tokens.eos_token_id;
  model_config["pad_token_id"] = tokens.pad_token_id ? nlohmann::json(*tokens.pad_token_id) : nlohmann::json();
  Model student = random_model(model_config, config.initializer_range, stage, teacher.tokenizer);
  if (!teacher.chat) return student;
  student.chat = teacher.chat;
  for (const char* name : {"tokenizer_config.json", "chat_template.jinja"}) {
    if (const auto file = teacher.side_files.find(name); file != teacher.side_files.end())
      student.side_files.insert_or_assign(name, file->second);
  }
  return student;
}

}  // namespace hone
