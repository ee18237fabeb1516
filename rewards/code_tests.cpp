#include "rewards/code_tests.h"

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "rewards/code_block.h"

namespace hone {
namespace {

using nlohmann::json;
using sandbox::Job;

constexpr int kMaxNesting = 64;

[[noreturn]] void fail(const std::string& column, const std::string& found, const std::string& wanted) {
  throw std::runtime_error(fmt::format("column '{}' is {}; it must be {}", column, found, wanted));
}

std::string kind_of(const json& value) { return fmt::format("a JSON {}", value.type_name()); }

std::optional<json> parse(const std::string& text) {
  const auto shallow = [](int depth, json::parse_event_t, json&) { return depth <= kMaxNesting; };
  json value = json::parse(text, shallow, /*allow_exceptions=*/false);
  return value.is_discarded() ? std::nullopt : std::optional(std::move(value));
}

/// A member that is there and not null; text that holds an object or a list is read as that.
json member(const json& row, const char* name) {
  const auto found = row.find(name);
  if (found == row.end()) return nullptr;
  if (!found->is_string()) return *found;
  const auto& text = found->get_ref<const std::string&>();
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || (text[first] != '{' && text[first] != '[')) return *found;
  return parse(text).value_or(*found);
}

std::string text_member(const json& row, const char* name) {
  const auto found = row.find(name);
  if (found == row.end() || found->is_null()) return "";
  if (!found->is_string()) fail(name, kind_of(*found), "a string");
  return found->get<std::string>();
}

std::vector<std::string> lines_member(const json& row, const char* name) {
  const json value = member(row, name);
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  std::vector<std::string> lines;
  if (!value.is_array()) fail(name, kind_of(value), "a list of strings");
  for (const auto& line : value) {
    if (!line.is_string()) fail(name, "a list that holds " + kind_of(line), "a list of strings");
    lines.push_back(line.get<std::string>());
  }
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

// ---- Python tests as the row has them

CodeTests python_tests(std::string prompt, std::string entry_point, const std::vector<std::string>& tests) {
  CodeTests result{sandbox::Language::kPython, {}};
  for (const auto& test : tests) {
    Job job{.mode = sandbox::Mode::kFunction};
    job.prompt = prompt;
    job.test = test;
    job.entry_point = entry_point;
    result.jobs.push_back(std::move(job));
  }
  return result;
}

std::optional<CodeTests> read_check(const json& row, const Prompt& prompt) {
  const std::string test = text_member(row, "test");
  if (test.empty()) return {};
  std::string before = text_member(row, "code_prompt");
  return python_tests(before.empty() ? prompt.text : before, text_member(row, "entry_point"), {test});
}

std::optional<CodeTests> read_asserts(const json& row, Grouping grouping) {
  std::vector<std::string> asserts;
  for (const char* column : {"test_list", "assert_case", "test_cases", "tests", "challenge_test_list"}) {
    const json value = member(row, column);
    if (!value.is_array() || value.empty() || !value[0].is_string()) continue;
    for (auto& line : lines_member(row, column)) asserts.push_back(std::move(line));
  }
  if (asserts.empty()) return {};
  const std::string before = joined(lines_member(row, "test_imports")) + text_member(row, "test_setup_code");
  if (grouping == Grouping::kTogether) asserts = {joined(asserts)};
  return python_tests(before, text_member(row, "entry_point"), asserts);
}

// ---- inputs and outputs

/// One test as data.
struct Example {
  json input, output;
  std::string function;  ///< empty: a program's stdin and stdout
};

std::string text_of(const json& value, const char* what) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "";
  if (value.is_number()) return value.dump();
  if (!value.is_array()) fail(what, kind_of(value), "text, or a list of lines");
  std::string text;
  for (const auto& line : value) text += (text.empty() ? "" : "\n") + text_of(line, what);
  return text;
}

json value_of(const std::string& text) { return parse(text).value_or(json(text)); }

/// What the function is called with: a list, or an object of keyword arguments.
json arguments_of(const json& input) {
  if (input.is_array() || input.is_object()) return input;
  if (!input.is_string()) return json::array({input});
  json arguments = json::array();
  std::string_view rest = input.get_ref<const std::string&>();
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    arguments.push_back(value_of(std::string(rest.substr(0, end))));
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
  }
  return arguments;
}

/// A checker for calls of one function. The calls are a JSON text in a string: JSON's escapes are Python's.
std::string call_test(const json& calls) {
  return fmt::format(R"(import json
def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {{str(k): plain(v) for k, v in value.items()}}
    return value
def check(candidate):
    for arguments, wanted in json.loads({}):
        named = arguments if isinstance(arguments, dict) else {{}}
        result = plain(candidate(*([] if named else arguments), **named))
        assert result == wanted or isinstance(wanted, list) and len(wanted) == 1 and result == wanted[0]
)",
                     json(calls.dump(-1, ' ', /*ensure_ascii=*/true)).dump());
}

