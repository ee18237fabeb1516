#include "rollout/engine.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <fmt/format.h>

#include "models/kernels/thread_pool.h"
#include "models/multi_token_prediction.h"
#include "rollout/stop_matcher.h"

namespace hone {
namespace {

at::Tensor id_tensor(const std::vector<int64_t>& ids) {
  at::Tensor t = at::empty({static_cast<int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), t.mutable_data_ptr<int64_t>());
  return t;
}

// Without the end token; an id that a padded vocabulary has and the tokenizer lacks is no text.
std::string text_of(const Rollout& r, const Tokenizer& tokenizer) {
  std::vector<int32_t> shown(r.token_ids.begin(), r.token_ids.end() - (r.finish_reason == FinishReason::kEos ? 1 : 0));
  std::erase_if(shown, [&](int32_t id) { return id >= tokenizer.vocab_size(); });
  return tokenizer.decode(shown);
}

// Looks for stop strings in a completion while it grows.
struct StopWatch {
  StreamDecoder decoder;
  StopMatcher matcher;

  bool push(int32_t id) { return matcher.append(decoder.push(id)); }
  bool finish() { return matcher.append(decoder.finish()); }
};

// One completion in flight: its place in the cache and how far it is.
struct Active {
  int64_t rollout;            // index into the result
  int64_t place;              // its own blocks of the cache
  int64_t length;             // positions in the cache: prompt + completion but for the newest token
  int64_t row = 0, rows = 1;  // of the last pass: where, and how many tokens it gave
};

// Where what lies in the caches, in blocks. First the places, one for each completion in flight, then the seats, one
// for each prompt that has some: the blocks that a prompt fills are shared by its completions, the last block they
// copy.
struct Layout {
  int64_t own_blocks, prompt_blocks, places;

  Layout(int64_t longest_prompt, int64_t max_new_tokens, int64_t num_places)
      : own_blocks((cpu::kBlock + max_new_tokens + cpu::kBlock - 1) / cpu::kBlock),
        prompt_blocks((longest_prompt + cpu::kBlock - 1) / cpu::kBlock),
        places(num_places) {}
  int64_t blocks(int64_t seats) const { return seat(seats); }
  int64_t place(int64_t i) const { return i * own_blocks; }
  int64_t seat(int64_t i) const { return places * own_blocks + i * prompt_blocks; }
  /// Complete whoever asks: a draft module's cache is a position shorter.
  static int64_t shared(int64_t prompt_length) { return (prompt_length - 1) / cpu::kBlock; }
};

// The token that is expected to follow the newest one, and what it was drawn from.
struct Draft {
  int32_t token = -1;  // -1: none
  std::vector<float> probabilities;
};

int64_t longest_prompt(std::span<const Prompt> prompts) {
  int64_t longest = 1;
  for (const Prompt& p : prompts) longest = std::max(longest, static_cast<int64_t>(p.token_ids.size()));
  return longest;
}

class Generation {
 public:
  Generation(const Policy& policy, const Tokenizer& tokenizer, std::span<const Prompt> prompts, int64_t first_prompt,
             int64_t max_batch, const GenerateOptions& options)
      : policy_(policy),
        tokenizer_(tokenizer),
        prompts_(prompts),
        first_prompt_(first_prompt),
        options_(options),
        ends_(end_tokens(policy.config())),
        places_(std::max<int64_t>(1, std::min(max_batch, total()))),
        window_(num_window()),
        layout_(longest_prompt(prompts), options.sampling.max_new_tokens, places_),
        cache_(policy.attention_shapes(), layout_.blocks(places_ + window_)),
        draft_cache_(draft_shapes(), layout_.blocks(places_ + window_)),
        drafts_(static_cast<size_t>(places_)),
        rollouts_(static_cast<size_t>(total())),
        running_(prompts.size(), options.samples),
        seats_(prompts.size()) {
    for (int64_t i = places_; i-- > 0;) free_.push_back(i);
    for (int64_t i = places_ + window_; i-- > 0;) free_seats_.push_back(i);
    watches_.resize(options.sampling.stop.empty() ? 0 : static_cast<size_t>(places_));
  }

