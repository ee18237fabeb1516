// The stages of a run side by side: a row for every evaluation, in the order in which they ran, with what tells an
// R1-Zero from an R1: accuracy, length, re-checks, format, mixing of languages, readability. The paper's table 3 in
// small. And what the stages between them did to the data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rl/run_store.h"

namespace hone {

struct StageTable {
  struct Column {
    std::string title, metric;
  };
  struct Line {
    std::string stage;
    std::vector<std::optional<double>> values;  ///< one a column
    double low = 0, high = 0;                   ///< the interval of the first
  };
  std::vector<Column> columns;  ///< those that any stage has a value for; pass@1 first
  std::vector<Line> lines;
};
StageTable stage_table(const RunReader& run);

/// The table in Markdown, and the data stages below it: rows read, kept, dropped by reason.
std::string stage_markdown(const RunReader& run);

/// Bars of pass@1 with their intervals, and of the shares of mixed and readable completions where a run has them: a
/// file of its own, or the <svg> of a page. Throws std::invalid_argument for a run without an evaluation.
std::string stage_svg(const RunReader& run, bool in_page = false);

/// One line of a data stage: "1000 rows, 412 kept; 300 wrong, 288 language"; empty for other stages.
std::string data_stage_line(const RunReader& run, const std::string& stage);

}  // namespace hone
