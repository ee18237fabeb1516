// One self-contained HTML page of a run: curves over the steps of each stage, evaluations before and after, and sample
// rollouts side by side. Everything comes from run.db; the page asks nothing of the network.
#pragma once

#include <filesystem>
#include <string>

#include "rl/run_store.h"

namespace hone {

/// Writes the page of run_dir/run.db to `out_html` under a temporary name, then renames it. Throws std::runtime_error
/// when there is no run.db, it holds no step, or the file cannot be written.
void write_report(const std::filesystem::path& run_dir, const std::filesystem::path& out_html);

/// The page as text.
std::string report_html(const RunReader& run, const std::string& title);

/// One stand-alone SVG of a stage for a README: accuracy, mean length and reflections over steps. Throws
/// std::invalid_argument when the stage has no such metric.
std::string curve_svg(const RunReader& run, const std::string& stage);

}  // namespace hone
