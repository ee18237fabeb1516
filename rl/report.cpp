#include "rl/report.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <tuple>

#include <fmt/core.h>

#include "models/atomic_file.h"
#include "rl/chart.h"
#include "rl/stage_table.h"

namespace hone {
namespace {

using Metrics = std::map<std::string, RunReader::Series>;

constexpr const char* kAccuracy = "accuracy";  // stands for rewards/<first reward>/mean
constexpr const char* kLength = "completions/mean_length";
constexpr const char* kReflections = "completions/reflections";

struct Curve {
  const char* title;
  const char* metric;
  bool from_zero;
};

constexpr Curve kCurves[] = {
    {"Reward", "reward", false},
    {"Accuracy", kAccuracy, true},
    {"Completion length, tokens", kLength, true},
    {"Reflections per completion", kReflections, true},
    {"Entropy, nats per token", "entropy", true},
    {"Sampler to trainer gap, max nats", "sampling/sampling_logp_difference/max", true},
    {"Expert load, max violation", "moe/max_vio", true},
    {"Language consistency", "rewards/language_consistency/mean", true},
    {"Loss", "loss", false},
    {"Held-out pass@1", "eval_pass@1", true},
    {"Groups of equal rewards", "frac_reward_zero_std", true},
    {"Completions cut at the limit", "completions/clipped_ratio", true},
    {"KL to the reference", "kl", true},
    {"Gradient norm", "grad_norm", true},
    {"Learning rate", "learning_rate", true},
    {"Seconds per step", "step_time", true},
};

// ---- what the run holds ---------------------------------------------------------------------------------------------

/// The first reward of the recipe: rows of `rewards` lie in recipe order.
std::string first_reward(const RunReader& run, const std::string& stage) {
  const auto result = run.query(
      "SELECT rewards.name FROM rollouts JOIN rewards ON rewards.rollout_id = rollouts.id WHERE stage = ? "
      "ORDER BY rollouts.id, rewards.rowid LIMIT 1",
      {stage});
  return result.rows.empty() ? "" : result.rows[0][0].get<std::string>();
}

/// The stage's series, with the first reward's mean also under kAccuracy.
Metrics metrics_of(const RunReader& run, const std::string& stage) {
  Metrics metrics = run.steps(stage);
  const auto accuracy = metrics.find("rewards/" + first_reward(run, stage) + "/mean");
  if (accuracy != metrics.end()) metrics[kAccuracy] = accuracy->second;
  return metrics;
}

bool is_eval(const Metrics& metrics) {
  return metrics.contains("eval_pass@1") && !metrics.contains("reward") && !metrics.contains("loss");
}

struct EvalStage {
  std::string name;
  Metrics metrics;

