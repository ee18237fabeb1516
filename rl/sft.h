// Training on given text: the base stage (random weights, a corpus that a task makes) and the sft stage (rows).
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "rl/batch.h"
#include "rl/stage.h"
#include "rl/task.h"
#include "rl/update.h"

namespace hone {

/// What a stage learns from the documents of a step: a gradient, and what it logs of it.
struct DocumentLoss {
  std::function<UpdateStats(const Policy& policy, const Batch& batch, const UpdateOptions& options)> accumulate;
  std::function<Metrics(const UpdateStats& stats)> metrics;
};
/// Cross-entropy, or with another gradient of the same metrics: loss, entropy, mean_token_accuracy.
DocumentLoss token_loss(decltype(DocumentLoss::accumulate) accumulate = accumulate_cross_entropy_gradient);

/// The loop of every stage that learns from documents: those of step `step`, chosen by documents_of(step, model).
Metrics train_documents(const OptimConfig& config, const StageContext& stage, Model start,
                        const std::function<std::vector<TokenDocument>(int64_t step, const Model& now)>& documents_of,
                        const DocumentLoss& loss, const std::function<double()>& epoch = {});

/// Trains a new policy on the task's corpus: step s learns from documents (s << 20) .. of this seed. Leaves final/ and
/// data/train.jsonl, data/heldout.jsonl.
Metrics train_base(const BaseConfig& config, const StageContext& stage, const Task& task);

/// Rows of {"prompt", "completion"}, {"text"}, {"messages"} or {"prompt_ids", "completion_ids"}, the end token added
/// where it is missing. A prompt may be chat messages, its completion then messages or the assistant's text. All of
/// "text" and "messages" is learnt. Throws std::runtime_error naming file and line for a broken row, one that
/// check_length() refuses, and one without a prompt where on_policy_share wants the student to go on from it.
std::vector<TokenDocument> load_documents(const std::filesystem::path& file, const Model& model,
                                          const SftConfig& config);

/// Throws std::runtime_error, as "has ..", for more tokens than max_length or max_position_embeddings, and for an id
/// outside of the vocabulary.
void check_length(const std::vector<int32_t>& tokens, int64_t max_length, const ModelConfig& config);

/// Trains on documents in an order that is a permutation an epoch. The teacher may be null. Throws
/// std::invalid_argument for one of another vocabulary.
Metrics train_sft(const SftConfig& config, const StageContext& stage, Model start,
                  const std::vector<TokenDocument>& documents, const Model* teacher = nullptr);

/// Throws std::invalid_argument unless every token id means the same to both.
void check_same_vocabulary(const Model& student, const Model& teacher);

/// The new student of a distil stage: random weights, the teacher's vocabulary, end token and chat template.
Model random_student(const DistilConfig& config, const StageContext& stage, const Model& teacher);

}  // namespace hone
