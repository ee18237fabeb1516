// hone report RUN: the page, or one stage's curve for a README.
#include <filesystem>
#include <iostream>
#include <stdexcept>

#include "cli/input.h"
#include "cli/verbs.h"
#include "models/atomic_file.h"
#include "rl/report.h"

namespace hone {
namespace fs = std::filesystem;

int report(const ReportArgs& args) {
  if (args.svg.empty() != args.stage.empty())
    throw std::invalid_argument("report: --svg FILE and --stage NAME go together");
  const fs::path run(args.run);
  as_input([&] { return RunReader(run).stages().size(); });  // that it is a run, before anything is written
  if (!args.svg.empty()) {
    write_file_atomic(args.svg, curve_svg(RunReader(run), args.stage));
    std::cout << args.svg << '\n';
  }
  if (args.svg.empty() || !args.out.empty()) {
    const fs::path out = args.out.empty() ? run / "report.html" : fs::path(args.out);
    write_report(run, out);
    std::cout << out.string() << '\n';
  }
  return 0;
}

}  // namespace hone
