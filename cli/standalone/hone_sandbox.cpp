// `hone sandbox` as a program of its own, without torch; it alone can also leave layers out (--without), for the test
// of the tests.
#include <iostream>
#include <stdexcept>

#include <CLI/CLI.hpp>

#include "cli/sandbox.h"

int main(int argc, char** argv) {
  CLI::App app{"rows with programs in, rows with verdicts out"};
  hone::SandboxArgs args;
  app.add_option("--jobs", args.jobs, "programs at the same time (default: one a core)");
  app.add_option("--cases", args.cases, "JSONL rows; -: standard input (default)");
  app.add_flag("--capabilities", args.capabilities, "print every isolation layer as JSON");
  app.add_option("--require", args.require, "isolation layers without which nothing runs")->delimiter(',');
  app.add_option("--without", args.without, "isolation layers to leave out")->delimiter(',');
  app.add_option("--python", args.python, "interpreter");
  app.add_option("--compiler", args.compiler, "C++ compiler");
  CLI11_PARSE(app, argc, argv);
  try {
    return hone::sandbox_verb(args);
  } catch (const std::invalid_argument& error) {
    std::cerr << "hone_sandbox: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "hone_sandbox: " << error.what() << '\n';
    return 1;
  }
}