  std::vector<Rollout> run() {
    at::NoGradGuard no_grad;
    admit();
    while (!active_.empty()) {
      check_stop(options_.stop);
      if (options_.speculate) draft();
      advance();
      admit();
    }
    return std::move(rollouts_);
  }

 private:
  std::vector<cpu::AttentionShape> draft_shapes() const {
    if (!options_.speculate) return {};
    return {policy_.predictor()->block().attention_shape()};
  }
  int64_t total() const { return static_cast<int64_t>(prompts_.size()) * options_.samples; }
  int64_t num_window() const {
    const auto prompts = static_cast<int64_t>(prompts_.size());
    return std::clamp<int64_t>(2 * places_ / options_.samples, 1, std::max<int64_t>(1, prompts));
  }
  // `count` rows of a completion, from `position` on.
  cpu::RowSpan span(const Active& a, int64_t row, int64_t count, int64_t position) const {
    const auto prompt = a.rollout / options_.samples;
    return {.row = row,
            .count = count,
            .position = position,
            .first_block = layout_.place(a.place),
            .shared_block = layout_.seat(seats_[static_cast<size_t>(prompt)]),
            .shared_blocks = Layout::shared(prompt_length(prompt))};
  }

  // Starts completions while there are free places; their first token comes from the prompt's last logits.
  void admit() {
    while (!free_.empty() && next_ < total()) {
      const int64_t prompt = next_ / options_.samples;
      if (prompt >= window_begin_ + window_filled_) prefill(prompt);
      const Active a{next_++, free_.back(), prompt_length(prompt)};
      free_.pop_back();
      const int64_t source = prompt - window_begin_, shared = Layout::shared(a.length);
      for (KvCache* cache : {&cache_, &draft_cache_}) {
        cache->copy_blocks(layout_.seat(seats_[static_cast<size_t>(prompt)]) + shared, layout_.place(a.place), 1);
      }
      start(a);
      const float* logits = prompt_logits_.const_data_ptr<float>() + source * prompt_logits_.size(1);
      if (take(a, logits, scratch_)) {
        retire(a);
      } else {
        active_.push_back(a);
        if (options_.speculate) fresh_.push_back(prompt_hidden_.narrow(0, source, 1));
      }
    }
  }

  int64_t prompt_length(int64_t prompt) const {
    return static_cast<int64_t>(prompts_[static_cast<size_t>(prompt)].token_ids.size());
  }

  // Every earlier prompt has been handed out, so the window can move on. There is a seat for each of its prompts, since
  // the completions in flight are of no more prompts than there are places.
  void prefill(int64_t first) {
    window_begin_ = first;
    window_filled_ = std::min(window_, static_cast<int64_t>(prompts_.size()) - first);
    std::vector<int64_t> ids, last;
    Rows rows;
    for (int64_t i = 0; i < window_filled_; ++i) {
      const auto& tokens = prompts_[static_cast<size_t>(first + i)].token_ids;
      seats_[static_cast<size_t>(first + i)] = free_seats_.back();
      rows.spans.push_back({rows.count(), static_cast<int64_t>(tokens.size()), 0, layout_.seat(free_seats_.back())});
      free_seats_.pop_back();
      for (size_t t = 0; t < tokens.size(); ++t) rows.positions.push_back(static_cast<int32_t>(t));
      ids.insert(ids.end(), tokens.begin(), tokens.end());
      last.push_back(rows.count() - 1);
    }
    const at::Tensor hidden = policy_.forward(id_tensor(ids), {.rows = rows, .cache = &cache_.layers()});
    prompt_hidden_ = hidden.index_select(0, id_tensor(last));
    prompt_logits_ = policy_.logits(prompt_hidden_);
    if (options_.speculate) prefill_drafts(hidden, rows, ids);
  }

