#include "rl/update.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <map>
#include <mutex>
#include <numeric>
#include <stdexcept>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/kernels/thread_pool.h"
#include "rl/shared_prefix.h"

namespace hone {
namespace {

at::Tensor tensor_of(const std::vector<int64_t>& values) {
  at::Tensor t = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), t.mutable_data_ptr<int64_t>());
  return t;
}
at::Tensor tensor_of(const std::vector<float>& values, at::ScalarType type) {
  at::Tensor t = at::empty({static_cast<int64_t>(values.size())}, at::kFloat);
  std::copy(values.begin(), values.end(), t.mutable_data_ptr<float>());
  return t.to(type);
}

// A stretch of a batch that passes through the policy by itself.
struct Part {
  Batch batch;  // where its prefixes are shared: inputs and rows of what passes
  Rows rows;
  int64_t first_loss_token;
  double share;  // of the step's sequences
};

at::Tensor forward(const Policy& policy, const Part& part, RouterLoad* router, bool balance, bool recompute = false) {
  return policy.forward(tensor_of(part.batch.inputs),
                        {.rows = part.rows, .router = router, .balance_loss = balance, .recompute = recompute});
}

// The trainer's log-probs of a batch's loss tokens.
TokenLogprobs evaluate(const Policy& policy, const Batch& batch, const at::Tensor& hidden, double inv_temperature) {
  return ops::token_logprobs(hidden.index_select(0, tensor_of(batch.rows)), policy.head(), tensor_of(batch.targets),
                             tensor_of(batch.forbidden), inv_temperature);
}

// -sum of weight x log P(t) over the loss tokens t that the predictor reaches: those with two tokens before them
// (DeepSeek-V3 eq. 24).
at::Tensor prediction_loss(const Policy& policy, const Batch& batch, const at::Tensor& hidden, RouterLoad& router,
                           bool balance) {
  std::vector<int64_t> lengths, kept, next, begins, rows, targets;
  std::vector<float> weights;
  int64_t begin = 0;
  for (const int64_t length : batch.lengths) {
    begins.push_back(begin);
    if (length > 1) lengths.push_back(length - 1);
    for (int64_t row = begin; row + 1 < begin + length; ++row) {
      kept.push_back(row);
      next.push_back(batch.inputs[static_cast<size_t>(row + 1)]);
    }
    begin += length;
  }
  for (size_t m = 0; m < batch.rows.size(); ++m) {
    const int64_t sequence = batch.sequence[m];
    if (batch.rows[m] == begins[static_cast<size_t>(sequence)]) continue;
    const auto row = std::ranges::lower_bound(kept, batch.rows[m] - 1) - kept.begin();
    rows.push_back(row);
    targets.push_back(batch.targets[m]);
    weights.push_back(batch.weights[m]);
  }
  if (rows.empty()) return at::zeros({}, hidden.options());
  const Rows packed = pack_rows(lengths);
  RouterLoad own;
  const at::Tensor predicted = policy.predict(hidden.index_select(0, tensor_of(kept)), tensor_of(next),
                                              {.rows = packed, .router = &own, .balance_loss = balance});
  router.counts.insert(router.counts.end(), own.counts.begin(), own.counts.end());
  // the mean over all sequences, those too short to pass through here included
  const double reached = static_cast<double>(lengths.size()) / static_cast<double>(batch.num_sequences());
  for (const at::Tensor& loss : own.balance_losses) router.balance_losses.push_back(loss * reached);
  const at::Tensor logprobs =
      ops::token_logprobs(predicted.index_select(0, tensor_of(rows)), policy.head(), tensor_of(targets), {}, 1)
          .logprobs;
  return -(logprobs * tensor_of(weights, logprobs.scalar_type())).sum();
}

// A part whose sequences are all too short for the predictor has a layer less.
void add_counts(std::vector<std::vector<int64_t>>& total, const std::vector<std::vector<int64_t>>& part) {
  if (total.size() < part.size()) total.resize(part.size());
  for (size_t l = 0; l < part.size(); ++l) {
    total[l].resize(part[l].size());
    for (size_t e = 0; e < part[l].size(); ++e) total[l][e] += part[l][e];
  }
}

