// rl/loss.h, rl/advantage.h, rl/batch.h: losses and advantages as functions of tensors. P prompts, G completions of
// each, B sequences, M loss tokens of all sequences, packed one after another.
#include "rl/loss.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/repeat_interleave.h>

#include "python/options.h"
#include "rl/advantage.h"
#include "rl/batch.h"

namespace hone::python {
namespace {

at::Tensor tensor_of(const std::vector<int64_t>& values) {
  at::Tensor t = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), t.mutable_data_ptr<int64_t>());
  return t;
}

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

void check_packed(const char* name, const at::Tensor& t, int64_t tokens) {
  if (!t.defined()) refuse(fmt::format("{} is None; give a tensor of shape ({},)", name, tokens));
  if (t.dim() != 1 || t.size(0) != tokens)
    refuse(fmt::format("{} has shape {}, but lengths add up to {} tokens; give shape ({},)", name,
                       fmt::format("({})", fmt::join(t.sizes(), ", ")), tokens, tokens));
  if (!t.is_floating_point())
    refuse(fmt::format("{} has dtype {}; give a floating dtype, e.g. float32", name, c10::toString(t.scalar_type())));
  if (!t.is_cpu())
    refuse(fmt::format("{} is on {}; hone computes on the CPU: move it with .cpu()", name, t.device().str()));
}

at::Tensor token_weights(const LossSpec& spec, const RlConfig& config, const std::vector<int64_t>& lengths,
                         at::ScalarType type) {
  const auto weights = sequence_weights(lengths, {.normaliser = spec.normaliser,
                                                  .max_completion_length = config.sampling.max_new_tokens,
                                                  .micro_batch_sequences = config.bnpo_sequences});
  at::Tensor each = at::empty({static_cast<int64_t>(weights.size())}, at::kFloat);
  std::copy(weights.begin(), weights.end(), each.mutable_data_ptr<float>());
  return each.repeat_interleave(tensor_of(lengths)).to(type);
}

at::Tensor policy_loss_of(const at::Tensor& policy_logprobs, const at::Tensor& sampler_logprobs,
                          const at::Tensor& advantages, const std::vector<int64_t>& lengths,
                          const std::optional<at::Tensor>& ref_logprobs, const py::kwargs& options) {
  const auto config = read_keywords<RlConfig>(options, "policy_loss");
  if (lengths.empty()) refuse("lengths is empty; give the number of tokens of every completion");
  int64_t tokens = 0;
  for (const int64_t n : lengths) {
    if (n < 0) refuse(fmt::format("lengths holds {}; a completion has at least 0 tokens", n));
    tokens += n;
  }
  check_packed("policy_logprobs", policy_logprobs, tokens);
  check_packed("sampler_logprobs", sampler_logprobs, tokens);
  if (config.beta > 0 && !ref_logprobs)
    refuse(fmt::format("ref_logprobs is None, but beta is {}; give the reference's log-probs or beta=0", config.beta));
  if (ref_logprobs) check_packed("ref_logprobs", *ref_logprobs, tokens);
  const auto count = static_cast<int64_t>(lengths.size());
  if (!advantages.defined() || advantages.dim() != 1 || (advantages.size(0) != count && advantages.size(0) != tokens))
    refuse(fmt::format("advantages must have shape ({},), one a completion, or ({},), one a token", count, tokens));
  const at::ScalarType type = policy_logprobs.scalar_type();
  const LossSpec spec = loss_spec(config);
  const py::gil_scoped_release release;
  const at::Tensor each = tensor_of(lengths), sequence = at::repeat_interleave(each);
  const at::Tensor own = advantages.to(type);
  return policy_loss(spec, {.policy_logprobs = policy_logprobs,
                            .sampler_logprobs = sampler_logprobs.to(type),
                            .advantages = own.size(0) == count ? own.repeat_interleave(each) : own,
                            .weights = token_weights(spec, config, lengths, type),
                            .sequence = sequence,
                            .num_sequences = count,
                            .ref_logprobs = config.beta > 0 ? ref_logprobs->to(type) : at::Tensor()})
      .loss;
}

at::Tensor advantages_of(const std::vector<std::vector<std::optional<double>>>& rewards, const py::kwargs& options) {
  const auto config = read_keywords<RlConfig>(options, "group_advantages");
  std::vector<Group> groups;
  for (const auto& row : rewards) {
    Group& group = groups.emplace_back();
    if (row.size() != rewards[0].size())
      refuse(fmt::format("rewards has rows of {} and {} numbers; give every prompt as many completions",
                         rewards[0].size(), row.size()));
    group.rollouts.resize(row.size());
    for (const auto& value : row) group.rewards.push_back({value && !std::isnan(*value) ? value : std::nullopt, {}});
  }
  if (groups.empty()) refuse("rewards is empty; give (prompts, completions) numbers");
  const auto all = group_advantages(groups, advantage_options(config));
  at::Tensor out = at::empty({static_cast<int64_t>(all.size()), static_cast<int64_t>(all[0].size())}, at::kDouble);
  for (size_t p = 0; p < all.size(); ++p)
    std::copy(all[p].begin(), all[p].end(), out.mutable_data_ptr<double>() + p * all[0].size());
  return out;
}

}  // namespace

void bind_losses(py::module_& m) {
  m.def("policy_loss", policy_loss_of, py::arg("policy_logprobs"), py::arg("sampler_logprobs"), py::arg("advantages"),
        py::arg("lengths"), py::arg("ref_logprobs") = py::none(),
        "The policy loss of an optimizer step's completions, a scalar that backward() can start from. Formulas and\n"
        "papers: rl/loss.h.\n\n"
        "policy_logprobs: (M) floating, with gradient; sampler_logprobs: (M); lengths: tokens of each of the B\n"
        "completions, which follow one another in the M tokens; advantages: (B) or (M); ref_logprobs: (M), for beta > "
        "0.\n"
        "Keywords are the options of GRPOConfig that a loss has: loss_type, epsilon, epsilon_high, delta, beta, ..\n"
        "Raises ValueError for shapes, dtypes, devices and options that do not fit. Thread-safe.");
  m.def(
      "group_advantages", advantages_of, py::arg("rewards"),
      "Group-relative advantages, (P, G) float64, of rewards (P, G); None or NaN: not scored. Formula and sources:\n"
      "rl/advantage.h. Keywords: scale_rewards, sample_std, advantage_epsilon. Raises RuntimeError when nothing could\n"
      "be scored.");
}

}  // namespace hone::python