  // The module's rows of a prompt: all but the last, whose next token is yet to be drawn.
  void prefill_drafts(const at::Tensor& hidden, const Rows& rows, const std::vector<int64_t>& ids) {
    Rows shorter;
    std::vector<int64_t> kept, next;
    for (const cpu::RowSpan& span : rows.spans) {
      shorter.spans.push_back({shorter.count(), span.count - 1, 0, span.first_block});
      for (int64_t t = 0; t + 1 < span.count; ++t) {
        shorter.positions.push_back(static_cast<int32_t>(t));
        kept.push_back(span.row + t);
        next.push_back(ids[static_cast<size_t>(span.row + t + 1)]);
      }
    }
    std::erase_if(shorter.spans, [](const cpu::RowSpan& span) { return span.count == 0; });
    if (kept.empty()) return;
    policy_.predict(hidden.index_select(0, id_tensor(kept)), id_tensor(next),
                    {.rows = shorter, .cache = &draft_cache_.layers()});
  }

  void start(const Active& a) {
    Rollout& r = rollouts_[static_cast<size_t>(a.rollout)];
    r.prompt_id = prompts_[static_cast<size_t>(a.rollout / options_.samples)].id;
    r.sample = static_cast<int32_t>(a.rollout % options_.samples);
    r.policy_version = options_.policy_version;
    if (!watches_.empty()) {
      watches_[static_cast<size_t>(a.place)] =
          std::make_unique<StopWatch>(StopWatch{StreamDecoder(tokenizer_), StopMatcher(options_.sampling.stop)});
    }
  }

  // One token for every completion in flight, or two where a draft is accepted.
  void advance() {
    Rows rows;
    std::vector<int64_t> ids;
    for (Active& a : active_) {
      const Draft& draft = drafts_[static_cast<size_t>(a.place)];
      a.row = rows.count();
      const int64_t count = draft.token < 0 ? 1 : 2;
      rows.spans.push_back(span(a, a.row, count, a.length));
      for (int64_t i = 0; i < count; ++i) rows.positions.push_back(static_cast<int32_t>(a.length + i));
      ids.push_back(rollouts_[static_cast<size_t>(a.rollout)].token_ids.back());
      if (count == 2) ids.push_back(draft.token);
    }
    hidden_ = policy_.forward(id_tensor(ids), {.rows = rows, .cache = &cache_.layers()});
    const at::Tensor logits = policy_.logits(hidden_);
    std::vector<char> ended(active_.size());
    const auto n = static_cast<int64_t>(active_.size());
    const int64_t step = std::clamp<int64_t>((1 << 15) / logits.size(1), 1, 16);  // a piece takes tens of microseconds
    kernel_pool().run((n + step - 1) / step, [&](int64_t piece) {
      std::vector<float> scratch;
      for (int64_t i = piece * step; i < std::min(n, (piece + 1) * step); ++i) {
        Active& a = active_[static_cast<size_t>(i)];
        ended[static_cast<size_t>(i)] =
            take_all(a, logits.const_data_ptr<float>() + a.row * logits.size(1), logits.size(1), scratch);
      }
    });
    size_t kept = 0;
    for (size_t i = 0; i < active_.size(); ++i) {
      if (ended[i]) retire(active_[i]);
      else active_[kept++] = active_[i];
    }
    active_.resize(kept);
  }

  // The tokens that a pass gives a completion; true when it ends with one of them.
  bool take_all(Active& a, const float* logits, int64_t vocabulary, std::vector<float>& scratch) {
    Draft& draft = drafts_[static_cast<size_t>(a.place)];
    const int32_t expected = std::exchange(draft.token, -1);
    a.rows = 1;
    ++a.length;
    if (expected < 0) return take(a, logits, scratch);
    const bool ended = take(a, logits, scratch, &expected);
    const bool is_accepted = rollouts_[static_cast<size_t>(a.rollout)].token_ids.back() == expected;
    if (options_.drafts) {
      ++options_.drafts->drafted;
      options_.drafts->accepted += is_accepted;
    }
    if (ended || !is_accepted) return ended;
    a.rows = 2;
    ++a.length;
    return take(a, logits + vocabulary, scratch);
  }

