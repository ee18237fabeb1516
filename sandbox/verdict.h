// From what the host saw to a verdict. Pure functions.
#pragma once

#include "sandbox/run.h"
#include "sandbox/sandbox.h"

namespace hone::sandbox {

/// IE whose cause may be gone on a fresh worker.
struct Judged {
  Result result;
  bool retry = false;
};

Judged judge_script(const Job& job, Outcome outcome);

/// OK only if the checker's own status says that the tests ran to their end, and the answer was there until then.
Judged judge_function(const Job& job, Outcome answer, Outcome checker);

/// CE with the compiler's messages, or OK.
Judged judge_compilation(const Job& job, Outcome outcome);

/// Equal but for white space at the ends of lines and empty lines at the end.
bool same_output(std::string_view got, std::string_view expected);

/// IE for this reason.
Result internal_error(std::string reason);

}  // namespace hone::sandbox
