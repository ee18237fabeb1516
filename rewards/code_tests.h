// The tests of a data row, as jobs for the sandbox that only lack a program. Columns that are JSON text are read as the
// JSON they hold. The first of these forms that a row has counts:
//
//   test, entry_point         HumanEval: Python that defines check(candidate); the prompt's text (or column
//   code_prompt)
//                             comes before the program. Without entry_point: Python that asserts.
//   test_list, assert_case, test_cases, tests, challenge_test_list
//                             MBPP, verl, AceCode: lists of asserts, taken together; test_setup_code and test_imports
//                             come before them; also inside ground_truth
//   verification_info         open-r1: {"language", "test_cases"}, as next
//   test_cases, tests         [{"input", "output", "type"?, "fn_name"?}, ..], or the next form
//   input_output, ground_truth, reward_model.ground_truth, tests, or the row itself
//                             verl/PRIME, APPS, TACO: {"inputs": [..], "outputs": [..], "fn_name"?}; also "input",
//                             "output"
//   public_tests, private_tests   CodeContests: {"input": [..], "output": [..]}, taken together
//
// Input and output of a program are text (a list of lines is joined). With a `fn_name` they are values: the arguments
// as a list, as an object of keyword arguments, or as text with one argument in JSON a line; the result as JSON. Text
// that is no JSON stands for itself. A result is right when it equals the output by Python's ==, tuples taken for lists
// and keys of objects for text; an output that is a list of one may hold the result (APPS writes it so).
#pragma once

#include <optional>
#include <vector>

#include "rollout/types.h"
#include "sandbox/sandbox.h"

namespace hone {

struct CodeTests {
  std::optional<sandbox::Language> language;  ///< that the row asks for
  std::vector<sandbox::Job> jobs;             ///< in the row's order, without `program`
};

/// How calls of one function are grouped: one job for all, or one each, so that they can be counted.
enum class Grouping { kTogether, kEach };

/// Empty when the row has no tests. Throws std::runtime_error naming the column that has another type than stated.
std::optional<CodeTests> read_code_tests(const Prompt& prompt, Grouping grouping);

/// The job with its program in place. Where the tested function is a method of the program's class Solution, that is
/// what is tested.
sandbox::Job with_program(sandbox::Job job, const std::string& program);

}  // namespace hone
