#include "cli/command_line.h"

#include <malloc.h>

#include <functional>
#include <iostream>
#include <memory>
#include <new>
#include <stdexcept>
#include <thread>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>

#include "cli/convert.h"
#include "cli/input.h"
#include "cli/sandbox.h"
#include "cli/verbs.h"
#include "models/kernels/cpu.h"
#include "models/kernels/thread_pool.h"
#include "rl/suggest.h"

namespace hone {

// Our kernels have a pool of their own; ATen's OpenMP threads would only spin beside it. Denormals are flushed to zero
// in this thread and those it starts: AdamW leaves a few in the output weights of tokens that are never drawn, and each
// costs a product 150 cycles (a third of a GRPO step).
void use(const ComputeArgs& compute) {
  mallopt(M_MMAP_THRESHOLD,
          32 << 20);  // tensors take memory that was used before, not pages that must first be cleared
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  at::globalContext().setFlushDenormal(true);
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  set_kernel_threads(compute.threads > 0 ? compute.threads : cores);
  at::set_num_threads(1);
  if (!compute.instruction_set.empty() && !cpu::use_instruction_set(compute.instruction_set)) {
    throw std::invalid_argument("--instruction-set " + compute.instruction_set +
                                ": this processor lacks it; its best is " + std::string(cpu::instruction_set()));
  }
}

namespace {

constexpr double kMost = 9e15;  // largest integer option
const CLI::Range kCount(0.0, kMost, "COUNT"), kAtLeastOne(1.0, kMost, "AT LEAST 1");

/// The command line of one verb: its flags write into `args`.
template <class Args>
struct Verb {
  CLI::App* app;
  std::shared_ptr<Args> args = std::make_shared<Args>();

  void example(const std::string& line) const { app->footer("Example:\n  " + line); }
  void model() const {
    app->add_option("--model", args->model, "Hugging Face model folder, or a stage of a run")->required();
  }
  void compute() const {
    app->add_option("--threads", args->compute.threads, "threads (default: all cores); they change no result")
        ->check(CLI::Range(0, 4096));
    app->add_option("--instruction-set", args->compute.instruction_set,
                    "avx512bf16, avx512, avx2 or generic (default: the best that is there); it changes no result")
        ->check(CLI::IsMember({"avx512bf16", "avx512", "avx2", "generic"}));
  }
};

class CommandLine {
 public:
  explicit CommandLine(const Host& host) : host_(host) {
    app_.require_subcommand(1);
    app_.footer("`hone VERB --help` shows the flags of a verb, with an example.");
    app_.set_version_flag("--version", "hone " HONE_VERSION, "the version; `hone version` says more");
    add_train();
    add_eval();
    add_generate();
    add_logprobs();
    add_tokenize();
    add_chat_template();
    add_import();
    add_export();
    add_sandbox();
    add_inspect();
    add_report();
    add_replay();
    add_score();
    add_version();
  }

