// Options structs (anything with a `visit` as in rl/config.h) from keyword arguments.
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "python/bindings.h"
#include "rl/config.h"
#include "rl/recipe.h"
#include "rl/suggest.h"

namespace hone::python {

/// Takes one option out of the keywords a call; what is left over at the end is unknown.
class KeywordReader {
 public:
  explicit KeywordReader(const py::dict& keywords) : left_(keywords.attr("copy")()) {}

  void operator()(const char* name, double& field, Range range, const char*) {
    take(name, describe_range(range, "a number"), [&](const py::object& v) {
      const double value = number_of(v);
      if (!(value >= range.low && value <= range.high)) return false;
      field = value;
      return true;
    });
  }
  void operator()(const char* name, int64_t& field, Range range, const char*) {
    take(name, describe_range(range, "a whole number"), [&](const py::object& v) {
      const double value = number_of(v);
      if (value != std::floor(value) || !(value >= range.low && value <= range.high)) return false;
      field = static_cast<int64_t>(value);
      return true;
    });
  }
  void operator()(const char* name, bool& field, const char*) {
    take(name, "True or False", [&](const py::object& v) {
      if (!py::isinstance<py::bool_>(v)) return false;
      field = v.cast<bool>();
      return true;
    });
  }
  void operator()(const char* name, std::string& field, const Words& words, const char*) {
    take(name, words.empty() ? "text" : fmt::format("one of {}", fmt::join(words, ", ")), [&](const py::object& v) {
      if (!py::isinstance<py::str>(v)) return false;
      const auto text = v.cast<std::string>();
      if (!words.empty() && std::find(words.begin(), words.end(), text) == words.end()) return false;
      field = text;
      return true;
    });
  }
  void operator()(const char* name, nlohmann::json& field, const char*) {
    take(name, "a dict", [&](const py::object& v) {
      if (!py::isinstance<py::dict>(v)) return false;
      field = nlohmann::json::parse(to_json(v));
      return true;
    });
  }
  template <class Item>
  void operator()(const char* name, std::vector<Item>& field, const char*) {
    take(name, std::is_same_v<Item, double> ? "a list of numbers" : "a list of texts", [&](const py::object& v) {
      if (py::isinstance<py::str>(v)) return false;
      try {
        field = v.cast<std::vector<Item>>();
      } catch (const py::cast_error&) {
        return false;
      }
      return true;
    });
  }

  /// Throws std::invalid_argument for a keyword that no option has.
  void finish(const char* where) const {
    for (const auto& [name, value] : left_) {
      const auto text = py::str(name).cast<std::string>();
      throw std::invalid_argument(fmt::format("{}: unknown option '{}'; {}", where, text, did_you_mean(text, known_)));
    }
  }

 private:
  /// NaN, which is in no range, for what is no number.
  static double number_of(const py::object& v) {
    const double value = py::isinstance<py::bool_>(v) ? std::nan("") : PyFloat_AsDouble(v.ptr());
    if (!PyErr_Occurred()) return value;
    PyErr_Clear();
    return std::nan("");
  }

  template <class Set>
  void take(const char* name, const std::string& allowed, const Set& set) {
    known_.emplace_back(name);
    if (!left_.contains(name)) return;
    const py::object value = left_.attr("pop")(name);
    if (!set(value))
      throw std::invalid_argument(
          fmt::format("{} is {}, allowed is {}", name, py::repr(value).cast<std::string>(), allowed));
  }

  py::dict left_;
  std::vector<std::string> known_;
};

/// The options with what the keywords say. Throws std::invalid_argument naming option, value and what is allowed.
template <class Options>
Options read_keywords(const py::dict& keywords, const char* where, Options options = {}) {
  KeywordReader reader(keywords);
  options.visit(reader);
  reader.finish(where);
  return options;
}

}  // namespace hone::python
