// Random damage to templates, for the fuzz target and its short run in the tests: bytes flipped, pieces cut, doubled,
// moved between templates, and words of the language put in.
#pragma once

#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/text/jinja.h"
#include "models/text/jinja_json.h"

namespace hone::testing {

class TemplateMutator {
 public:
  TemplateMutator(std::vector<std::string> seeds, uint64_t seed) : seeds_(std::move(seeds)), random_(seed) {}

  std::string next() {
    std::string text = below(3) ? "" : pick(seeds_);
    for (size_t i = text.empty() ? 1 + below(4) : 0; i > 0; --i) text += pick(snippets());
    for (size_t i = below(4) + (below(4) ? 0 : below(8)); i > 0; --i) mutate(text);
    if (text.size() > 8192) text.resize(8192);
    return text;
  }

  /// Small templates that reach each part of the engine.
  static const std::vector<std::string>& snippets() {
    static const std::vector<std::string> kSnippets{
        "{% for x in xs %}{{ loop.index }}{{ loop.previtem }}{{ loop.nextitem }}{{ x }}{% else %}none{% endfor %}",
        "{% for x in xs if x recursive %}{{ loop.depth }}{{ loop(x) if x is iterable and x is not string }}{% endfor "
        "%}",
        "{% set ns = namespace(a=0) %}{% for i in range(5) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns] %}{{ ns.l|length }}",
        "{% macro f(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{{ caller() if caller }}{% endmacro %}{{ f(1, 2, "
        "3, z=4) }}",
        "{% macro f(n) %}{% if n %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(x) }}",
        "{% macro f() %}[{{ caller(1) }}]{% endmacro %}{% call(v) f() %}{{ v }}{{ s }}{% endcall %}",
        "{% filter upper|replace('A', s) %}abc{{ s }}{% endfilter %}",
        "{% set y %}a{{ x }}{% endset %}{{ y|trim }}",
        "{% set y | upper %}a{% endset %}{{ y }}",
        "{% with a = x, b = s %}{{ a ~ b }}{% endwith %}",
        "{% generation %}{{ s }}{% endgeneration %}",
        "{% for i in range(9) %}{% if i > 3 %}{% break %}{% endif %}{% continue %}{% endfor %}",
        "{{ xs|map('string')|join(',') }}{{ messages|map(attribute='role')|list }}{{ xs|select('number')|sum(start=1) "
        "}}",
        "{{ messages|selectattr('role', 'equalto', 'user')|list|tojson(indent=2) }}{{ messages|groupby('role') }}",
        "{{ xs|batch(2, 'z')|list }}{{ xs|slice(3)|list }}{{ messages|sort(attribute='role')|length }}{{ [3, "
        "1]|sort(reverse=true) }}",
        "{{ d|dictsort }}{{ d|items|list }}{{ d.items() }}{{ d.keys()|list }}{{ d['items'] }}{{ d.get('q', 1) }}",
        "{{ s[::-1] }}{{ s[1:3] }}{{ xs[-1] }}{{ xs[::2] }}{{ s.split(' ', 1) }}{{ s.split() }}{{ s.title() }}{{ "
        "s|title }}",
        "{{ '%5.2f|%-4d|%s|%r|%x' % (1.5, x, s, s, 255) }}{{ '{:>8}|{0[0]}'.format(s) }}{{ '{a:+.3e}'.format(a=1.5) }}",
        "{{ 7 // 2 }}{{ -7 % 3 }}{{ 2 ** 10 }}{{ 1 / 3 }}{{ 7.5 // 2 }}{{ 1e22 }}{{ x == 3.0 and s != none or not xs "
        "}}{{ 1 < x < 9 }}",
        "{{ s|indent(3, true) }}{{ s|truncate(3) }}{{ s|center(9) }}{{ s|wordcount }}{{ s|replace('a', 'bb') }}{{ "
        "s|trim|upper|e|safe + '<' }}",
        "{{ x is divisibleby 3 }}{{ s is string }}{{ d is mapping }}{{ q is defined }}{{ q|default('z') }}{{ xs is "
        "iterable }}{{ x in [1, 3] }}",
        "{{ '12'|int + '1.5'|float }}{{ 2.675|round(2) }}{{ -3|abs }}{{ xs|length }}{{ xs|first }}{{ xs|last }}{{ [1, "
        "2]|max }}",
        "{{ s.upper().strip('A').center(20, '*').zfill(30) }}{{ s.partition(' ') }}{{ ','.join(['a', s]) }}{{ "
        "s.find('c') }}{{ s.count('') }}",
        "{{ strftime_now('%Y-%m-%d') }}{{ dict(a=1, **d) }}{{ raise_exception('no') if x > 5 }}{{ range(3)|list }}{# c "
        "#}{% raw %}{{ }}{% endraw %}",
        "{%- if x == 3 -%} a {%- elif s -%} b {%- else -%} c {%- endif %}\n  {% set a, b = 1, 2 %}\n{{ a }}{{ b }}",
        "{% set l = loop %}{% for a in xs %}{% set l = loop.cycle %}{{ loop.changed(a) }}{{ loop.last }}{{ loop.length "
        "}}{% endfor %}{{ l }}"};
    return kSnippets;
  }

