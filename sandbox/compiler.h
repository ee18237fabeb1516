// C++ source in, a program in memory out; the compiler is jailed like any program.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "sandbox/descriptor.h"
#include "sandbox/verdict.h"
#include "sandbox/worker.h"

namespace hone::sandbox {

/// A compiled program, shared by the runs that use it.
using Binary = std::shared_ptr<const Descriptor>;

struct Compiled {
  Binary binary;  ///< null: `judged` says why
  Judged judged;
};

/// Keeps a precompiled <bits/stdc++.h>, made when the first program asks for that header, and the last few programs.
/// Thread-safe; the worker is the caller's own.
class Compiler {
 public:
  Compiler(std::string program, const std::string& flags);

  Compiled compile(Worker& worker, const Job& job, const std::vector<int>& stops);

 private:
  Outcome run(Worker& worker, const Budget& budget, const std::vector<std::string>& arguments,
              const std::string& source, int output_fd, int header_fd, const std::vector<int>& stops) const;
  int header(Worker& worker, const std::vector<int>& stops);
  Binary find(const std::string& source);
  void keep(const std::string& source, const Binary& binary);

  std::string program_;
  std::vector<std::string> flags_;
  std::mutex header_mutex_, programs_mutex_;
  bool header_tried_ = false;
  Descriptor header_;  ///< empty where it could not be made: programs then compile without
  std::map<std::string, Binary> programs_;
  std::deque<std::string> order_;  ///< of `programs_`, oldest first
};

}  // namespace hone::sandbox