// alpha times the layers' balance losses, weighed by this part's share of the sequences.
at::Tensor with_balance_loss(at::Tensor loss, const RouterLoad& router, double alpha, double share) {
  for (const at::Tensor& balance : router.balance_losses) loss = loss + balance * (alpha * share);
  return loss;
}

// Whether sequences that begin alike pass with that beginning once. Not where the statistics of routers count every
// token, and not where the predictor reads whole sequences.
bool shares_prefixes(const Policy& policy, const UpdateOptions& options) {
  const at::Tensor& head = policy.head().tensor();
  return head.device().is_cpu() && head.scalar_type() == at::kFloat && policy.config().n_routed_experts == 0 &&
         !(options.mtp_loss_weight > 0 && policy.predictor());
}

// Tokens of a part. What a large policy keeps of one for its backward weighs more than reading its weights for more.
int64_t part_tokens(const UpdateOptions& options) { return options.part_tokens > 0 ? options.part_tokens : 512; }

// Parts that pass at the same time, each on a thread of its own.
int64_t num_lanes(const Policy& policy, const UpdateOptions& options) {
  return policy.fits_a_core() ? std::max<int64_t>(1, options.micro_batch_tokens / part_tokens(options)) : 1;
}

// Where threads pass parts of their own there is an even number of them, so that two threads end together.
int64_t num_parts(const Policy& policy, const Batch& batch, const UpdateOptions& options) {
  const auto total =
      static_cast<double>(shares_prefixes(policy, options) ? share_prefixes(batch.lengths, batch.inputs).inputs.size()
                                                           : batch.inputs.size());
  const int64_t together = policy.fits_a_core() && options.part_tokens == 0 ? 2 : 1;
  return together * std::max<int64_t>(1, std::llround(total / static_cast<double>(together * part_tokens(options))));
}

std::vector<Part> make_parts(const Policy& policy, const Batch& batch, const UpdateOptions& options) {
  std::vector<Part> parts;
  int64_t tokens = 0;
  for (const auto& [begin, end] : split_evenly(batch, num_parts(policy, batch, options))) {
    Part part{slice(batch, begin, end),
              {},
              tokens,
              static_cast<double>(end - begin) / static_cast<double>(batch.num_sequences())};
    tokens += part.batch.num_loss_tokens();
    if (shares_prefixes(policy, options)) {
      SharedPrefixes shared = share_prefixes(part.batch.lengths, part.batch.inputs);
      part.rows = std::move(shared.rows);
      part.batch.inputs = std::move(shared.inputs);
      for (int64_t& row : part.batch.rows) row = shared.row_of[static_cast<size_t>(row)];
    } else {
      part.rows = pack_rows(part.batch.lengths);
    }
    if (part.batch.num_loss_tokens() > 0) parts.push_back(std::move(part));
  }
  return parts;
}

// compute(part) on whatever thread is free, then take(part, result) for one part after the other, in order.
template <class Compute, class Take>
void for_parts(const Policy& policy, const std::vector<Part>& parts, const UpdateOptions& options,
               const Compute& compute, const Take& take) {
  int64_t longest = 0;
  for (const Part& part : parts) longest = std::max(longest, *std::ranges::max_element(part.batch.lengths));
  policy.prepare(longest);
  std::mutex mutex;
  std::map<size_t, decltype(compute(parts[0]))> waiting;
  std::atomic<size_t> next{0};
  size_t taken = 0;
  const auto pass_parts = [&](int64_t) {
    for (size_t i = next++; i < parts.size(); i = next++) {
      auto result = compute(parts[i]);
      const std::lock_guard lock(mutex);
      waiting.emplace(i, std::move(result));
      for (auto first = waiting.begin(); first != waiting.end() && first->first == taken; ++taken) {
        take(parts[taken], first->second);
        first = waiting.erase(first);
      }
    }
  };
  const int64_t lanes = num_lanes(policy, options);
  if (lanes > 1) kernel_pool().run(std::min<int64_t>(lanes, kernel_pool().threads()), pass_parts);
  else pass_parts(0);
}

std::vector<at::Tensor> trained_tensors(const Policy& policy) {
  std::vector<at::Tensor> tensors;
  for (const Parameter* p : policy.parameters().trained()) tensors.push_back(p->tensor);
  return tensors;
}

