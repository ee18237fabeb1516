// What a person sees of a running stage: on a terminal one line that is redrawn, elsewhere a plain line a step.
//
//   rl  ━━━━━━────────────  12/40  reward 0.531  acc 0.480  len 104  eta 1m20s
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>

namespace hone {

struct ProgressOptions {
  bool terminal = false;  ///< redraw one line; else a line a step
  bool color = false;     ///< ANSI colours; the caller has looked at NO_COLOR
  int columns = 100;      ///< width of the terminal; the line never wraps
};

/// Whether the file descriptor is a terminal, and its width (color is left to the caller).
ProgressOptions terminal_options(int fd);

/// "1m20s", "2h05m", "8s".
std::string format_duration(double seconds);

/// Not thread-safe. The stream must outlive it.
class Progress {
 public:
  Progress(std::ostream& out, ProgressOptions options);
  /// Ends an unfinished line.
  ~Progress();

  /// A stage starts (or goes on after `done` of its `max_steps` steps).
  void begin(const std::string& stage, int64_t done, int64_t max_steps);
  /// One step is done: `done` so far. Shows reward, rewards/<accuracy>/mean, completions/mean_length, or else the loss.
  void step(int64_t done, const std::map<std::string, double>& metrics);
  /// The stage is over.
  void end();
  /// A line for the reader, above the progress line.
  void message(const std::string& line);

  /// Which reward is called accuracy; the first of a recipe's reward_funcs.
  void set_accuracy(const std::string& reward_name);

 private:
  std::string status(int64_t done, const std::map<std::string, double>& metrics) const;
  void draw(const std::string& line);
  void clear();

  std::ostream& out_;
  ProgressOptions options_;
  std::string stage_, accuracy_, last_line_;
  int64_t first_ = 0, max_steps_ = 0;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace hone
