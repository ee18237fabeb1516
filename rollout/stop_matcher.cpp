#include "rollout/stop_matcher.h"

#include <algorithm>
#include <stdexcept>

namespace hone {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) throw std::invalid_argument("a stop string is empty; it would end every completion at once");
    longest_ = std::max(longest_, stop.size());
  }
}

bool StopMatcher::append(std::string_view piece) {
  if (is_stopped_) return true;
  const size_t from = text_.size() + 1 > longest_ ? text_.size() + 1 - longest_ : 0;
  text_ += piece;
  size_t begin = text_.npos, end = text_.npos;
  for (const std::string& stop : stops_) {
    const size_t found = text_.find(stop, from);
    if (found == text_.npos) continue;
    const size_t last = found + stop.size();
    if (last > end || (last == end && found > begin)) continue;
    begin = found;
    end = last;
  }
  is_stopped_ = begin != text_.npos;
  if (is_stopped_) text_.resize(begin);
  return is_stopped_;
}

size_t StopMatcher::safe() const {
  if (is_stopped_ || longest_ == 0) return text_.size();
  for (size_t at = text_.size() + 1 > longest_ ? text_.size() + 1 - longest_ : 0; at < text_.size(); ++at) {
    const std::string_view rest = std::string_view(text_).substr(at);
    if (std::any_of(stops_.begin(), stops_.end(), [&](const std::string& s) { return s.starts_with(rest); })) return at;
  }
  return text_.size();
}

}  // namespace hone