  // Draws a completion's next token, by way of the draft where there was one; true when it ends there.
  bool take(const Active& a, const float* logits, std::vector<float>& scratch, const int32_t* draft = nullptr) {
    Rollout& r = rollouts_[static_cast<size_t>(a.rollout)];
    const auto position = static_cast<uint32_t>(r.token_ids.size());
    const double u = random(a, options_.key.seed).uniform(position);
    const SamplingOptions& s = options_.sampling;
    const bool may_not_end = static_cast<int64_t>(position) + 1 < s.min_new_tokens;
    const int32_t forbidden = may_not_end ? ends_[0] : -1;
    const int64_t vocabulary = policy_.config().vocab_size;
    std::vector<float> penalised, unending;
    const auto& prompt_ids = prompts_[static_cast<size_t>(a.rollout / options_.samples)].token_ids;
    logits = with_repetition_penalty(logits, vocabulary, s.repetition_penalty, prompt_ids, r.token_ids, penalised);
    if (may_not_end && ends_.size() > 1) logits = without_further_ends(logits, vocabulary, unending);
    const TokenDistribution target(logits, vocabulary, s, forbidden, scratch);
    const int32_t token = draft ? verify_draft(target, drafts_[static_cast<size_t>(a.place)].probabilities, *draft,
                                               random(a, derive_seed(options_.key.seed, "accept")).uniform(position), u)
                                : target.draw(u);
    r.token_ids.push_back(token);
    r.logprobs.push_back(target.logprob(token));
    return ends(a, r);
  }

  // A row in which the end tokens behind the first have probability 0.
  const float* without_further_ends(const float* logits, int64_t vocabulary, std::vector<float>& scratch) const {
    constexpr float kNever = -1e30f;
    scratch.assign(logits, logits + vocabulary);
    for (size_t i = 1; i < ends_.size(); ++i) scratch[static_cast<size_t>(ends_[i])] = kNever;
    return scratch.data();
  }

  CounterRandom random(const Active& a, uint64_t seed) const {
    const int64_t prompt = first_prompt_ + a.rollout / options_.samples;
    const int64_t slot = options_.slots.empty() ? prompt : options_.slots[static_cast<size_t>(prompt)];
    return CounterRandom(seed, options_.key.purpose, options_.key.step, static_cast<uint64_t>(slot),
                         static_cast<uint32_t>(a.rollout % options_.samples));
  }

  // Drafts for every completion that has room for two more tokens: the module reads each position once, in order.
  void draft() {
    Rows rows;
    std::vector<int64_t> next, sources, last;
    const int64_t num_advanced = std::ssize(active_) - std::ssize(fresh_),
                  num_hidden = num_advanced ? hidden_.size(0) : 0;
    for (int64_t i = 0; i < std::ssize(active_); ++i) {
      const Active& a = active_[static_cast<size_t>(i)];
      const std::vector<int32_t>& ids = rollouts_[static_cast<size_t>(a.rollout)].token_ids;
      const bool is_fresh = i >= num_advanced;
      const int64_t count = is_fresh ? 1 : a.rows;
      rows.spans.push_back(span(a, rows.count(), count, a.length - count));
      for (int64_t t = 0; t < count; ++t) {
        rows.positions.push_back(static_cast<int32_t>(a.length - count + t));
        next.push_back(ids[ids.size() - static_cast<size_t>(count - t)]);
        sources.push_back(is_fresh ? num_hidden + i - num_advanced : a.row + t);
      }
      last.push_back(rows.count() - 1);
    }
    std::vector<at::Tensor> hidden = std::exchange(fresh_, {});
    if (num_advanced) hidden.insert(hidden.begin(), hidden_);
    const at::Tensor predicted = policy_.predict(at::cat(hidden).index_select(0, id_tensor(sources)), id_tensor(next),
                                                 {.rows = rows, .cache = &draft_cache_.layers()});
    const at::Tensor logits = policy_.logits(predicted.index_select(0, id_tensor(last)));
    for (size_t i = 0; i < active_.size(); ++i) {
      draw_draft(active_[i], logits.const_data_ptr<float>() + static_cast<int64_t>(i) * logits.size(1));
    }
  }

