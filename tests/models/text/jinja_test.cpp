#include "models/text/jinja.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/text/jinja_json.h"
#include "models/text/jinja_unicode.h"
#include "tests/models/text/jinja_mutator.h"

namespace hone::jinja {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

const fs::path kGolden = fs::path(HONE_SOURCE_DIR) / "tests" / "golden";

std::string read(const fs::path& file) {
  std::stringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::tm golden_time() {
  std::tm now{.tm_sec = 6, .tm_min = 5, .tm_hour = 14, .tm_mday = 26, .tm_mon = 6, .tm_year = 124};
  std::mktime(&now);
  return now;
}

Dict variables_of(const Json& json) {
  Meter meter(Limits{});
  Dict out;
  for (const auto& [name, value] : json.items()) set_item(meter, out, Value(name), from_json(meter, value));
  return out;
}

std::string render(const std::string& text, const Json& variables = Json::object(), const Limits& limits = {}) {
  return Template::parse(text).render(variables_of(variables), {.limits = limits, .now = golden_time()}).text;
}

Error error_of(const std::string& text, const Json& variables = Json::object(), const Limits& limits = {}) {
  try {
    ADD_FAILURE() << "rendered: " << render(text, variables, limits);
  } catch (const Error& e) {
    return e;
  }
  return Error(Error::Kind::kRuntime, "");
}

// ---- against jinja2 -------------------------------------------------------------------------------------------------

Json code_point_spans(const Rendered& rendered) {
  Json out = Json::array();
  for (const Span& s : rendered.generation) {
    out.push_back(
        {count_code_points(rendered.text.substr(0, s.begin)), count_code_points(rendered.text.substr(0, s.end))});
  }
  return out;
}

// Python's own errors (TypeError and the like) are compared as errors, jinja2's with their message, syntax ones with
// their line too.
void check_case(const Json& row, const Dict& variables) {
  const bool is_python = row.value("kind", "") == "python" || row.value("kind", "") == "limit";
  const std::string text = row.contains("file") ? read(kGolden / "chat_templates" / row["file"].get<std::string>())
                                                : row["template"].get<std::string>();
  try {
    const Rendered out =
        Template::parse(text).render(variables, {.now = golden_time(), .tracks_generation = row.value("mark", false)});
    ASSERT_TRUE(row.contains("text")) << text << "\nrendered " << out.text << "\nexpected the error " << row["error"];
    ASSERT_EQ(out.text, row["text"].get<std::string>()) << text;
    if (row.value("mark", false)) {
      ASSERT_EQ(code_point_spans(out), row["spans"]) << text;
    }
  } catch (const Error& e) {
    ASSERT_TRUE(row.contains("error")) << text << "\nfailed: " << e.what();
    if (is_python) return;
    ASSERT_EQ(e.message(), row["error"].get<std::string>()) << text;
    if (row["kind"] == "syntax") {
      ASSERT_EQ(e.line(), row["line"].get<int>()) << text;
    }
  }
}

TEST(Jinja, GoldenCasesComeOutAsFromJinja2) {
  std::ifstream in(kGolden / "jinja_cases.jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(in, line));
  const Dict shared = variables_of(Json::parse(line)["variables"]);
  int n = 0;
  for (; std::getline(in, line); ++n) {
    const Json row = Json::parse(line);
    check_case(row, row.contains("variables") ? variables_of(row["variables"]) : shared);
    if (HasFatalFailure()) break;
  }
  EXPECT_GT(n, 600);
}

// ---- the language, where it is easy to get wrong --------------------------------------------------------------------

TEST(Jinja, WhiteSpaceControl) {
  EXPECT_EQ(render("  {% if true %}\n a\n  {% endif %}\nb\n"), " a\nb")
      << "trim_blocks, lstrip_blocks, last line break";
  EXPECT_EQ(render("x  {% if true %}\ny{% endif %}"), "x  y") << "text before the tag keeps its spaces";
  EXPECT_EQ(render("  {%+ if true %}\na{% endif +%}\nb"), "  a\nb");
  EXPECT_EQ(render("a \n {%- if true -%} \n b \n {%- endif %}"), "ab");
  EXPECT_EQ(render("  {{ 1 }}\n  {#- c -#}\n 2"), "  12");
  EXPECT_EQ(render("{% raw %}\n{{ x }}{% endraw %}\n!"), "\n{{ x }}!");
  EXPECT_EQ(render("a\r\nb\rc"), "a\nb\nc");
}

TEST(Jinja, NamesSetInALoopOrBlockStayThere) {
  EXPECT_EQ(render("{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}"), "231");
  EXPECT_EQ(render("{% if true %}{% set x = 1 %}{% endif %}{{ x }}"), "1");
  EXPECT_EQ(render("{% set ns = namespace(x=1) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}"),
            "4");
  EXPECT_EQ(render("{% generation %}{% set x = 1 %}{% endgeneration %}{{ x is defined }}"), "False");
  EXPECT_EQ(render("{% for i in [1] %}{{ x is defined }}{% endfor %}{% set x = 2 %}", {{"x", 1}}), "False")
      << "as jinja2 compiles it: the template's own x is not set yet";
}

TEST(Jinja, DictAttributesPreferMethodsAndItemsPreferKeys) {
  const Json v{{"d", {{"items", 1}, {"role", "user"}}}};
  EXPECT_EQ(render("{{ d['items'] }}{{ d.role }}{{ d.items() | length }}{{ d['get']('role') }}", v), "1user2user");
  EXPECT_EQ(error_of("{{ d.pop('items') }}", v).message(), "access to attribute 'pop' of 'dict' object is unsafe.");
}

TEST(Jinja, NumbersPrintAsInPython) {
  EXPECT_EQ(render("{{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1.5e300 }} {{ -0.0 }} {{ 100.0 }} {{ 1e22 }}"),
            "1e+16 1000000000000000.0 0.0001 1e-05 1.5e+300 -0.0 100.0 1e+22");
  EXPECT_EQ(render("{{ 7 // -2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** -1 }} {{ -7 // 2.0 }} {{ 5.5 % -2 }}"),
            "-4 2 3.5 0.5 -4.0 -0.5");
  EXPECT_EQ(render("{{ x|tojson }} {{ x }}", {{"x", 18446744073709551615u}}),
            "18446744073709551615 18446744073709551615");
  EXPECT_EQ(render("{{ 0.5|round }}{{ 1.5|round }}{{ 2.675|round(2) }}{{ 25|round(-1) }}"), "0.02.02.6720")
      << "halves to even";
}

TEST(Jinja, FloatsReadBack) {
  std::mt19937_64 random(9);
  for (int i = 0; i < 20000; ++i) {
    const uint64_t bits = random();
    double d;
    std::memcpy(&d, &bits, sizeof d);
    if (!std::isfinite(d)) continue;
    ASSERT_EQ(std::strtod(float_repr(d).c_str(), nullptr), d) << float_repr(d);
  }
}

TEST(Jinja, SlicesEqualTheDefinition) {
  const std::u32string letters = U"aé日🙂z";
  const Json v{{"s", "aé日🙂z"}};
  for (int start = -7; start <= 7; ++start) {
    for (int stop = -7; stop <= 7; ++stop) {
      for (const int step : {-3, -2, -1, 1, 2, 3}) {
        const auto edge = [&](int i) { return std::clamp(i < 0 ? i + 5 : i, step < 0 ? -1 : 0, step < 0 ? 4 : 5); };
        std::u32string expected;
        for (int i = edge(start); step < 0 ? i > edge(stop) : i < edge(stop); i += step)
          expected += letters[static_cast<size_t>(i)];
        ASSERT_EQ(render(fmt::format("{{{{ s[{}:{}:{}] }}}}", start, stop, step), v), to_utf8(expected));
      }
    }
  }
}

TEST(Jinja, JsonKeepsTheOrderOfKeysAndTheLetters) {
  const Json v{{"x", {{"z", 1}, {"a", {1.5, nullptr, true}}, {"é<", "\"\n\x01"}}}};
  EXPECT_EQ(render("{{ x|tojson }}", v), R"({"z": 1, "a": [1.5, null, true], "é<": "\"\n\u0001"})");
  EXPECT_EQ(render("{{ x.a|tojson(indent=2) }}", v), "[\n  1.5,\n  null,\n  true\n]");
  EXPECT_EQ(render("{{ [{}, []]|tojson(indent=1) }}"), "[\n {},\n []\n]");
}

TEST(Jinja, TheDateIsTheCallersTime) {
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y %H:%M:%S %A') }}"), "26 Jul 2024 14:05:06 Friday");
  EXPECT_THROW(Template::parse("{{ strftime_now('%d') }}").render({}), Error);
}

TEST(Jinja, GenerationSpansAreByteRanges) {
  const auto t = Template::parse(
      "é{% generation %}日{{ x }}{% endgeneration %}-{% for i in [1, 2] %}{% generation %}{{ i }}{% endgeneration %}{% "
      "endfor %}");
  const Rendered r = t.render(variables_of({{"x", "y"}}), {.tracks_generation = true});
  ASSERT_EQ(r.generation.size(), 3u);
  EXPECT_EQ(r.text.substr(r.generation[0].begin, r.generation[0].end - r.generation[0].begin), "日y");
  EXPECT_EQ(r.text.substr(r.generation[2].begin), "2");
  EXPECT_TRUE(t.render({}).generation.empty()) << "only on request";
  const auto inside = Template::parse("{% macro f() %}{% generation %}a{% endgeneration %}{% endmacro %}{{ f() }}");
  EXPECT_EQ(inside.render({}).text, "a");
  EXPECT_THROW(inside.render({}, {.tracks_generation = true}), Error);
}

// ---- errors ---------------------------------------------------------------------------------------------------------

TEST(Jinja, ErrorsHaveKindMessageAndLine) {
  const Error syntax = error_of("a\n{% if x %}\n{{ y }}\n{% endfor %}");
  EXPECT_EQ(syntax.kind(), Error::Kind::kSyntax);
  EXPECT_EQ(syntax.line(), 4);
  EXPECT_THAT(syntax.message(), ::testing::HasSubstr("unknown tag 'endfor'"));
  const Error raised = error_of("\n\n{{ raise_exception('roles must ' ~ 'alternate') }}");
  EXPECT_EQ(raised.kind(), Error::Kind::kRuntime);
  EXPECT_STREQ(raised.what(), "line 3: roles must alternate");
  EXPECT_EQ(error_of("{{ m.content.x }}", {{"m", {{"role", "user"}}}}).message(),
            "'dict object' has no attribute 'content'");
  EXPECT_EQ(error_of("{{ 1|nonesuch }}").message(), "No filter named 'nonesuch'.");
  EXPECT_EQ(render("{% if false %}{{ 1|nonesuch }}{% endif %}"), "");
  EXPECT_THAT(error_of("{% include 'x' %}").message(), ::testing::HasSubstr("'include' is not supported"));
  EXPECT_EQ(error_of("\xff").kind(), Error::Kind::kSyntax) << "not UTF-8";
}

// ---- limits ---------------------------------------------------------------------------------------------------------

TEST(Jinja, NoTemplateRunsForEver) {
  const char* const kEndless[] = {
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{% for i in range(99999) %}{{ f }}{% endfor %}{{ f() }}",
      "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}",
      "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99999) %}{% set ns.s = ns.s|map('string') %}{% endfor %}{{ "
      "ns.s|list }}",
      "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
      "{{ 'a' * 1000000000000 }}",
      "{{ [0] * 1000000000000 }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:>1000000000}'.format(1) }}",
      "{{ 'a'|center(1000000000) }}",
      "{{ 'a'.zfill(10000000000) }}",
      "{{ 'a\nb'|indent(1000000000) }}",
      "{{ [1]|tojson(indent=1000000000) }}",
      "{{ [1]|batch(1000000000, 0)|list }}",
      "{{ [1]|slice(10000000)|list }}",
      "{{ ('a' * 9999999).replace('', 'b' * 9999999) }}",
      "{{ ('a' * 9999999) in ('a' * 9999998 ~ 'b') }}",
      "{{ (('a,' * 9999999).split(',') | join(',')) * 9 }}"};
  const Limits small{.max_steps = 500'000, .max_built_bytes = 32 << 20, .max_output_bytes = 8 << 20};
  for (const char* text : kEndless) {
    const Error e = error_of(text, Json::object(), small);
    EXPECT_EQ(e.kind(), Error::Kind::kLimit) << text << ": " << e.what();
  }
  EXPECT_EQ(error_of(kEndless[0]).kind(), Error::Kind::kLimit) << "the standing limits";
  EXPECT_EQ(error_of("{{ range(10000000000) }}").message(),
            "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
}

TEST(Jinja, DeepNestingIsRefusedWhenParsed) {
  const auto nested = [](size_t n, const std::string& open, const std::string& middle, const std::string& close) {
    std::string out;
    for (size_t i = 0; i < n; ++i) out += open;
    out += middle;
    for (size_t i = 0; i < n; ++i) out += close;
    return out;
  };
  for (const size_t n : {300u, 50000u}) {
    EXPECT_EQ(error_of("{{ " + nested(n, "(", "1", ")") + " }}").kind(), Error::Kind::kSyntax);
    EXPECT_EQ(error_of("{{ " + nested(n, "[", "1", "]") + " }}").kind(), Error::Kind::kSyntax);
    EXPECT_EQ(error_of("{{ " + nested(n, "not ", "1", "") + " }}").kind(), Error::Kind::kSyntax);
    EXPECT_EQ(error_of("{{ " + nested(n, "-", "1", "") + " }}").kind(), Error::Kind::kSyntax);
    EXPECT_EQ(error_of("{{ 1" + nested(n, "+1", "", "") + " }}").kind(), Error::Kind::kSyntax);
    EXPECT_EQ(error_of("{{ x" + nested(n, ".a", "", "") + " }}").kind(), Error::Kind::kSyntax);
    EXPECT_EQ(error_of("{{ x" + nested(n, "|e", "", "") + " }}").kind(), Error::Kind::kSyntax);
    EXPECT_EQ(error_of("{{ 1" + nested(n, " if 1 else 1", "", "") + " }}").kind(), Error::Kind::kSyntax);
    EXPECT_NE(error_of(nested(n, "{% if 1 %}", "", "{% endif %}")).kind(), Error::Kind::kRuntime);
  }
  EXPECT_EQ(render("{{ " + nested(100, "(", "1", ")") + " }}" + nested(90, "{% if 1 %}", "x", "{% endif %}")), "1x");
}

TEST(Jinja, ALimitIsAbout10MillionStepsAndOrdinaryChatsAreFarFromIt) {
  Json messages = Json::array();
  for (int i = 0; i < 2000; ++i)
    messages.push_back({{"role", i % 2 ? "assistant" : "user"}, {"content", std::string(200, 'x')}});
  const std::string text = read(kGolden / "chat_templates" / "qwen3.jinja");
  EXPECT_GT(render(text, {{"messages", messages}}, {.max_steps = 1'000'000}).size(), 400000u);
}

// ---- damage ---------------------------------------------------------------------------------------------------------

// The short run of jinja_fuzz.cpp.
TEST(Jinja, DamagedTemplatesEndInTextOrAnErrorOfItsOwn) {
  std::vector<std::string> seeds;
  for (const auto& entry : fs::directory_iterator(kGolden / "chat_templates")) seeds.push_back(read(entry.path()));
  std::sort(seeds.begin(), seeds.end());
  hone::testing::TemplateMutator mutator(seeds, 20241123);
  const Dict variables = hone::testing::fuzz_variables();
  int rendered = 0;
  for (int i = 0; i < 4000; ++i) rendered += hone::testing::renders(mutator.next(), variables);
  EXPECT_GT(rendered, 400) << "the mutator should not break everything";
  EXPECT_LT(rendered, 3000);
}

// What outlives its loop, macro or namespace must stay usable, and nothing may be left over (LeakSanitizer).
TEST(Jinja, WhatEscapesItsScopeIsSafe) {
  EXPECT_EQ(
      render(
          "{% set ns = namespace() %}{% for i in [1, 2] %}{% set ns.c = loop.cycle %}{% set ns.l = loop %}{% endfor %}"
          "{{ ns.c('a', 'b') }}{{ ns.l.index }}{{ ns.l.changed(ns.l) }}{{ ns.l.nextitem is defined }}"),
      "b2TrueFalse");
  EXPECT_EQ(render("{% set ns = namespace() %}{% for i in [1, 2] %}{% macro f() %}{{ i }}{% endmacro %}{% set ns.f = f "
                   "%}{% endfor %}{{ ns.f() }}"),
            "2");
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns, ns.me] %}{{ ns.l|length }}"), "2");
  EXPECT_EQ(render("{% set ns = namespace() %}{% for x in [[1]] recursive %}{% set ns.l = loop %}{% endfor %}{{ ns.l "
                   "is defined }}"),
            "True");
}

TEST(Jinja, OneTemplateRendersInManyThreads) {
  const auto t = Template::parse(
      "{% macro f(n) %}{{ n }}{% endmacro %}{% for i in range(200) %}{{ f(i) }}{{ x|upper }}{% endfor %}");
  const Dict variables = variables_of({{"x", "a"}});
  const std::string expected = t.render(variables).text;
  std::vector<std::thread> threads;
  std::atomic<int> equal = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { equal += t.render(variables).text == expected; });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(equal, 4);
}

}  // namespace
}  // namespace hone::jinja
