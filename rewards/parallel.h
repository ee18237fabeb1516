// A loop over independent items on several threads. Results go into slots of the caller's, so their order is kept.
#pragma once

#include <cstddef>
#include <functional>

namespace hone {

/// Calls work(0) .. work(count - 1), each once, on up to `threads` threads (at most one per item; fewer than 2: on the
/// caller's). When calls throw, the exception of the smallest index is rethrown here after every thread has ended;
/// all smaller indices have then been worked on, later ones perhaps not.
void for_each_index(size_t count, int threads, const std::function<void(size_t)>& work);

}  // namespace hone