void add_gradients(const std::vector<at::Tensor>& tensors, const std::vector<at::Tensor>& gradients) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!gradients[i].defined()) continue;
    at::Tensor& sum = tensors[i].mutable_grad();
    if (sum.defined()) sum.add_(gradients[i]);
    else sum = gradients[i];
  }
}

int64_t resident_bytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// Whether layers must keep their inputs alone for the largest part to fit (UpdateOptions::max_memory_bytes).
bool must_recompute(const Policy& policy, const std::vector<Part>& parts, const UpdateOptions& options) {
  if (options.max_memory_bytes == 0 || num_lanes(policy, options) > 1) return false;
  size_t tokens = 0;
  for (const Part& part : parts) tokens = std::max(tokens, part.batch.inputs.size());
  const int64_t resident = resident_bytes(), layers = policy.config().num_hidden_layers,
                kept = static_cast<int64_t>(tokens) * policy.activation_bytes_per_token(),
                inputs = static_cast<int64_t>(tokens) * policy.config().hidden_size * layers * 4;
  const auto gigabytes = [](int64_t bytes) { return static_cast<double>(bytes) / 1e9; };
  if (resident + inputs + kept / layers > options.max_memory_bytes) {
    throw std::runtime_error(fmt::format(
        "max_memory_gb: {:.2f} is too little: the process takes {:.2f} GB, and {} tokens at once {:.2f} GB more even "
        "with recomputed activations; raise it or shorten the sequences",
        gigabytes(options.max_memory_bytes), gigabytes(resident), tokens, gigabytes(inputs + kept / layers)));
  }
  return resident + kept > options.max_memory_bytes;
}

// For as long as it lives the policy's backward passes add to .grad themselves (Arithmetic::adds_gradients).
class AddingGradients {
 public:
  AddingGradients(const Policy& policy, bool on) : arithmetic_(*policy.parameters().arithmetic()) {
    arithmetic_.adds_gradients = on;
  }
  ~AddingGradients() { arithmetic_.adds_gradients = false; }
  AddingGradients(const AddingGradients&) = delete;

 private:
  Arithmetic& arithmetic_;
};

// What one part adds to the step.
struct PartResult {
  std::vector<at::Tensor> gradients;  // empty: added already
  at::Tensor logprobs;                // (M) of the policy
  LossOutput loss;
  double entropy, best;
  at::Tensor mtp_loss;  // undefined: none
  RouterLoad router;
};

