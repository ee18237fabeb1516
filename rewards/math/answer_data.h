// What an Answer holds; for the files of this folder.
#pragma once

#include "rewards/math/expr.h"

namespace hone {

struct AnswerData {
  Arena arena;
  Expr root = nullptr;
};

}  // namespace hone
