// The program in a completion.
//
//   "Here it is:\n```python\nprint(1)\n```\nIt prints 1."   -> print(1)
//   "<think>```python\nbad()\n```</think>    return a + b"   -> "    return a + b", what continues a prompt
//
// What stands before the last </think> does not count. Of the fenced blocks (lines of three or more ` or ~) the last
// one whose tag names the wanted language is taken, else the last one without a known language, else the last one.
// Without any fence it is the last <answer> block, without that the whole text; of a text that begins indented, as the
// body of the prompt's function does, what comes before its first line that is not. A fence that is not closed reaches
// to the end, but when the completion was cut at its length limit there is then no program.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rollout/types.h"
#include "sandbox/sandbox.h"

namespace hone {

struct CodeBlock {
  std::string text;
  std::optional<sandbox::Language> language;  ///< that its tag names
};

/// "python", "py", "python3" / "cpp", "c++", "cc", in any case; empty for others.
std::optional<sandbox::Language> language_named(std::string_view tag);

/// Empty when there is no program. Linear time.
std::optional<CodeBlock> find_code(std::string_view completion, FinishReason reason,
                                   std::optional<sandbox::Language> wanted = {});

}  // namespace hone
