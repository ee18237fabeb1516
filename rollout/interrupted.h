// What gives up a step in progress and keeps what was learnt before it: a request to stop, or a failure of the program
// that embeds the run. Training stages save a checkpoint before they let it pass.
#pragma once

#include <stdexcept>
#include <stop_token>

namespace hone {

struct Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws Interrupted when a stop was requested.
inline void check_stop(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Interrupted("stopped on request; the run goes on with --resume");
}

}  // namespace hone