  void draw_draft(const Active& a, const float* logits) {
    const auto position = static_cast<uint32_t>(rollouts_[static_cast<size_t>(a.rollout)].token_ids.size());
    if (static_cast<int64_t>(position) + 2 > options_.sampling.max_new_tokens) return;
    Draft& draft = drafts_[static_cast<size_t>(a.place)];
    const TokenDistribution source(logits, policy_.config().vocab_size, options_.sampling, -1, scratch_);
    draft.token = source.draw(random(a, derive_seed(options_.key.seed, "draft")).uniform(position));
    draft.probabilities.resize(static_cast<size_t>(source.vocabulary()));
    for (int64_t t = 0; t < source.vocabulary(); ++t) {
      draft.probabilities[static_cast<size_t>(t)] = source.probability(static_cast<int32_t>(t));
    }
  }

  // Whether the completion ends with its newest token, and why.
  bool ends(const Active& a, Rollout& r) {
    const bool end = std::find(ends_.begin(), ends_.end(), r.token_ids.back()) != ends_.end();
    const bool full = static_cast<int64_t>(r.token_ids.size()) >= options_.sampling.max_new_tokens;
    r.finish_reason = end ? FinishReason::kEos : FinishReason::kLength;
    if (watches_.empty()) return end || full;
    StopWatch& watch = *watches_[static_cast<size_t>(a.place)];
    const bool is_text = !end && r.token_ids.back() < tokenizer_.vocab_size();
    bool stop = is_text && watch.push(r.token_ids.back());
    if (!stop && (end || full)) stop = watch.finish();
    if (stop && !end) r.finish_reason = FinishReason::kStop;
    return end || full || stop;
  }

  // A completion has ended; the last one of a prompt completes its group.
  void retire(const Active& a) {
    free_.push_back(a.place);
    drafts_[static_cast<size_t>(a.place)].token = -1;
    Rollout& r = rollouts_[static_cast<size_t>(a.rollout)];
    r.text = watches_.empty() ? text_of(r, tokenizer_) : watches_[static_cast<size_t>(a.place)]->matcher.text();
    const int64_t prompt = a.rollout / options_.samples;
    if (--running_[static_cast<size_t>(prompt)] > 0) return;
    free_seats_.push_back(seats_[static_cast<size_t>(prompt)]);
    if (options_.on_group)
      options_.on_group(first_prompt_ + prompt,
                        std::span(rollouts_).subspan(static_cast<size_t>(prompt * options_.samples),
                                                     static_cast<size_t>(options_.samples)));
  }