// Forward, `loss_of(part, hidden, logprobs) -> LossOutput` and backward of every part; the sums that all losses report.
template <class LossOf>
UpdateStats accumulate(const Policy& policy, const Batch& batch, const UpdateOptions& options, const LossOf& loss_of,
                       const LogprobsSeen& seen) {
  UpdateStats stats;
  std::vector<std::vector<int64_t>> counts;
  const std::vector<at::Tensor> tensors = trained_tensors(policy);
  const bool one_by_one = num_lanes(policy, options) == 1;
  const std::vector<Part> parts = make_parts(policy, batch, options);
  // of a large policy, sampling leaves hundreds of megabytes in the heap, and so does this for the next sampling
  const auto trim = [&] {
    if (one_by_one) malloc_trim(0);
  };
  trim();
  const bool recompute = must_recompute(policy, parts, options);
  // not of a small policy, whose sums would then depend on the number of lanes
  const AddingGradients adding(policy, !policy.fits_a_core());
  const auto compute = [&](const Part& part) {
    check_stop(options.stop);
    PartResult r;
    const bool balance = options.router_aux_loss_alpha > 0;
    const at::Tensor hidden = forward(policy, part, &r.router, balance, recompute);
    const TokenLogprobs out = evaluate(policy, part.batch, hidden, options.inv_temperature);
    r.logprobs = out.logprobs.detach();
    r.entropy = out.entropy.sum().item<double>();
    r.best = out.is_best.sum().item<double>();
    r.loss = loss_of(part, hidden, out.logprobs);
    at::Tensor total = r.loss.loss;
    if (options.mtp_loss_weight > 0 && policy.predictor()) {
      r.mtp_loss = prediction_loss(policy, part.batch, hidden, r.router, balance);
      total = total + options.mtp_loss_weight * r.mtp_loss;
    }
    total = with_balance_loss(total, r.router, options.router_aux_loss_alpha, part.share);
    check_stop(options.stop);
    if (one_by_one) {  // the same sums without a second set of gradients
      torch::autograd::backward({total}, {});
    } else {
      r.gradients = torch::autograd::grad({total}, tensors, {}, /*retain_graph=*/false, /*create_graph=*/false,
                                          /*allow_unused=*/true);
    }
    return r;
  };
  for_parts(policy, parts, options, compute, [&](const Part& part, PartResult& r) {
    if (seen)
      seen({r.logprobs.const_data_ptr<float>(), static_cast<size_t>(r.logprobs.numel())}, part.first_loss_token);
    if (!one_by_one) add_gradients(tensors, r.gradients);
    stats.loss += r.loss.loss.template item<double>();
    stats.mtp_loss += r.mtp_loss.defined() ? r.mtp_loss.template item<double>() : 0;
    stats.entropy += r.entropy;
    stats.accuracy += r.best;
    stats.clip_ratio += r.loss.clipped;
    stats.clip_low += r.loss.clipped_low;
    stats.clip_high += r.loss.clipped_high;
    stats.clip_low_min = std::min(stats.clip_low_min, r.loss.low_min);
    stats.clip_high_max = std::max(stats.clip_high_max, r.loss.high_max);
    stats.kl += r.loss.kl;
    add_counts(counts, r.router.counts);
  });
  trim();
  const auto tokens = static_cast<double>(std::max<int64_t>(1, batch.num_loss_tokens()));
  for (double* sum : {&stats.entropy, &stats.accuracy, &stats.clip_ratio, &stats.clip_low, &stats.clip_high, &stats.kl})
    *sum /= tokens;
  stats.has_router = !counts.empty();
  stats.max_vio = max_violation(counts);
  if (options.router_bias_update_rate > 0) update_router_biases(policy, counts, options.router_bias_update_rate);
  return stats;
}

}  // namespace

namespace {

// `measure(part, hidden) -> (M of the part)`, without gradient, part by part.
template <class Measure>
std::vector<float> measured(const Policy& policy, const Batch& batch, const UpdateOptions& options,
                            const Measure& measure) {
  std::vector<float> all;
  const auto compute = [&](const Part& part) {
    check_stop(options.stop);
    at::NoGradGuard no_grad;
    return measure(part, forward(policy, part, nullptr, false)).to(at::kFloat).contiguous();
  };
  for_parts(policy, make_parts(policy, batch, options), options, compute, [&](const Part&, const at::Tensor& part) {
    all.insert(all.end(), part.const_data_ptr<float>(), part.const_data_ptr<float>() + part.numel());
  });
  return all;
}

at::Tensor scores_of(const Policy& policy, const Part& part, const at::Tensor& hidden) {
  return policy.score(hidden.index_select(0, tensor_of(part.batch.rows))).flatten();
}

}  // namespace

std::vector<float> token_logprobs(const Policy& policy, const Batch& batch, const UpdateOptions& options) {
  return measured(policy, batch, options, [&](const Part& part, const at::Tensor& hidden) {
    return evaluate(policy, part.batch, hidden, options.inv_temperature).logprobs;
  });
}

std::vector<float> scores(const Policy& policy, const Batch& batch, const UpdateOptions& options) {
  return measured(policy, batch, options,
                  [&](const Part& part, const at::Tensor& hidden) { return scores_of(policy, part, hidden); });
}

UpdateStats accumulate_score_gradient(const Policy& policy, const Batch& batch, const UpdateOptions& options) {
  const auto loss_of = [&](const Part& part, const at::Tensor& hidden, const at::Tensor&) {
    const at::Tensor own = scores_of(policy, part, hidden);
    return LossOutput{.loss = (own * tensor_of(part.batch.weights, own.scalar_type())).sum()};
  };
  return accumulate(policy, batch, options, loss_of, {});
}

UpdateStats accumulate_policy_gradient(const Policy& policy, const Batch& batch, const LossSpec& spec,
                                       const std::vector<float>& ref_logprobs, const UpdateOptions& options,
                                       const LogprobsSeen& seen) {
  const auto loss = [&](const LossInput& in) { return policy_loss(spec, in); };
  return accumulate_policy_gradient(policy, batch, PolicyLoss(loss), ref_logprobs, options, seen);
}

