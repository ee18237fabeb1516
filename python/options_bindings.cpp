// rl/config.h: the table of the options of every kind of stage, from which the Python configs, their documentation and
// their stubs are made.
#include "python/options.h"

namespace hone::python {
namespace {

struct TableMaker {
  py::list rows;

  template <class Value>
  py::dict add(const char* name, const char* type, const Value& value, const char* help) {
    py::dict row;
    row["name"] = name;
    row["type"] = type;
    row["default"] = value;
    row["help"] = help;
    rows.append(row);
    return row;
  }
  void operator()(const char* name, double& field, Range range, const char* help) {
    add(name, "float", field, help)["allowed"] = describe_range(range, "a number");
  }
  void operator()(const char* name, int64_t& field, Range range, const char* help) {
    add(name, "int", field, help)["allowed"] = describe_range(range, "a whole number");
  }
  void operator()(const char* name, bool& field, const char* help) { add(name, "bool", field, help); }
  void operator()(const char* name, std::string& field, const Words& words, const char* help) {
    add(name, "str", field, help)["allowed"] = fmt::format("{}", fmt::join(words, ", "));
  }
  void operator()(const char* name, std::vector<std::string>& field, const char* help) {
    add(name, "list[str]", field, help);
  }
  void operator()(const char* name, std::vector<double>& field, const char* help) {
    add(name, "list[float]", field, help);
  }
  void operator()(const char* name, nlohmann::json&, const char* help) { add(name, "dict", py::dict(), help); }
};

template <class Options>
py::list table() {
  Options options;
  TableMaker maker;
  options.visit(maker);
  return maker.rows;
}

py::list options_table(const std::string& kind) {
  if (kind == "rl") return table<RlConfig>();
  if (kind == "sft") return table<SftConfig>();
  if (kind == "sampling") return table<SamplingConfig>();
  throw std::invalid_argument(fmt::format("kind is '{}', allowed is one of rl, sft, sampling", kind));
}

/// Checks one keyword at a time against its declaration.
void check_options(const std::string& kind, const py::dict& options) {
  if (kind == "rl") read_keywords<RlConfig>(options, "GRPOConfig");
  else if (kind == "sft") read_keywords<SftConfig>(options, "SFTConfig");
  else read_keywords<SamplingConfig>(options, "sampling");
}

}  // namespace

void bind_options(py::module_& m) {
  m.def("options_table", options_table, py::arg("kind"),
        "The options of a kind of stage ('rl', 'sft') or of sampling ('sampling'): dicts of name, type, default, help\n"
        "and, for numbers and words, allowed.");
  m.def("check_options", check_options, py::arg("kind"), py::arg("options"),
        "Raises ValueError naming the option, its value and what is allowed; unknown ones with the nearest name.");
}

}  // namespace hone::python
