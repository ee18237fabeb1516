// hone report RUN: the page, or for a README one stage's curve, the evaluations as a figure or a table.
#include <filesystem>
#include <iostream>
#include <stdexcept>

#include "cli/input.h"
#include "cli/verbs.h"
#include "models/atomic_file.h"
#include "rl/report.h"
#include "rl/stage_table.h"

namespace hone {
namespace fs = std::filesystem;

int report(const ReportArgs& args) {
  const fs::path run(args.run);
  as_input([&] { return RunReader(run).stages().size(); });  // that it is a run, before anything is written
  if (!args.svg.empty()) {
    write_file_atomic(args.svg, args.stage.empty() ? stage_svg(RunReader(run)) : curve_svg(RunReader(run), args.stage));
    std::cout << args.svg << '\n';
  }
  if (args.table) std::cout << stage_markdown(RunReader(run));
  if ((args.svg.empty() && !args.table) || !args.out.empty()) {
    const fs::path out = args.out.empty() ? run / "report.html" : fs::path(args.out);
    write_report(run, out);
    std::cout << out.string() << '\n';
  }
  return 0;
}

}  // namespace hone