  /// The value at the last step, if there is a finite one.
  std::optional<double> value(const std::string& metric) const {
    const auto found = metrics.find(metric);
    if (found == metrics.end() || !std::isfinite(found->second.back().second)) return {};
    return found->second.back().second;
  }
};

std::vector<EvalStage> eval_stages(const RunReader& run) {
  std::vector<EvalStage> out;
  for (const auto& name : run.stages()) {
    Metrics metrics = metrics_of(run, name);
    if (is_eval(metrics)) out.push_back({name, std::move(metrics)});
  }
  return out;
}

// ---- curves ---------------------------------------------------------------------------------------------------------

std::string chart_card(const Curve& curve, const RunReader::Series& series) {
  return fmt::format("<svg class=\"card\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}</svg>\n", kChartWidth,
                     kChartHeight, escape_xml(curve.title),
                     chart_group({.title = curve.title, .points = series, .from_zero = curve.from_zero}, 0, 0));
}

std::string stage_section(const RunReader& run, const std::string& stage) {
  const Metrics metrics = metrics_of(run, stage);
  if (is_eval(metrics)) return "";
  std::string cards;
  for (const auto& curve : kCurves) {
    const auto found = metrics.find(curve.metric);
    if (found != metrics.end()) cards += chart_card(curve, found->second);
  }
  if (cards.empty()) return "";
  return fmt::format("<section><h2>Stage {}</h2>\n<div class=\"grid\">\n{}</div></section>\n", escape_xml(stage),
                     cards);
}

// ---- evaluations ----------------------------------------------------------------------------------------------------

std::string ratio(double before, double after) { return before > 0 ? fmt::format("× {:.2f}", after / before) : ""; }

std::string tile(const char* title, const EvalStage& before, const EvalStage& after, const char* metric) {
  const auto first = before.value(metric), last = after.value(metric);
  if (!first || !last) return "";
  return fmt::format(
      "<div class=\"tile\"><span class=\"label\">{}</span><b>{} → {}</b><span class=\"label\">{}</span></div>\n", title,
      format_value(*first), format_value(*last), ratio(*first, *last));
}

/// Of a run with more evaluations the stages section tells more.
std::string tiles(const std::vector<EvalStage>& stages) {
  if (stages.size() != 2) return "";
  const auto &before = stages.front(), &after = stages.back();
  return "<div class=\"tiles\">\n" + tile("Held-out pass@1", before, after, "eval_pass@1") +
         tile("Mean length, tokens", before, after, "eval_mean_length") +
         tile("Reflections per completion", before, after, "eval_reflections") + "</div>\n";
}

std::string eval_cell(const EvalStage& stage, const std::string& metric) {
  const auto value = stage.value(metric), low = stage.value(metric + "_low"), high = stage.value(metric + "_high");
  if (!value) return "–";
  if (!low || !high) return format_value(*value);
  return fmt::format("{} <small>{}–{}</small>", format_value(*value), format_value(*low), format_value(*high));
}

/// Every metric of the stages but the ends of intervals, by name, with pass@2 before pass@16.
std::vector<std::string> eval_metric_names(const std::vector<EvalStage>& stages) {
  std::vector<std::string> names;
  for (const auto& stage : stages) {
    for (const auto& [name, series] : stage.metrics) {
      const bool is_end = name.ends_with("_low") || name.ends_with("_high");
      const bool is_timing = name.starts_with("time/") || name.starts_with("perf/");
      if (!is_end && !is_timing && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  const auto key = [](const std::string& n) {
    return std::tuple(!n.starts_with("eval_pass@"), n.starts_with("eval_pass@") ? n.size() : 0, n);
  };
  std::sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  return names;
}

std::string eval_row(const std::vector<EvalStage>& stages, const std::string& metric) {
  const std::string label = metric.starts_with("eval_") ? metric.substr(5) : metric;
  std::string row = fmt::format("<tr><th>{}</th>", escape_xml(label));
  for (const auto& stage : stages) row += "<td>" + eval_cell(stage, metric) + "</td>";
  const auto first = stages.front().value(metric), last = stages.back().value(metric);
  if (stages.size() == 2) row += "<td>" + (first && last ? ratio(*first, *last) : "") + "</td>";
  return row + "</tr>\n";
}

std::string eval_section(const std::vector<EvalStage>& stages) {
  if (stages.empty()) return "";
  std::string head = "<tr><th></th>";
  for (const auto& stage : stages) head += "<th>" + escape_xml(stage.name) + "</th>";
  if (stages.size() == 2) head += "<th>last / first</th>";
  std::string rows;
  for (const auto& name : eval_metric_names(stages)) rows += eval_row(stages, name);
  return "<section><h2>Evaluations</h2>\n<table class=\"card\">" + head + "</tr>\n" + rows + "</table></section>\n";
}

// ---- stages ---------------------------------------------------------------------------------------------------------

std::string stage_rows(const StageTable& table) {
  std::string rows = "<tr><th></th>";
  for (const auto& column : table.columns) rows += "<th>" + escape_xml(column.title) + "</th>";
  for (const auto& line : table.lines) {
    rows += "</tr>\n<tr><th>" + escape_xml(line.stage) + "</th>";
    for (const auto& value : line.values) rows += "<td>" + (value ? format_value(*value) : "–") + "</td>";
  }
  return rows + "</tr>\n";
}

/// Of a run with several evaluations: figure, table, and what data stages let through.
std::string stages_section(const RunReader& run) {
  const StageTable table = stage_table(run);
  if (table.lines.size() < 3) return "";
  std::string data;
  for (const auto& stage : run.stages()) {
    const std::string line = data_stage_line(run, stage);
    if (!line.empty()) data += fmt::format("<p class=\"label\">{}: {}</p>\n", escape_xml(stage), escape_xml(line));
  }
  return "<section><h2>Stages</h2>\n" + stage_svg(run, /*in_page=*/true) + "<table class=\"card\">" +
         stage_rows(table) + "</table>\n" + data + "</section>\n";
}

// ---- sample rollouts ------------------------------------------------------------------------------------------------

constexpr int kNumSamples = 6;

/// A set of rollouts to show: an evaluation, or one step of training.
struct Source {
  std::string title, stage;
  int64_t step = 0;
};

std::optional<Source> source_at(const RunReader& run, const std::string& stage, const char* end,
                                const std::string& title) {
  const auto result = run.query(fmt::format("SELECT {}(step) FROM rollouts WHERE stage = ?", end), {stage});
  if (result.rows[0][0].is_null()) return {};
  return Source{title, stage, result.rows[0][0].get<int64_t>()};
}

/// Every evaluation that has its rollouts, if there are two; else the first and the last step of training.
std::vector<Source> pick_sources(const RunReader& run) {
  std::vector<Source> out;
  for (const auto& stage : eval_stages(run)) {
    if (auto source = source_at(run, stage.name, "max", stage.name)) out.push_back(*source);
  }
  if (out.size() >= 2) return out;
  out.clear();
  for (const auto& name : run.stages()) {
    const auto first = source_at(run, name, "min", name + ", first step"),
               last = source_at(run, name, "max", name + ", last step");
    if (first && last && last->step > first->step) out = {*first, *last};
  }
  return out;
}

/// Per prompt of the source, the first stored sample: prompt_id, prompt, text, reward, tokens, verdict.
QueryResult samples_of(const RunReader& run, const Source& source) {
  return run.query(
      "SELECT r.prompt_id, p.text AS prompt, r.text, r.reward, length(r.token_ids) / 4 AS tokens, "
      "(SELECT verdict FROM rewards WHERE rollout_id = r.id ORDER BY rowid LIMIT 1) AS verdict "
      "FROM rollouts r JOIN prompts p ON p.id = r.prompt_id AND p.stage = r.stage "
      "WHERE r.stage = ? AND r.step = ? AND r.id IN (SELECT min(id) FROM rollouts WHERE stage = ? AND step = ? "
      "GROUP BY prompt_id) ORDER BY r.id LIMIT ?",
      {source.stage, source.step, source.stage, source.step, kNumSamples});
}

bool is_word(const std::string& text, size_t at) {
  return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) || text[at] == '_');
}

/// Escaped text with "wait" marked, so that a reader finds where the model stopped to think again.
std::string marked(const std::string& text) {
  const std::string word = "wait";
  std::string out;
  size_t from = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    if ((at > 0 && is_word(text, at - 1)) || is_word(text, at + word.size())) continue;
    out += escape_xml(text.substr(from, at - from)) + "<mark>" + word + "</mark>";
    from = at + word.size();
  }
  return out + escape_xml(text.substr(from));
}

std::string sample_card(const Source& source, const std::vector<nlohmann::json>& row) {
  const std::string verdict = row[5].is_null() ? "not scored" : row[5].get<std::string>();
  const std::string reward = row[3].is_null() ? "none" : format_value(row[3].get<double>());
  return fmt::format(
      "<div class=\"card sample\"><p class=\"label\">{} · <span class=\"{}\">{}</span> · reward {} · {} tokens</p>"
      "<pre><span class=\"prompt\">{}</span>{}</pre></div>\n",
      escape_xml(source.title), verdict == "correct" ? "good" : "bad", escape_xml(verdict), reward,
      row[4].get<int64_t>(), escape_xml(row[1].get<std::string>()), marked(row[2].get<std::string>()));
}

/// The cards of one problem through all sources; two evaluations are laid side by side only where they asked the same.
std::string sample_cards(const std::vector<Source>& sources, const std::vector<QueryResult>& samples, size_t row) {
  std::string cards;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (row >= samples[i].rows.size()) return "";
    const bool asked_the_same = samples[i].rows[row][1] == samples[0].rows[row][1];
    if (sources[i].stage != sources[0].stage && !asked_the_same) return "";
    cards += sample_card(sources[i], samples[i].rows[row]);
  }
  return cards;
}

std::string samples_section(const RunReader& run) {
  const auto sources = pick_sources(run);
  if (sources.empty()) return "";
  std::vector<QueryResult> samples;
  for (const Source& source : sources) samples.push_back(samples_of(run, source));
  std::string cards;
  const int rows = sources.size() > 2 ? kNumSamples / 2 : kNumSamples;
  for (int row = 0; row < rows; ++row) cards += sample_cards(sources, samples, static_cast<size_t>(row));
  return fmt::format(
      "<section><h2>Rollouts {}</h2>\n<p class=\"label\">The first problems of the set, the first sample "
      "of each; not picked.</p>\n<div class=\"pairs\">\n{}</div></section>\n",
      sources.size() > 2 ? "through the stages" : "before and after", cards);
}

// ---- the page -------------------------------------------------------------------------------------------------------

constexpr const char* kPageStyle = R"css(
:root { color-scheme: light dark; --back: #f5f7f9; --card: #fff; --edge: #e3e7ec; --text: #1c2430; --soft: #5b6470;
        --good: #14803c; --bad: #b3261e; --mark: #ffe08a; --prompt: #0b6bcb; }
@media (prefers-color-scheme: dark) {
  :root { --back: #0f141a; --card: #171e26; --edge: #2a323d; --text: #e6eaf0; --soft: #9aa5b4;
          --good: #5fd38a; --bad: #ff8a80; --mark: #6b5500; --prompt: #62b0ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 28px 20px 60px; background: var(--back); color: var(--text);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 16px; } h2 { font-size: 18px; margin: 36px 0 12px; }
.label { color: var(--soft); font-size: 13px; margin: 0; }
.card, .tile { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; }
.tile { padding: 12px 18px; display: flex; flex-direction: column; min-width: 200px; }
.tile b { font-size: 22px; font-variant-numeric: tabular-nums; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 12px; }
.grid svg { width: 100%; height: auto; display: block; }
table { border-collapse: separate; border-spacing: 0; padding: 6px 10px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 14px; text-align: right; border-bottom: 1px solid var(--edge); }
th:first-child { text-align: left; font-weight: 500; } tr:last-child > * { border-bottom: 0; }
small { color: var(--soft); }
.pairs { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; margin-top: 10px; }
@media (max-width: 760px) { .pairs { grid-template-columns: 1fr; } }
.sample { padding: 12px 16px; min-width: 0; }
pre { margin: 8px 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace;
      max-height: 24em; overflow: auto; }
.prompt { color: var(--prompt); font-weight: 600; } .good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
mark { background: var(--mark); color: inherit; border-radius: 3px; padding: 0 2px; }
footer { margin-top: 48px; color: var(--soft); font-size: 13px; }
)css";

}  // namespace

std::string report_html(const RunReader& run, const std::string& title) {
  const auto evals = eval_stages(run);
  std::string sections;
  for (const auto& stage : run.stages()) sections = stage_section(run, stage) + sections;  // the last stage first
  const std::string name = escape_xml(title);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0} · hone</title>\n"
      "<style>{1}{2}</style></head>\n<body>\n<h1>{0}</h1>\n{3}{4}{5}{6}{7}"
      "<footer>Made by hone from run.db. Hover over a curve for its values.</footer>\n</body></html>\n",
      name, kPageStyle, chart_style(), tiles(evals), stages_section(run), eval_section(evals), sections,
      samples_section(run));
}

