#include "rl/progress.h"

#include <algorithm>
#include <ostream>

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace hone {
namespace {

constexpr int kBarCells = 20;

std::string repeat(const char* piece, int64_t times) {
  std::string out;
  for (int64_t i = 0; i < times; ++i) out += piece;
  return out;
}

std::string bar(int64_t done, int64_t total, bool color) {
  const int64_t filled = total > 0 ? std::clamp<int64_t>(done * kBarCells / total, 0, kBarCells) : 0;
  const std::string full = repeat("━", filled), rest = repeat("─", kBarCells - filled);
  return color ? "\x1b[32m" + full + "\x1b[90m" + rest + "\x1b[0m" : full + rest;
}

/// Columns a line takes: code points without ANSI sequences. All that we print is one column wide.
size_t next_cell(const std::string& text, size_t at, bool& visible) {
  visible = true;
  if (text[at] == '\x1b') {
    visible = false;
    const size_t end = text.find('m', at);
    return end == std::string::npos ? text.size() : end + 1;
  }
  for (++at; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;) ++at;
  return at;
}

std::string cut(const std::string& line, int columns) {
  int width = 0;
  for (size_t at = 0; at < line.size();) {
    bool visible = false;
    const size_t next = next_cell(line, at, visible);
    if (visible && ++width > columns) return line.substr(0, at);
    at = next;
  }
  return line;
}

void add(std::string& line, const std::map<std::string, double>& metrics, const std::string& name, const char* label,
         const char* format) {
  const auto found = metrics.find(name);
  if (found != metrics.end()) line += fmt::format("  {} {}", label, fmt::format(fmt::runtime(format), found->second));
}

}  // namespace

ProgressOptions terminal_options(int fd) {
  ProgressOptions options;
  options.terminal = isatty(fd) == 1;
  winsize size{};
  if (options.terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) options.columns = size.ws_col;
  return options;
}

std::string format_duration(double seconds) {
  const auto s = static_cast<int64_t>(std::clamp(seconds, 0.0, 1e9) + 0.5);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}h{:02}m", s / 3600, s % 3600 / 60);
}

Progress::Progress(std::ostream& out, ProgressOptions options) : out_(out), options_(options) {}

Progress::~Progress() { end(); }

void Progress::set_accuracy(const std::string& reward_name) { accuracy_ = reward_name; }

void Progress::begin(const std::string& stage, int64_t done, int64_t max_steps) {
  end();
  stage_ = stage;
  first_ = done;
  max_steps_ = max_steps;
  start_ = std::chrono::steady_clock::now();
  if (options_.terminal) draw(status(done, {}));
}

std::string Progress::status(int64_t done, const std::map<std::string, double>& metrics) const {
  std::string line = stage_;
  if (options_.terminal) line += "  " + bar(done, max_steps_, options_.color);
  line += fmt::format("  {:>{}}/{}", done, std::to_string(max_steps_).size(), max_steps_);
  add(line, metrics, "reward", "reward", "{:.3f}");
  add(line, metrics, "rewards/" + accuracy_ + "/mean", "acc", "{:.3f}");
  add(line, metrics, "completions/mean_length", "len", "{:.0f}");
  if (!metrics.contains("reward")) add(line, metrics, "loss", "loss", "{:.4f}");
  add(line, metrics, "step_time", "step", "{:.2f}s");
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
  if (done > first_)
    line += "  eta " + format_duration(spent.count() / double(done - first_) * double(max_steps_ - done));
  return line;
}

void Progress::step(int64_t done, const std::map<std::string, double>& metrics) {
  const std::string line = status(done, metrics);
  if (options_.terminal) {
    draw(line);
  } else {
    out_ << line << '\n' << std::flush;
  }
}

void Progress::draw(const std::string& line) {
  last_line_ = line;
  out_ << "\r\x1b[2K" << cut(line, options_.columns - 1) << (options_.color ? "\x1b[0m" : "") << std::flush;
}

void Progress::clear() {
  if (!last_line_.empty()) out_ << "\r\x1b[2K";
}

void Progress::message(const std::string& line) {
  clear();
  out_ << line << '\n' << std::flush;
  if (!last_line_.empty()) draw(last_line_);
}

void Progress::end() {
  if (!last_line_.empty()) out_ << '\n' << std::flush;
  last_line_.clear();
}

}  // namespace hone
