// rl/checkpoint.h (Model), models/policy.h, rollout/engine.h, rl/sft.h (load_documents)
#include "rl/checkpoint.h"

#include <ATen/ops/empty.h>

#include "python/options.h"
#include "rl/prompts.h"
#include "rl/sft.h"
#include "rollout/engine.h"

namespace hone::python {
namespace {

using Tokens = std::vector<int64_t>;

at::Tensor tensor_of(const Tokens& values, size_t begin, size_t end) {
  at::Tensor t = at::empty({static_cast<int64_t>(end - begin)}, at::kLong);
  std::copy(values.begin() + static_cast<int64_t>(begin), values.begin() + static_cast<int64_t>(end),
            t.mutable_data_ptr<int64_t>());
  return t;
}

const Policy& policy_of(const Model& model) {
  if (!model.policy) throw std::invalid_argument("the model is closed; load it again with hone.Model.load(path)");
  return *model.policy;
}

void check_tokens(const Tokens& ids, const ModelConfig& config) {
  if (ids.size() < 2)
    throw std::invalid_argument(fmt::format("token_ids has {} tokens; a log-prob needs at least 2", ids.size()));
  for (const int64_t id : ids) {
    if (id < 0 || id >= config.vocab_size)
      throw std::invalid_argument(
          fmt::format("token_ids holds {}, outside the vocabulary of {}; was it made with another tokenizer?", id,
                      config.vocab_size));
  }
  if (static_cast<int64_t>(ids.size()) > config.max_position_embeddings)
    throw std::invalid_argument(fmt::format("token_ids has {} tokens, more than max_position_embeddings {}; shorten it",
                                            ids.size(), config.max_position_embeddings));
}

TokenLogprobs evaluate(const Model& model, const Tokens& ids, double temperature) {
  const Policy& policy = policy_of(model);
  check_tokens(ids, policy.config());
  if (!(temperature > 0))
    throw std::invalid_argument(fmt::format("temperature is {}, allowed is a number above 0", temperature));
  const Tokens lengths{static_cast<int64_t>(ids.size()) - 1};
  const Rows rows = pack_rows(lengths);
  const at::Tensor hidden = policy.forward(tensor_of(ids, 0, ids.size() - 1), {.rows = rows});
  return ops::token_logprobs(hidden, policy.head(), tensor_of(ids, 1, ids.size()), {}, 1 / temperature);
}

Tokens ids_of(const py::object& token_ids) {
  const py::object list = py::hasattr(token_ids, "tolist") ? token_ids.attr("tolist")() : token_ids;
  try {
    return list.cast<Tokens>();
  } catch (const py::cast_error&) {
    throw py::type_error(fmt::format("token_ids is {}; give a list (or a one-dimensional tensor) of whole numbers",
                                     py::repr(py::type::of(token_ids)).cast<std::string>()));
  }
}

Prompt prompt_of(const PromptEncoder& encoder, const py::handle& value, int64_t index) {
  EncodedPrompt encoded;
  if (py::isinstance<Prompt>(value)) return value.cast<Prompt>();
  if (py::isinstance<py::str>(value)) encoded = encoder.text(value.cast<std::string>());
  else if (py::isinstance<py::list>(value) && !encoder.chat)
    throw std::invalid_argument(fmt::format(
        "prompts[{}] is a list of chat messages, and the model has no chat template; give a string", index));
  else if (py::isinstance<py::list>(value)) encoded = encoder.chat(to_json(value));
  else
    throw py::type_error(fmt::format("prompts[{}] is {}; give a string, a list of chat messages or a hone.Prompt",
                                     index, py::repr(value).cast<std::string>()));
  return {.id = index, .text = std::move(encoded.text), .token_ids = std::move(encoded.token_ids)};
}

std::vector<std::vector<Rollout>> generate_all(const Model& model, const py::list& prompts, int64_t n, uint64_t seed,
                                               bool speculate, const py::kwargs& options) {
  const Policy& policy = policy_of(model);
  if (n < 1) throw std::invalid_argument(fmt::format("n is {}, allowed is a whole number of at least 1", n));
  const PromptEncoder encoder = prompt_encoder(model);
  std::vector<Prompt> own;
  for (const auto& value : prompts) own.push_back(prompt_of(encoder, value, static_cast<int64_t>(own.size())));
  const SamplingOptions sampling = read_keywords<SamplingConfig>(options, "generate");
  const py::gil_scoped_release release;
  const auto rollouts =
      generate(policy, model.tokenizer, own,
               {.sampling = sampling, .samples = n, .key = {seed, Purpose::kGenerate, 0}, .speculate = speculate});
  std::vector<std::vector<Rollout>> groups;
  for (size_t p = 0; p < own.size(); ++p)
    groups.emplace_back(rollouts.begin() + static_cast<int64_t>(p) * n,
                        rollouts.begin() + static_cast<int64_t>(p + 1) * n);
  return groups;
}

std::map<std::string, at::Tensor> parameters_of(const Model& model) {
  std::map<std::string, at::Tensor> out;
  for (const Parameter& p : policy_of(model).parameters().all()) {
    for (size_t e = 0; e < p.names.size(); ++e)
      out.emplace(p.names[e], p.tensor.dim() < 3 ? p.tensor : p.tensor.select(0, static_cast<int64_t>(e)));
  }
  return out;
}

std::string chat_text(const Model& model, const py::list& messages, bool add_generation_prompt) {
  if (!model.chat) throw std::invalid_argument("the model has no chat template; give it one (chat_template.jinja)");
  return model.chat
      ->apply({.messages = nlohmann::ordered_json::parse(to_json(messages)),
               .add_generation_prompt = add_generation_prompt,
               .now = fixed_date()})
      .text;
}

std::vector<std::pair<std::vector<int32_t>, int64_t>> documents_of(const Model& model,
                                                                   const std::filesystem::path& file,
                                                                   const py::kwargs& options) {
  policy_of(model);
  const auto config = read_keywords<SftConfig>(options, "documents");
  const py::gil_scoped_release release;
  std::vector<std::pair<std::vector<int32_t>, int64_t>> out;
  for (TokenDocument& d : load_documents(file, model, config)) out.emplace_back(std::move(d.tokens), d.loss_from);
  return out;
}

}  // namespace

void bind_model(py::module_& m) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  py::class_<Model, std::shared_ptr<Model>>(
      m, "Model", "A policy with its tokenizer and chat template. One call at a time computes; see hone.set_threads.")
      .def_static(
          "load",
          [](const std::filesystem::path& path, const std::string& dtype) {
            if (dtype != "float32" && dtype != "bfloat16")
              throw std::invalid_argument(fmt::format("dtype is '{}', allowed is one of float32, bfloat16", dtype));
            return std::make_shared<Model>(load_model(path, {.bfloat16 = dtype == "bfloat16"}));
          },
          py::arg("path"), py::arg("dtype") = "float32",
          "Reads a Hugging Face model folder, or a stage of a run. Raises RuntimeError naming file and remedy.",
          release)
      .def(
          "save",
          [](const Model& model, const std::filesystem::path& path) { policy_of(model), save_model(model, path); },
          py::arg("path"), "Writes a folder that transformers loads, whole or not at all.", release)
      .def(
          "close", [](Model& model) { model.policy.reset(); }, "Frees the weights; later calls raise ValueError.")
      .def("parameters", parameters_of,
           "Name in the checkpoint -> tensor float32. The tensors are the policy's own: what is written into them "
           "(under\n"
           "torch.no_grad()) is what it computes with, and .grad is where backward() leaves its gradient. An expert's\n"
           "weight is a slice of a stacked tensor: its gradient is in the whole (see requires_grad_).")
      .def(
          "requires_grad_", [](Model& model, bool value) { policy_of(model), model.policy->set_requires_grad(value); },
          py::arg("requires_grad") = true, "Whether logprobs() records for backward().")
      .def_property_readonly(
          "config", [](const Model& model) { return from_json(to_json(policy_of(model).config()).dump()); },
          "config.json as a dict")
      .def(
          "logprobs",
          [](const Model& model, const py::object& token_ids, double temperature) {
            const Tokens ids = ids_of(token_ids);
            const py::gil_scoped_release no_gil;
            return evaluate(model, ids, temperature).logprobs;
          },
          py::arg("token_ids"), py::arg("temperature") = 1.0,
          "log p of token t+1 given the tokens up to t, of n token ids: (n-1) float32, with gradient to the "
          "parameters\n"
          "when they require it. Raises ValueError for ids outside the vocabulary.")
      .def(
          "entropy",
          [](const Model& model, const py::object& token_ids, double temperature) {
            const Tokens ids = ids_of(token_ids);
            const py::gil_scoped_release no_gil;
            return evaluate(model, ids, temperature).entropy;
          },
          py::arg("token_ids"), py::arg("temperature") = 1.0,
          "Entropy in nats of the distribution of token t+1, (n-1) float32, without gradient.")
      .def("generate", generate_all, py::arg("prompts"), py::arg("n") = GenerateOptions{}.samples, py::arg("seed") = 1,
           py::arg("speculate") = GenerateOptions{}.speculate,
           "n completions of every prompt (strings, lists of chat messages, or hone.Prompt): a list of n Rollouts "
           "each.\n"
           "Keywords are the sampling options (temperature, top_p, max_completion_length, ..; hone.GRPOConfig "
           "documents\n"
           "them). The same seed gives the same completions, whatever their neighbours. Raises ValueError.")
      .def(
          "encode",
          [](const Model& model, const std::string& text, bool special) {
            return model.tokenizer.encode(text, special);
          },
          py::arg("text"), py::arg("add_special_tokens") = true, "Token ids of a text.")
      .def(
          "decode", [](const Model& model, const std::vector<int32_t>& ids) { return model.tokenizer.decode(ids); },
          py::arg("token_ids"), "The text of token ids, special tokens kept.")
      .def("apply_chat_template", chat_text, py::arg("messages"), py::arg("add_generation_prompt") = false,
           "The text that the model's chat template makes of messages.")
      .def(
          "documents", documents_of, py::arg("file"),
          "The rows of a JSONL file as an sft stage reads them: a list of (token ids, index of the first that carries\n"
          "loss). Keywords are the stage's options (completion_only_loss, max_length, ..). Raises RuntimeError naming\n"
          "file and line.")
      .def_property_readonly(
          "end_token", [](const Model& model) { return end_tokens(policy_of(model).config())[0]; },
          "id of the end token")
      .def("__repr__", [](const Model& model) {
        if (!model.policy) return std::string("Model(closed)");
        return fmt::format("Model({}, vocabulary {})", model_type(model.policy->config().architecture),
                           model.policy->config().vocab_size);
      });
}

}  // namespace hone::python