 private:
  size_t below(size_t n) { return n ? std::uniform_int_distribution<size_t>(0, n - 1)(random_) : 0; }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }
  std::string piece(const std::string& text, size_t longest) {
    const size_t begin = below(2) ? 0 : below(text.size());
    return text.substr(begin, below(2) ? longest : below(longest));
  }

  void mutate(std::string& text) {
    static const std::vector<std::string> kWords{"{%",
                                                 "%}",
                                                 "{{",
                                                 "}}",
                                                 "{#",
                                                 "#}",
                                                 "-%}",
                                                 "{%-",
                                                 "{% raw %}",
                                                 "{% endraw %}",
                                                 "{% for x in xs %}",
                                                 "{% endfor %}",
                                                 "{% if x %}",
                                                 "{% else %}",
                                                 "{% endif %}",
                                                 "{% set ns = namespace(a=ns) %}",
                                                 "{% set ns.a = [ns.a] %}",
                                                 "{% macro f(x) %}",
                                                 "{% endmacro %}",
                                                 "{{ f(x) }}",
                                                 "{% call f() %}",
                                                 "{% endcall %}",
                                                 "{{ caller() }}",
                                                 "{% break %}",
                                                 "{% continue %}",
                                                 "{% filter upper %}",
                                                 "{% endfilter %}",
                                                 "{% with x = loop %}",
                                                 "{% endwith %}",
                                                 "{% generation %}",
                                                 "{% endgeneration %}",
                                                 "{% set x %}",
                                                 "{% endset %}",
                                                 "{{ loop(xs) }}",
                                                 " recursive",
                                                 "|map('upper')",
                                                 "|tojson(indent=9)",
                                                 "|join(xs)",
                                                 "|batch(2)|list",
                                                 "|groupby('a')",
                                                 "|sort",
                                                 "|unique|list",
                                                 "|round(9)",
                                                 "|int(base=36)",
                                                 "|format(x, xs)",
                                                 "|indent(x)",
                                                 "|center(99999999)",
                                                 "|replace('', s)",
                                                 ".split('')",
                                                 ".format(s, **d)",
                                                 "[::-1]",
                                                 "[1:x:-2]",
                                                 "[9]",
                                                 " * 1000000",
                                                 " ** 99",
                                                 "%",
                                                 " ~ ",
                                                 " + ",
                                                 " not in ",
                                                 " is divisibleby 0",
                                                 " if ",
                                                 " else ",
                                                 "(",
                                                 ")",
                                                 "[",
                                                 "]",
                                                 "{",
                                                 "}",
                                                 "|",
                                                 "'",
                                                 "\"",
                                                 "\\u00",
                                                 "\\ud800",
                                                 "\xff",
                                                 "\xe2\x80",
                                                 "\xf0\x9f\x99\x82",
                                                 "1e999",
                                                 "99999999999999999999999999999999999999999",
                                                 "0x",
                                                 "\r\n",
                                                 "loop.changed(loop)",
                                                 "loop.nextitem",
                                                 "'%1000000000d' % 1",
                                                 "'{:>99999999}'.format(1)",
                                                 "range(100000)",
                                                 "x.__class__",
                                                 "s.encode()",
                                                 "=",
                                                 ",",
                                                 ":"};
    switch (below(7)) {
      case 0:
        if (!text.empty()) text[below(text.size())] = static_cast<char>(below(256));
        break;
      case 1:
        text.insert(below(text.size() + 1), pick(kWords));
        break;
      case 2:
        text.insert(below(text.size() + 1), pick(kWords));
        break;
      case 3:
        text.erase(below(text.size()), below(40));
        break;
      case 4:
        text.insert(below(text.size() + 1), piece(text, 200));
        break;
      case 5:
        text.insert(below(text.size() + 1), piece(pick(seeds_), 300));
        break;
      default:
        if (!text.empty()) text.replace(below(text.size()), below(8), pick(kWords));
        break;
    }
  }

  std::vector<std::string> seeds_;
  std::mt19937_64 random_;
};

/// What a template of the mutator may use.
inline jinja::Dict fuzz_variables() {
  jinja::Meter meter(jinja::Limits{});
  jinja::Dict out;
  const auto json =
      nlohmann::ordered_json::parse(R"({"x": 3, "s": "a b\u00e9c\n", "xs": [1, "2", [3.5, null], {"a": true}],
      "d": {"b": 1, "a": "x", "items": [1]}, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true,
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "array"}}}}}],
      "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "<think>hi</think>"},
                   {"role": "assistant", "content": "yo", "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1]}}}]}]})");
  for (const auto& [key, value] : json.items()) set_item(meter, out, jinja::Value(key), from_json(meter, value));
  return out;
}

/// Text or an Error of the engine's own; anything else escapes. Returns whether it rendered.
inline bool renders(const std::string& text, const jinja::Dict& variables) {
  const jinja::RenderOptions options{
      .limits = {.max_steps = 20000, .max_built_bytes = 4 << 20, .max_output_bytes = 1 << 20},
      .now = std::tm{.tm_mday = 1, .tm_year = 124}};
  try {
    jinja::Template::parse(text).render(variables, options);
    return true;
  } catch (const jinja::Error&) {
    return false;
  }
}

}  // namespace hone::testing