UpdateStats accumulate_policy_gradient(const Policy& policy, const Batch& batch, const PolicyLoss& loss,
                                       const std::vector<float>& ref_logprobs, const UpdateOptions& options,
                                       const LogprobsSeen& seen) {
  const auto loss_of = [&](const Part& part, const at::Tensor&, const at::Tensor& logprobs) {
    const at::ScalarType type = logprobs.scalar_type();
    LossInput in{.policy_logprobs = logprobs,
                 .sampler_logprobs = tensor_of(part.batch.sampler_logprobs, type),
                 .advantages = tensor_of(part.batch.advantages, type),
                 .weights = tensor_of(part.batch.weights, type),
                 .sequence = tensor_of(part.batch.sequence),
                 .num_sequences = part.batch.num_sequences(),
                 .ref_logprobs = {}};
    if (!ref_logprobs.empty()) {
      const auto begin = ref_logprobs.begin() + part.first_loss_token;
      in.ref_logprobs = tensor_of(std::vector<float>(begin, begin + part.batch.num_loss_tokens()), type);
    }
    return loss(in);
  };
  return accumulate(policy, batch, options, loss_of, seen);
}

UpdateStats accumulate_cross_entropy_gradient(const Policy& policy, const Batch& batch, const UpdateOptions& options) {
  const auto loss_of = [](const Part& part, const at::Tensor&, const at::Tensor& logprobs) {
    return LossOutput{.loss = -(logprobs * tensor_of(part.batch.weights, logprobs.scalar_type())).sum()};
  };
  return accumulate(policy, batch, options, loss_of, {});
}

UpdateStats accumulate_distillation_gradient(const Policy& policy, const Policy& teacher, const Batch& batch,
                                             const DistillationSpec& spec, const UpdateOptions& options) {
  teacher.prepare(*std::ranges::max_element(batch.lengths));
  const auto logits = [](const Policy& p, const Part& part, const at::Tensor& hidden) {
    return p.logits(hidden.index_select(0, tensor_of(part.batch.rows)));
  };
  const auto teacher_logits = [&](const Part& part) {
    at::NoGradGuard no_grad;
    return logits(teacher, part, forward(teacher, part, nullptr, false));
  };
  const auto loss_of = [&](const Part& part, const at::Tensor& hidden, const at::Tensor& logprobs) {
    const at::Tensor each =
        divergence(spec, logits(policy, part, hidden), teacher_logits(part).to(logprobs.scalar_type()));
    return LossOutput{.loss = (each * tensor_of(part.batch.weights, logprobs.scalar_type())).sum()};
  };
  return accumulate(policy, batch, options, loss_of, {});
}

void apply_gradient(Optimizer& optimizer, const UpdateOptions& options, UpdateStats& stats) {
  stats.grad_norm = optimizer.step(options.rate_factor);
}

void update_router_biases(const Policy& policy, const std::vector<std::vector<int64_t>>& counts, double rate) {
  at::NoGradGuard no_grad;
  const auto biases = policy.router_biases();
  for (size_t l = 0; l < biases.size() && l < counts.size(); ++l) {
    const double mean =
        std::accumulate(counts[l].begin(), counts[l].end(), 0.0) / static_cast<double>(counts[l].size());
    float* bias = biases[l].mutable_data_ptr<float>();
    for (size_t e = 0; e < counts[l].size(); ++e) {
      const double missing = mean - static_cast<double>(counts[l][e]);
      bias[e] += static_cast<float>(missing > 0 ? rate : missing < 0 ? -rate : 0);
    }
  }
}

double max_violation(const std::vector<std::vector<int64_t>>& counts) {
  double sum = 0;
  for (const auto& layer : counts) {
    const double mean = std::accumulate(layer.begin(), layer.end(), 0.0) / static_cast<double>(layer.size());
    sum += mean > 0 ? (static_cast<double>(*std::max_element(layer.begin(), layer.end())) - mean) / mean : 0;
  }
  return counts.empty() ? 0 : sum / static_cast<double>(counts.size());
}

}  // namespace hone