  /// Parses, then runs the verb.
  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() == 0) return app_.exit(error);  // --help
      refuse_command_line(one_line(error));
    }
    return run_();
  }

 private:
  /// CLI11 complains of what is missing before what is unknown; a misspelt word is both, and worth naming.
  [[noreturn]] void refuse_command_line(const std::string& complaint) const {
    const auto verbs = app_.get_subcommands();
    const CLI::App& app = verbs.empty() ? app_ : *verbs[0];
    const std::string help = verbs.empty() ? "hone --help" : "hone " + app.get_name() + " --help";
    const auto unknown = app_.remaining(/*recurse=*/true);
    const std::string what = unknown.empty() ? complaint : "unknown: '" + unknown[0] + "'; " + hint(app, unknown[0]);
    throw std::invalid_argument(what + "; see `" + help + "`");
  }

  static std::string hint(const CLI::App& app, const std::string& word) {
    std::vector<std::string> known;
    for (const CLI::App* verb : app.get_subcommands({})) known.push_back(verb->get_name());
    if (known.empty() || word.starts_with("-")) {
      for (const CLI::Option* option : app.get_options()) known.push_back(option->get_name());
    }
    return did_you_mean(word, known);
  }

  template <class Args>
  Verb<Args> add(const std::string& name, const std::string& help, int (*function)(const Args&)) {
    return add<Args>(name, help, std::function<int(const Args&)>(function));
  }
  template <class Args>
  Verb<Args> add(const std::string& name, const std::string& help, int (*function)(const Args&, const Host&)) {
    return add<Args>(name, help, [this, function](const Args& args) { return function(args, host_); });
  }
  template <class Args>
  Verb<Args> add(const std::string& name, const std::string& help, std::function<int(const Args&)> function) {
    Verb<Args> verb{app_.add_subcommand(name, help)};
    verb.app->callback([this, function, args = verb.args] {
      run_ = [function, args] {
        if constexpr (requires { args->compute; }) use(args->compute);
        else use({.threads = 1});
        return function(*args);
      };
    });
    return verb;
  }

  static void add_sampling(CLI::App* app, SamplingArgs& s) {
    app->add_option("--temperature", s.temperature,
                    "logits are divided by it (default: generation_config.json, else 1)")
        ->check(CLI::Range(0.0, 1e6));
    app->add_option("--top-k", s.top_k, "keep the k most likely tokens; 0: off")->check(kCount);
    app->add_option("--top-p", s.top_p, "keep the smallest set of tokens whose probability reaches p; 1: off")
        ->check(CLI::Range(1e-6, 1.0));
    app->add_option("--min-p", s.min_p, "keep the tokens with this share of the largest probability; 0: off")
        ->check(CLI::Range(0.0, 1.0));
    app->add_option("--repetition-penalty", s.repetition_penalty,
                    "divides positive and multiplies negative logits of tokens that are there already; 1: off")
        ->check(CLI::Range(1e-3, 1e3));
    app->add_option("--stop", s.stop, "a text that ends a completion and is left out of it; may be repeated")
        ->allow_extra_args(false);
    app->add_option("--max-new-tokens", s.max_new_tokens, "longest completion (default: 256, or what fits)")
        ->check(kAtLeastOne);
    app->add_option("--min-new-tokens", s.min_new_tokens, "the end token is not drawn before this length")
        ->check(kCount);
    app->add_option("--seed", s.seed, "of every random draw (default: 1)")->check(CLI::NonNegativeNumber);
    app->add_flag("--greedy", s.greedy, "take the most likely token each time")->excludes("--temperature");
  }

  void add_train() {
    const auto verb = add("train", "run the stages of a recipe", train);
    auto& a = *verb.args;
    verb.app->add_option("recipe", a.recipe, "recipe file (YAML)")->required();
    verb.app->add_option("--set", a.set, "override an option: stage.key=value")->allow_extra_args(false);
    verb.app->add_flag("--quick", a.quick, "the recipe's small scale, of minutes (its key `quick`)");
    verb.app->add_option("--run-dir", a.run_dir, "where the run lives (default: runs/NAME)");
    verb.app->add_flag("--resume", a.resume, "go on with the run in the run directory, or start it");
    verb.app->add_option("--from", a.from, "run this stage and all after it again");
    verb.app->add_option("--until", a.until, "the last stage to run");
    auto* dry_run = verb.app->add_flag(
        "--dry-run", a.dry_run,
        "check the recipe, print it with every default and the plan with estimated times; touch nothing");
    verb.app
        ->add_flag("--allow-missing", a.allow_missing, "with --dry-run: list models and files that are not there yet")
        ->needs(dry_run);
    verb.compute();
    verb.example("hone train recipes/r1_zero_countdown.yaml --set rl.max_steps=8 --run-dir runs/quick");
  }

  void add_eval() {
    const auto verb = add("eval", "sample completions of a data set and score them", eval);
    auto& a = *verb.args;
    verb.model();
    verb.app->add_option("--data", a.data, "JSONL rows with a prompt and the reward's columns")->required();
    verb.app->add_option("--reward", a.reward, "the reward that decides what is correct")->required();
    verb.app->add_option("--k", a.k, "completions of a row (default: 8)")->check(kAtLeastOne);
    verb.app->add_option("--limit", a.limit, "rows to use; 0: all")->check(kCount);
    add_sampling(verb.app, a.sampling);
    verb.app->add_option("--task", a.task, "the task whose diagnosis is wanted as well, e.g. countdown");
    verb.app->add_option("--save", a.save, "write every completion with its score to this JSONL file");
    verb.app->add_flag("--json", a.json, "print the metrics as one JSON object");
    verb.compute();
    verb.example(
        "hone eval --model runs/r1_zero_countdown/stages/rl --reward countdown --task countdown \\\n"
        "      --data runs/r1_zero_countdown/stages/base/data/heldout.jsonl --limit 100");
  }

  void add_generate() {
    const auto verb = add("generate", "sample completions of a prompt or of a file of prompts", generate);
    auto& a = *verb.args;
    verb.model();
    auto* data = verb.app->add_option("--data", a.data, "JSONL rows with a prompt");
    verb.app->add_option("--prompt", a.prompt, "one prompt")->excludes(data);
    verb.app->add_option("--n", a.n, "completions of a prompt (default: 1)")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
    add_sampling(verb.app, a.sampling);
    verb.app->add_option("--dtype", a.dtype, "float32 or bfloat16")->check(CLI::IsMember({"float32", "bfloat16"}));
    verb.app->add_flag("--chat", a.chat,
                       "the prompt is a question: apply the model's chat template; rows may hold \"messages\"");
    verb.app->add_flag("--speculate", a.speculate,
                       "let the model's multi-token-prediction module draft; says on standard error how far it got");
    verb.app->add_flag("--jsonl", a.jsonl, "print rows with token ids and log-probs instead of text");
    verb.compute();
    verb.example("hone generate --model runs/r1_zero_countdown/stages/rl --prompt $'7 3 12:33\\n' --n 4 --seed 2");
  }

  void add_logprobs() {
    const auto verb = add("logprobs", "log-probs (and logits) of given tokens", logprobs);
    auto& a = *verb.args;
    verb.model();
    verb.app->add_option("--data", a.data, "JSONL rows {\"token_ids\": [..]}; -: standard input")->required();
    auto* logits = verb.app->add_flag("--logits", a.logits, "add a row of logits for every token");
    verb.app->add_flag("--last", a.last, "with --logits: only the last token's")->needs(logits);
    verb.app->add_flag("--experts", a.experts, "add each mixture-of-experts layer's list of every token's experts");
    verb.app
        ->add_option("--dtype", a.dtype, "float64: plain operations in double precision, slow, logits with 17 digits")
        ->check(CLI::IsMember({"float32", "float64"}))
        ->capture_default_str();
    verb.compute();
    verb.example(
        "echo '{\"token_ids\": [17, 5, 9]}' | hone logprobs --model runs/r1_zero_countdown/stages/rl --data -");
  }

  void add_tokenize() {
    const auto verb = add("tokenize", "JSONL {\"text\"} on standard input to {\"token_ids\"}, or back", tokenize);
    auto& a = *verb.args;
    verb.model();
    verb.app->add_flag("--decode", a.decode, "{\"token_ids\"} to {\"text\"}, special tokens kept");
    verb.app->add_flag("--no-special", a.no_special, "leave out the tokens that the post-processor adds");
    verb.example("echo '{\"text\": \"7 3 12:33\\n\"}' | hone tokenize --model runs/r1_zero_countdown/stages/rl");
  }

  void add_chat_template() {
    const auto verb =
        add("chat-template", "JSONL {\"messages\"} on standard input to the {\"text\"} a model reads", chat_template);
    verb.model();
    verb.example(
        "echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"add_generation_prompt\": true}' \\\n"
        "      | hone chat-template --model DIR");
  }

  void add_import() {
    const auto verb = add("import", "a GGUF file as a Hugging Face folder", import_model);
    auto& a = *verb.args;
    verb.app->add_option("--gguf", a.gguf, "GGUF file")->required();
    verb.app->add_option("--out", a.out, "the folder to make; it must not exist or be empty")->required();
    verb.app->add_option("--dtype", a.dtype, "float32 (default), bfloat16 or float16")
        ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
    verb.example("hone import --gguf SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2");
  }

  void add_export() {
    const auto verb = add("export", "a model folder as a GGUF file, or as a folder of another dtype", export_model);
    auto& a = *verb.args;
    verb.model();
    verb.app->add_option("--out", a.out, "file (gguf) or folder (hf) to make")->required();
    verb.app->add_option("--format", a.format, "gguf (default) or hf")->check(CLI::IsMember({"gguf", "hf"}));
    verb.app->add_option("--type", a.type, "f32, f16, bf16; gguf also q8_0, q4_0, q4_k_m (default: f16, hf f32)");
    verb.example("hone export --model models/smollm2 --format gguf --type q8_0 --out smollm2.gguf");
  }

  void add_sandbox() {
    const auto verb = add("sandbox", "run untrusted programs in jails: rows in, verdicts out", sandbox_verb);
    auto& a = *verb.args;
    verb.app->add_option("--cases", a.cases, "JSONL rows {\"id\", \"program\", ..}; -: standard input (default)");
    verb.app->add_option("--jobs", a.jobs, "programs at the same time (default: one a core)")->check(kAtLeastOne);
    verb.app->add_flag("--capabilities", a.capabilities, "print every isolation layer, whether it works here and why");
    verb.app->add_option("--require", a.require, "layers without which nothing runs")->delimiter(',');
    verb.example("echo '{\"id\": 1, \"program\": \"print(6*7)\"}' | hone sandbox");
  }

  void add_inspect() {
    const auto verb = add("inspect", "look into a run or a model", inspect);
    auto& a = *verb.args;
    auto* path = verb.app->add_option("path", a.path, "run directory or model folder");
    auto* sql = verb.app->add_option("--sql", a.sql, "one SELECT over the run's prompts, rollouts, rewards and steps");
    verb.app->add_option("--model", a.model, "model folder: parameters, active ones, cache bytes a token")
        ->excludes(path)
        ->excludes(sql);
    verb.app
        ->add_option("--lineage", a.lineage,
                     "a stage: what led to it, down to the rollouts that taught it; a rollout's id: what it taught")
        ->excludes(sql);
    verb.app
        ->add_flag("--aha", a.aha,
                   "how often, over the steps, a re-check changed a wrong answer into a right one, and the first "
                   "rollouts in which it did")
        ->excludes(sql);
    verb.app->add_flag("--json", a.json, "print JSON (with --sql: a list of rows)");
    verb.example(
        "hone inspect runs/r1_zero_countdown --sql \"SELECT step, value FROM steps WHERE stage='rl' AND "
        "name='reward'\"");
  }

  void add_report() {
    const auto verb = add("report", "write a run's page, or one curve of it", report);
    auto& a = *verb.args;
    verb.app->add_option("run", a.run, "run directory")->required();
    verb.app->add_option("-o,--out", a.out, "where the page goes (default: RUN/report.html)");
    auto* svg = verb.app->add_option(
        "--svg", a.svg,
        "write a figure of all evaluations, or of --stage's curve, to this file (the page only with -o)");
    verb.app->add_option("--stage", a.stage, "the stage of --svg")->needs(svg);
    verb.app->add_flag("--table", a.table,
                       "print the evaluations as a Markdown table (and write the page only with -o)");
    verb.example("hone report runs/r1_zero_countdown --svg curve.svg --stage rl");
  }

  void add_replay() {
    const auto verb = add("replay", "compute a stored step again, as it was or under another reward or loss", replay);
    auto& a = *verb.args;
    verb.app->add_option("run", a.run, "run directory")->required();
    verb.app->add_option("--step", a.step, "the optimizer step")->required()->check(kAtLeastOne);
    verb.app->add_option("--stage", a.stage, "its stage (default: the only one of kind rl)");
    verb.app
        ->add_option("--reward", a.reward,
                     "score the stored rollouts with this reward instead; may be repeated (reward_weights stay where "
                     "their number fits, else all are 1)")
        ->allow_extra_args(false);
    verb.app->add_option("--set", a.set, "override an option of the loss or the advantages: stage.key=value")
        ->allow_extra_args(false);
    verb.app->add_flag("--json", a.json, "print one JSON object");
    verb.compute();
    verb.example("hone replay runs/r1_zero_countdown --step 12 --set rl.loss_type=grpo");
  }

  void add_score() {
    const auto verb = add("score", "score rows of completions", score);
    auto& a = *verb.args;
    verb.app->add_option("--reward", a.reward, "name of the reward")->required();
    verb.app->add_option("--cases", a.cases,
                         "JSONL rows {\"id\", \"completion\", ..columns}; -: standard input (default)");
    verb.app->add_flag("--explain", a.explain, "math: say what was extracted and how it compared");
    verb.compute();
    verb.example(
        "echo '{\"id\": 1, \"completion\": \"<think></think><answer>7*3+12</answer>\", \"numbers\": [7, 3, 12], "
        "\"target\": 33}' \\\n      | hone score --reward countdown");
  }

  void add_version() {
    const auto verb = add("version", "version, torch, compiler, processor, CUDA", version);
    verb.app->add_flag("--json", verb.args->json, "print one JSON object");
    verb.example("hone version --json");
  }

  CLI::App app_{"hone: reinforcement-learning post-training of language models (R1-Zero, R1), in one binary", "hone"};
  const Host& host_;
  std::function<int()> run_;
};

int refuse(int status, const std::string& sentence) {
  std::cout.flush();
  std::cerr << "hone: " << sentence << '\n';
  return status;
}

}  // namespace

int run_command_line(int argc, char** argv, const Host& host) {
  try {
    const int status = CommandLine(host).run(argc, argv);
    if (std::cout.flush()) return status;
    return refuse(1, "standard output could not be written; is the disk full?");
  } catch (const std::invalid_argument& error) {
    return refuse(2, one_line(error));
  } catch (const std::bad_alloc&) {
    return refuse(1, "not enough memory; use a smaller batch, length or model");
  } catch (const std::exception& error) {
    return refuse(1, one_line(error));
  }
}

}  // namespace hone
