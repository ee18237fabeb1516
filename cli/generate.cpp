// hone generate --model DIR (--prompt TEXT | --data FILE.jsonl): samples completions and prints them.
#include <algorithm>
#include <ctime>
#include <iostream>
#include <span>
#include <stdexcept>

#include <fmt/format.h>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "rollout/engine.h"

namespace hone {
namespace {

constexpr int64_t kChunk = 1024;  // completions between two writes: rows appear while later ones are made

void check(const GenerateArgs& args) {
  if (args.prompt.has_value() == !args.data.empty()) {
    throw std::invalid_argument("generate: give either --prompt TEXT or --data FILE.jsonl");
  }
}

std::tm today() {
  const std::time_t time = std::time(nullptr);
  std::tm now{};
  localtime_r(&time, &now);
  return now;
}

std::string jsonl_row(int64_t index, const Prompt& prompt, const Rollout& r) {
  return fmt::format(
      "{{\"prompt_index\":{},\"id\":{},\"sample\":{},\"prompt_ids\":{},\"token_ids\":{},\"logprobs\":{},\"text\":{},"
      "\"finish_reason\":\"{}\"}}\n",
      index, prompt.id, r.sample, json_list(std::span<const int32_t>(prompt.token_ids)),
      json_list(std::span<const int32_t>(r.token_ids)), json_list(std::span<const float>(r.logprobs)),
      json_text(r.text), to_string(r.finish_reason));
}

std::string readable(int64_t index, const Rollout& r, bool is_alone) {
  if (is_alone) return r.text + "\n";
  return fmt::format("--- prompt {}, sample {}: {} tokens, {}\n{}\n", index, r.sample, r.token_ids.size(),
                     to_string(r.finish_reason), r.text);
}

/// Every prompt with its own limit, so that a completion does not depend on the prompts beside it; all are checked
/// before the first is sampled.
std::vector<SamplingOptions> options_of(const std::vector<Prompt>& prompts, const GenerateArgs& args,
                                        const Model& model) {
  std::vector<SamplingOptions> options;
  for (const Prompt& p : prompts) {
    options.push_back(sampling_options(args.sampling, model, static_cast<int64_t>(p.token_ids.size())));
  }
  return options;
}

}  // namespace

int generate(const GenerateArgs& args) {
  check(args);
  const Model model = read_model(args.model, {.keep = Keep::kForSampling, .bfloat16 = args.dtype == "bfloat16"});
  const PromptEncoder encoder = prompt_encoder(model, today(), args.chat);
  const auto prompts =
      args.prompt ? text_prompt(*args.prompt, model, encoder) : read_prompts(args.data, model, encoder);
  const auto options = options_of(prompts, args, model);
  const auto chunk = static_cast<size_t>(std::max<int64_t>(1, kChunk / args.n));
  DraftCounts drafts;
  const bool is_alone = prompts.size() == 1 && args.n == 1;
  for (size_t begin = 0, end = 0; begin < prompts.size(); begin = end) {
    GenerateOptions call{
        .sampling = options[begin], .samples = args.n, .key = {args.sampling.seed, Purpose::kGenerate, 0}};
    call.speculate = args.speculate;
    call.drafts = &drafts;
    while (end < prompts.size() && end - begin < chunk && options[end].max_new_tokens == call.sampling.max_new_tokens) {
      call.slots.push_back(prompts[end++].id);
    }
    const auto rollouts =
        generate(*model.policy, model.tokenizer, std::span(prompts).subspan(begin, end - begin), call);
    for (size_t i = 0; i < rollouts.size(); ++i) {
      const size_t p = begin + i / static_cast<size_t>(args.n);
      const auto index = static_cast<int64_t>(p);
      std::cout << (args.jsonl ? jsonl_row(index, prompts[p], rollouts[i]) : readable(index, rollouts[i], is_alone));
    }
    std::cout.flush();
  }
  if (args.speculate) {
    std::cerr << fmt::format("speculation: {} of {} drafts accepted, {:.2f} tokens a forward pass\n",
                             drafts.accepted.load(), drafts.drafted.load(), drafts.tokens_per_forward());
  }
  return 0;
}

}  // namespace hone
