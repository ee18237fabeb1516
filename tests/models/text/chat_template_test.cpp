#include "models/text/chat_template.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

class ModelFolder {
 public:
  ModelFolder() {
    std::string name = (fs::temp_directory_path() / "hone_chat_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~ModelFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;
  ModelFolder& write(const std::string& name, const std::string& text) {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return *this;
  }
  const fs::path& path() const { return path_; }
  std::string render(const ChatRequest& request) const { return ChatTemplate::from_folder(path_).apply(request).text; }

 private:
  fs::path path_;
};

const Json kHi = Json::parse(R"([{"role": "user", "content": "Hi"}])");

template <class Exception, class Fn>
std::string message_of(const Fn& fn) {
  try {
    fn();
  } catch (const Exception& e) {
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(ChatTemplate, TheJinjaFileWinsOverTheConfig) {
  ModelFolder m;
  m.write("tokenizer_config.json", R"({"chat_template": "config {{ messages[0].content }}"})");
  EXPECT_EQ(m.render({.messages = kHi}), "config Hi");
  EXPECT_EQ(m.write("chat_template.jinja", "file {{ messages[0].content }}\n").render({.messages = kHi}), "file Hi");
  EXPECT_TRUE(ChatTemplate::is_in(m.path()));
}

TEST(ChatTemplate, NamedTemplatesServeConversationsWithAndWithoutTools) {
  const Json tools = Json::parse(R"([{"type": "function"}])");
  ModelFolder list;
  list.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T{{ tools|length }}"}]})");
  EXPECT_EQ(list.render({.messages = kHi}), "D");
  EXPECT_EQ(list.render({.messages = kHi, .tools = tools}), "T1");
  ModelFolder files;
  files.write("chat_template.jinja", "D")
      .write("chat_templates/tool_use.jinja", "T")
      .write("chat_templates/x.txt", "no");
  EXPECT_EQ(files.render({.messages = kHi}), "D");
  EXPECT_EQ(files.render({.messages = kHi, .tools = tools}), "T");
  ModelFolder neither;
  neither.write("tokenizer_config.json",
                R"({"chat_template": [{"name": "rag", "template": "R"}, {"name": "b", "template": "B"}]})");
  EXPECT_THAT(message_of<std::runtime_error>([&] { neither.render({.messages = kHi}); }), HasSubstr("(b, rag)"));
}

TEST(ChatTemplate, SpecialTokensComeByName) {
  ModelFolder m;
  m.write("chat_template.jinja", "{{ bos_token }}|{{ eos_token }}|{{ pad_token is defined }}|{{ unk_token }}");
  m.write("tokenizer_config.json",
          R"({"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null})");
  m.write("special_tokens_map.json", R"({"unk_token": "<unk>", "bos_token": "other", "pad_token": "<pad>"})");
  EXPECT_EQ(m.render({.messages = kHi}), "<s>|</s>|False|<unk>");
  EXPECT_EQ(m.render({.messages = kHi, .variables = {{"eos_token", "mine"}}}), "<s>|mine|False|<unk>")
      << "the caller's win";
}

TEST(ChatTemplate, WhatTheTemplateSees) {
  const auto chat = ChatTemplate::from_text(
      "{{ messages|tojson }}|{{ tools is none }}|{{ documents is none }}|{{ add_generation_prompt }}|{{ think is "
      "defined }}",
      "t");
  const Json messages =
      Json::parse(R"([{"role": "assistant", "content": null, "thinking": "hm", "z": 1, "a": {"y": null}}])");
  EXPECT_EQ(
      chat.apply({.messages = messages, .add_generation_prompt = true, .variables = {{"think", false}}}).text,
      R"([{"role": "assistant", "thinking": "hm", "z": 1, "a": {"y": null}, "reasoning_content": "hm"}]|True|True|True|True)");
  EXPECT_EQ(chat.apply({.messages = kHi, .tools = Json::array()}).text,
            R"([{"role": "user", "content": "Hi"}]|False|True|False|False)");
}

TEST(ChatTemplate, AssistantTextIsMarkedForTheLoss) {
  const auto chat = ChatTemplate::from_text(
      "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<e>{% endgeneration %}{% "
      "else %}"
      "<u>{{ m.content }}{% endif %}{% endfor %}",
      "t");
  const Json messages = Json::parse(R"([{"role": "user", "content": "é"}, {"role": "assistant", "content": "日"}])");
  const ChatText out = chat.apply({.messages = messages, .marks_assistant = true});
  ASSERT_EQ(out.assistant.size(), 1u);
  EXPECT_EQ(out.text.substr(out.assistant[0].begin, out.assistant[0].end - out.assistant[0].begin), "日<e>");
  EXPECT_TRUE(chat.apply({.messages = messages}).assistant.empty());
}

TEST(ChatTemplate, R1KeepsOnlyWhatFollowsTheThought) {
  ModelFolder m;
  fs::copy_file(fs::path(HONE_SOURCE_DIR) / "tests/golden/chat_templates/deepseek_r1.jinja",
                m.path() / "chat_template.jinja");
  m.write("tokenizer_config.json", R"({"bos_token": "<｜begin▁of▁sentence｜>"})");
  const Json messages = Json::parse(R"([{"role": "system", "content": "S"}, {"role": "user", "content": "2+2?"},
      {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"}, {"role": "user", "content": "Sure?"}])");
  EXPECT_EQ(m.render({.messages = messages, .add_generation_prompt = true}),
            "<｜begin▁of▁sentence｜>S<｜User｜>2+2?<｜Assistant｜>\n\n4<｜end▁of▁sentence｜><｜User｜>Sure?<"
            "｜Assistant｜><think>\n");
}

TEST(ChatTemplate, RefusalsNameFilePlaceAndRemedy) {
  ModelFolder m;
  const auto load = [&] { return message_of<std::runtime_error>([&] { ChatTemplate::from_folder(m.path()); }); };
  EXPECT_FALSE(ChatTemplate::is_in(m.path()));
  EXPECT_THAT(load(), HasSubstr("no chat template there"));
  m.write("tokenizer_config.json", "[1]");
  EXPECT_THAT(load(), HasSubstr("tokenizer_config.json: not a JSON object"));
  for (const char* bad : {"7", "[]", "[\"x\"]", R"([{"name": "a"}])", R"({"default": "x"})"}) {
    m.write("tokenizer_config.json", std::string("{\"chat_template\": ") + bad + "}");
    EXPECT_THAT(load(), HasSubstr("must be a text or a list of {\"name\", \"template\"}")) << bad;
  }
  m.write("chat_template.jinja", "a\n{% if %}");
  EXPECT_EQ(
      message_of<std::runtime_error>([&] { m.render({.messages = kHi}); }),
      (m.path() / "chat_template.jinja").string() + ": line 2: Expected an expression, got 'end of statement block'");
  m.write("chat_template.jinja", "\n\n{{ raise_exception('No!') }}");
  EXPECT_THAT(message_of<std::runtime_error>([&] { m.render({.messages = kHi}); }),
              HasSubstr("chat_template.jinja: line 3: No!"));
  m.write("chat_template.jinja", std::string(2 << 20, ' '));
  EXPECT_THAT(message_of<std::runtime_error>([&] { m.render({.messages = kHi}); }),
              HasSubstr("at most 1048576 are read"));
}

TEST(ChatTemplate, ABrokenNamedTemplateDoesNotBlockTheOthers) {
  ModelFolder m;
  m.write("chat_template.jinja", "D").write("chat_templates/tool_use.jinja", "{% if %}");
  EXPECT_EQ(m.render({.messages = kHi}), "D");
  EXPECT_THROW(m.render({.messages = kHi, .tools = Json::array()}), std::runtime_error);
}

ChatRequest deep_tools(int levels) {
  ChatRequest request{.messages = kHi};
  for (int i = 0; i < levels; ++i) {
    Json outer = Json::array();
    outer.push_back(std::move(request.tools));
    request.tools = std::move(outer);
  }
  return request;
}

TEST(ChatTemplate, RequestsOfTheWrongShapeAreRefused) {
  const auto chat = ChatTemplate::from_text("x", "t");
  const auto refused = [&](const ChatRequest& r) { return message_of<std::invalid_argument>([&] { chat.apply(r); }); };
  EXPECT_THAT(refused({.messages = "hi"}), HasSubstr("must be a list"));
  EXPECT_THAT(refused({.messages = Json::array()}), HasSubstr("at least one message"));
  EXPECT_THAT(refused({.messages = Json::array({"hi"})}), HasSubstr("must be an object"));
  EXPECT_THAT(refused({.messages = kHi, .tools = "t"}), HasSubstr("\"tools\" must be a list of objects"));
  EXPECT_THAT(refused({.messages = kHi, .documents = Json::array({1})}), HasSubstr("\"documents\""));
  EXPECT_THAT(refused({.messages = kHi, .variables = Json::array()}), HasSubstr("JSON object"));
  EXPECT_THAT(refused(deep_tools(100000)), HasSubstr("nested deeper than 100 levels"));
}

}  // namespace
}  // namespace hone
