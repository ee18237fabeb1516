#include "rollout/generation_config.h"

#include <stdexcept>

#include <gtest/gtest.h>

namespace hone {
namespace {

GenerationConfig parse(const char* json) { return parse_generation_config(json, "m/generation_config.json"); }

TEST(GenerationConfig, AbsentAndNullKeepTheDefaults) {
  for (const char* json : {"{}", R"({"temperature": null, "top_k": null, "eos_token_id": null, "do_sample": null})"}) {
    const SamplingOptions s = sampling_defaults(parse(json));
    EXPECT_EQ(s.temperature, 1);
    EXPECT_EQ(s.top_k, 0);
    EXPECT_EQ(s.top_p, 1);
    EXPECT_EQ(s.min_p, 0);
    EXPECT_EQ(s.repetition_penalty, 1);
    EXPECT_EQ(s.max_new_tokens, SamplingOptions{}.max_new_tokens);
    EXPECT_TRUE(s.stop.empty());
  }
}

TEST(GenerationConfig, ReadsWhatModelsWrite) {
  // the file of Qwen2.5-Instruct, and more
  const GenerationConfig c = parse(R"({"bos_token_id": 151643, "pad_token_id": 151643, "do_sample": true,
      "eos_token_id": [151645, 151643], "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
      "min_p": 0.05, "max_new_tokens": 2048, "stop_strings": "User:", "transformers_version": "4.37.0"})");
  const SamplingOptions s = sampling_defaults(c);
  EXPECT_EQ(s.temperature, 0.7);
  EXPECT_EQ(s.top_k, 20);
  EXPECT_EQ(s.top_p, 0.8);
  EXPECT_EQ(s.min_p, 0.05);
  EXPECT_EQ(s.repetition_penalty, 1.1);
  EXPECT_EQ(s.max_new_tokens, 2048);
  EXPECT_EQ(s.stop, std::vector<std::string>{"User:"});
  EXPECT_EQ(c.eos_token_ids, (std::vector<int32_t>{151645, 151643}));
  EXPECT_EQ(parse(R"({"eos_token_id": 2})").eos_token_ids, std::vector<int32_t>{2});
  EXPECT_TRUE(c.ignored.empty());
}

TEST(GenerationConfig, WithoutSamplingItIsTheLargestLogit) {
  EXPECT_EQ(sampling_defaults(parse(R"({"do_sample": false, "temperature": 0.6})")).temperature, 0);
  EXPECT_EQ(sampling_defaults(parse(R"({"do_sample": true, "temperature": 0.6})")).temperature, 0.6);
}

TEST(GenerationConfig, NamesWhatItDoesNotHave) {
  EXPECT_EQ(parse(R"({"num_beams": 4, "typical_p": 0.9, "no_repeat_ngram_size": 3})").ignored,
            (std::vector<std::string>{"num_beams", "typical_p", "no_repeat_ngram_size"}));
  EXPECT_TRUE(parse(R"({"num_beams": 1, "typical_p": 1.0, "no_repeat_ngram_size": 0})").ignored.empty());
}

TEST(GenerationConfig, RefusalsNameFileKeyAndRange) {
  const std::pair<const char*, const char*> cases[] = {{"[]", "not a JSON object"},
                                                       {"{", "not a JSON object"},
                                                       {R"({"temperature": "hot"})", "temperature is \"hot\""},
                                                       {R"({"temperature": -1})", "number from 0"},
                                                       {R"({"top_p": 0})", "top_p is 0"},
                                                       {R"({"top_k": 2.5})", "top_k is 2.5"},
                                                       {R"({"min_p": 1.5})", "from 0 to 1"},
                                                       {R"({"repetition_penalty": 0})", "repetition_penalty is 0"},
                                                       {R"({"max_new_tokens": 0})", "integer from 1"},
                                                       {R"({"stop_strings": [""]})", "none empty"},
                                                       {R"({"eos_token_id": -1})", "token id"},
                                                       {R"({"do_sample": 1})", "true or false"}};
  for (const auto& [json, part] : cases) {
    try {
      parse(json);
      ADD_FAILURE() << json;
    } catch (const std::runtime_error& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << json << ": " << e.what();
      EXPECT_EQ(std::string(e.what()).rfind("m/generation_config.json: ", 0), 0u) << e.what();
    }
  }
}

}  // namespace
}  // namespace hone