  const Policy& policy_;
  const Tokenizer& tokenizer_;
  std::span<const Prompt> prompts_;
  int64_t first_prompt_;  // of all prompts of the call
  const GenerateOptions& options_;
  std::vector<int32_t> ends_;
  int64_t places_, window_;
  Layout layout_;
  KvCache cache_, draft_cache_;               // the latter of the module that drafts; without layers when there is none
  at::Tensor prompt_logits_, prompt_hidden_;  // (window, V), (window, C)
  std::vector<Draft> drafts_;                 // (places)
  at::Tensor hidden_;                         // of the last pass (rows, C)
  std::vector<at::Tensor> fresh_;             // (1, C) of the completions admitted since, the last of active_
  std::vector<Rollout> rollouts_;
  std::vector<int64_t> running_;  // (P) completions of a prompt that have not ended
  std::vector<int64_t> seats_;    // (P) of prompts with completions in flight or to come
  std::vector<Active> active_;
  std::vector<int64_t> free_, free_seats_;
  std::vector<std::unique_ptr<StopWatch>> watches_;  // (places) empty when there are no stop strings
  std::vector<float> scratch_;
  int64_t next_ = 0, window_begin_ = 0, window_filled_ = 0;
};

void check(const Policy& policy, std::span<const Prompt> prompts, const GenerateOptions& options) {
  const SamplingOptions& sampling = options.sampling;
  if (options.speculate && !policy.predictor()) {
    throw std::invalid_argument(
        "speculative decoding needs a multi-token-prediction module, and the model has none "
        "(num_nextn_predict_layers)");
  }
  const int64_t limit = policy.config().max_position_embeddings;
  for (const Prompt& p : prompts) {
    if (p.token_ids.empty())
      throw std::invalid_argument(fmt::format("prompt {} has no tokens; remove it or give it text", p.id));
    if (static_cast<int64_t>(p.token_ids.size()) + sampling.max_new_tokens > limit) {
      throw std::invalid_argument(
          fmt::format("prompt {} has {} tokens and may get {} more, but max_position_embeddings is {}; shorten the "
                      "prompt or lower the "
                      "completion length",
                      p.id, p.token_ids.size(), sampling.max_new_tokens, limit));
    }
    for (const int32_t id : p.token_ids) {
      if (id < 0 || id >= policy.config().vocab_size) {
        throw std::invalid_argument(
            fmt::format("prompt {} holds token id {}, outside the vocabulary of {}; was it made with "
                        "another tokenizer?",
                        p.id, id, policy.config().vocab_size));
      }
    }
  }
}

// Of one stream. The weights of a large policy are read from memory once a step, whatever the batch. Those of a small
// one are in the caches, which the keys and values of the completions in flight should not leave either: 32 of them
// with 1 MB each made a whole rollout 1.5 times as slow as 8 did (Zen 4).
int64_t completions_in_flight(const Policy& policy, int64_t longest, const GenerateOptions& options) {
  constexpr int64_t kCacheBytes = 8 << 20;
  if (options.max_batch > 0) return options.max_batch;
  if (!policy.fits_a_core()) return 128;
  return std::clamp<int64_t>(kCacheBytes / (cache_bytes_per_token(policy.attention_shapes()) * longest), 8, 32);
}

// Prompts of one stream: all of them for a large policy, else enough parts to keep every thread busy to the end.
int64_t prompts_per_stream(const Policy& policy, int64_t prompts, int64_t in_flight, const GenerateOptions& options) {
  constexpr int64_t kStreamsPerThread = 4;
  if (!policy.fits_a_core()) return prompts;
  const int64_t parts = kStreamsPerThread * kernel_pool().threads(),
                full = (in_flight + options.samples - 1) / options.samples;
  return std::min(prompts, std::max(full, (prompts + parts - 1) / parts));
}

}  // namespace

std::vector<int32_t> end_tokens(const ModelConfig& config) {
  if (config.eos_token_id.empty()) {
    throw std::runtime_error("the model names no eos_token_id; add it to its config.json");
  }
  return {config.eos_token_id.begin(), config.eos_token_id.end()};
}

std::vector<Rollout> generate(const Policy& policy, const Tokenizer& tokenizer, std::span<const Prompt> prompts,
                              const GenerateOptions& options) {
  if (prompts.empty()) return {};
  check(policy, prompts, options);
  const int64_t longest = longest_prompt(prompts) + options.sampling.max_new_tokens;
  const int64_t in_flight = completions_in_flight(policy, longest, options);
  const auto count = static_cast<int64_t>(prompts.size()), step = prompts_per_stream(policy, count, in_flight, options);
  policy.prepare(longest);
  std::vector<Rollout> rollouts(static_cast<size_t>(count * options.samples));
  kernel_pool().run((count + step - 1) / step, [&](int64_t i) {
    const int64_t first = i * step, size = std::min(step, count - first);
    std::vector<Rollout> part =
        Generation(policy, tokenizer, prompts.subspan(static_cast<size_t>(first), static_cast<size_t>(size)), first,
                   in_flight, options)
            .run();
    std::move(part.begin(), part.end(), rollouts.begin() + first * options.samples);
  });
  return rollouts;
}

}  // namespace hone