Job call_job(const std::string& function, const json& calls) {
  Job job{.mode = sandbox::Mode::kFunction};
  job.test = call_test(calls);
  job.entry_point = function;
  return job;
}

Job program_job(const Example& example) {
  Job job;
  job.stdin_text = text_of(example.input, "input");
  job.expected_stdout = text_of(example.output, "output");
  return job;
}

std::vector<Job> jobs_of(const std::vector<Example>& examples, Grouping grouping) {
  std::vector<Job> jobs;
  json calls = json::array();
  for (size_t i = 0; i < examples.size(); ++i) {
    const Example& e = examples[i];
    if (e.function.empty()) {
      jobs.push_back(program_job(e));
      continue;
    }
    const json output = e.output.is_string() ? value_of(e.output.get<std::string>()) : e.output;
    calls.push_back({arguments_of(e.input), output});
    const bool last = i + 1 == examples.size() || examples[i + 1].function != e.function;
    if (grouping == Grouping::kTogether && !last) continue;
    jobs.push_back(call_job(e.function, std::exchange(calls, json::array())));
  }
  return jobs;
}

const json* first_of(const json& row, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const auto found = row.find(name); found != row.end() && !found->is_null()) return &*found;
  }
  return nullptr;
}

/// {"inputs": [..], "outputs": [..], "fn_name"?}; false when the object is not of this form.
bool read_columns(const json& tests, const char* column, std::vector<Example>& examples) {
  const json* inputs = first_of(tests, {"inputs", "input"});
  const json* outputs = first_of(tests, {"outputs", "output"});
  if (!inputs || !outputs || !inputs->is_array() || !outputs->is_array()) return false;
  if (inputs->size() != outputs->size()) {
    fail(column, fmt::format("{} inputs with {} outputs", inputs->size(), outputs->size()), "as many of both");
  }
  const std::string function = text_member(tests, "fn_name");
  for (size_t i = 0; i < inputs->size(); ++i) examples.push_back({(*inputs)[i], (*outputs)[i], function});
  return true;
}

void read_rows(const json& tests, const char* column, std::vector<Example>& examples) {
  for (const auto& test : tests) {
    if (!test.is_object() || !test.contains("output"))
      fail(column, "a list of others", "[{\"input\", \"output\"}, ..]");
    examples.push_back({test.value("input", json()), test["output"], text_member(test, "fn_name")});
  }
}

bool read_examples(const json& tests, const char* column, std::vector<Example>& examples) {
  if (tests.is_object()) return read_columns(tests, column, examples);
  if (!tests.is_array()) return false;
  read_rows(tests, column, examples);
  return true;
}

std::vector<Example> examples_of(const json& row) {
  std::vector<Example> examples;
  if (read_columns(row, "inputs", examples)) return examples;
  for (const char* column : {"test_cases", "tests", "input_output", "ground_truth"}) {
    const json tests = member(row, column);
    if (tests.is_null() || (tests.is_primitive() && std::string_view(column) == "ground_truth")) continue;  // an answer
    if (read_examples(tests, column, examples)) return examples;
    fail(column, kind_of(tests), "[{\"input\", \"output\"}, ..] or {\"inputs\": [..], \"outputs\": [..]}");
  }
  for (const char* column : {"public_tests", "private_tests"}) read_examples(member(row, column), column, examples);
  return examples;
}

const char* kNested[] = {"verification_info", "reward_model"};

}  // namespace

std::optional<CodeTests> read_code_tests(const Prompt& prompt, Grouping grouping) {
  json row = json::parse(prompt.columns);
  if (auto tests = read_check(row, prompt)) return tests;
  if (auto tests = read_asserts(row, grouping)) return tests;
  for (const char* column : kNested) {
    if (const json inner = member(row, column); inner.is_object()) row.update(inner);
  }
  if (const json truth = member(row, "ground_truth"); truth.is_object()) {
    if (auto tests = read_asserts(truth, grouping)) return tests;
  }
  auto jobs = jobs_of(examples_of(row), grouping);
  if (jobs.empty()) return {};
  return CodeTests{language_named(text_member(row, "language")), std::move(jobs)};
}

sandbox::Job with_program(sandbox::Job job, const std::string& program) {
  const bool is_method = ("\n" + program).find("\nclass Solution") != std::string::npos &&
                         ("\n" + program).find("\ndef " + job.entry_point + "(") == std::string::npos;
  if (is_method && !job.entry_point.empty() && job.entry_point.find('.') == std::string::npos) {
    job.entry_point = "Solution()." + job.entry_point;
  }
  job.program = program;
  return job;
}

}  // namespace hone
