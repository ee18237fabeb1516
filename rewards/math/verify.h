// Is a prediction's answer the gold answer? Text in, a typed result out; nothing throws for what a model wrote.
//
//   Gold gold("$\\frac12$", {});
//   gold.verify("The answer is 0.5")                     correct
//   gold.verify("It is not $0.5$")                       wrong: denied, so no answer is left
//   Gold("what?", {}).verify("5")                        not applicable: the gold answer cannot be read
//   Gold("5", {}).verify("$\\sum_{k=1}^{9999}\\frac1k$")   undecided, with the limit that was reached
//
// 1. Where the answer may stand: rewards/math/extract.h, in order. 2. The first candidate that can be read is the
// answer (rewards/math/math.h). 3. It is compared with the gold answer, value with value; and the texts of the first
// candidates, normalised, with each other, so that two formulas that nobody can read are equal when written alike.
//
// With `upstream_quirks` that is all, and the verdict is Math-Verify's. Without (for training):
//   - only what the completion commits to counts (rewards/math/commitment.h);
//   - a box or an anchored answer that cannot be read is the answer: nothing further down the text is tried;
//   - what follows the last "#### " (GSM8K) goes before everything but boxes;
//   - formulas need no math environment when they are all there is ("\sqrt{2}", "x=3");
//   - comparison makes no allowance that is mathematically wrong.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/find_answer.h"
#include "rewards/reward.h"

namespace hone {

struct MathScore {
  Score score;
  std::string explanation;  ///< what was found where in gold and prediction, and how it compared; lines
};

/// A gold answer, read once for all predictions that are compared with it. Immutable: any number of threads may verify.
class Gold {
 public:
  Gold(std::string_view text, MathConfig config);
  ~Gold();
  Gold(Gold&&) noexcept;
  Gold& operator=(Gold&&) noexcept;

  Score verify(std::string_view prediction) const;
  MathScore explain(std::string_view prediction) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

/// What extraction returns, as Math-Verify's parse() prints it: the value, then the text it was read from.
std::vector<std::string> extract_answer(std::string_view text, const MathConfig& config);

}  // namespace hone