void write_report(const std::filesystem::path& run_dir, const std::filesystem::path& out_html) {
  const RunReader run(run_dir);
  if (run.stages().empty()) {
    throw std::runtime_error((run_dir / "run.db").string() + ": no step is stored yet; train first, then report");
  }
  std::filesystem::path named = std::filesystem::absolute(run_dir).lexically_normal();
  if (named.filename().empty()) named = named.parent_path();
  write_file_atomic(out_html, report_html(run, named.filename().string()));
}

std::string curve_svg(const RunReader& run, const std::string& stage) {
  const Metrics metrics = metrics_of(run, stage);
  std::string charts;
  int x = 0;
  for (const char* metric : {kAccuracy, kLength, kReflections}) {
    const auto found = metrics.find(metric);
    const auto curve = std::find_if(std::begin(kCurves), std::end(kCurves),
                                    [&](const Curve& c) { return std::string_view(c.metric) == metric; });
    if (found == metrics.end()) continue;
    charts += chart_group({.title = curve->title, .points = found->second, .from_zero = true}, x, 0) + "\n";
    x += kChartWidth;
  }
  if (charts.empty()) {
    throw std::invalid_argument(
        fmt::format("stage '{}' has no accuracy, length or reflections to draw; name a stage of kind rl", stage));
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\">\n<style>{2}</style>\n"
      "{3}</svg>\n",
      x, kChartHeight, chart_style(), charts);
}

}  // namespace hone
