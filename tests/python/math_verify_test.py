"""`hone score --reward math` beside the live PyPI math-verify: texts as models write them (reasoning, several boxes, anchors,
units, currency, percent, thousands commas) around MATH and GSM8K answers, right and wrong ones. Agreement is asked for,
with upstream_quirks on and off.

    .venv-peers/bin/python tests/python/math_verify_test.py build/release/hone [PAIRS [SEED]]
"""

import json
import pathlib
import random
import subprocess
import sys
import unittest
import warnings

try:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
except ImportError:
    print("skipped: math-verify is not installed beside the peers")
    sys.exit(77)

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "math"
HONE, PAIRS, SEED = "", 800, 1

REASONING = [
    "First, we note that $a^2+b^2=c^2$.", "Let $x$ be the number of apples.", "We have 3 cases.", "Since 5 > 3, this holds.",
    "Then \\[ y = \\frac{3}{4}x + 2. \\]", "Substituting, $2x+3=11$, so $x=4$.", "Step 1: compute 12*4 = 48.",
    "So $\\boxed{7}$ is one candidate.", "Wait, let me check: 1,234 + 1 = 1,235.", "It costs $5 per item.",
    "In 2020, there were 300 people.", "That is 50% of the total.", "Hence the ratio is 3:4.", "Note that $(1,2)$ is a point.",
]
FORMULA_ENDINGS = [
    "The answer is ${}$.", "Therefore, the answer is $\\boxed{{{}}}$.", "\\boxed{{{}}}", "Answer: ${}$", "**Answer:** ${}$",
    "Final Answer: The final answer is ${}$. I hope it is correct.", "So the final answer is: \\[\\boxed{{{}}}\\]", "\\[ {} \\]",
    "$${}$$", "Thus, \\({}\\).", "$x = {}$", "so $x={}$ is the solution.", "\\boxed{{x = {}}}", "$\\boxed{{{}}}$, as desired.",
    "Hence ${}$ cm.", "$\\boxed{{{}\\text{{ cm}}}}$", "Answer: \\boxed{{{}}}", "\\boxed{{1}}, \\boxed{{{}}}",
    "$\\displaystyle {}$", "\\( \\boxed{{ {} }} \\)",
]
PROSE_ENDINGS = ["the answer is: {}", "Answer: {}", "#### {}", "= {}", "The answer is {}.", "She needs {} of them.", "**{}**", "{}"]
# Where upstream is beside the point, and upstream_quirks off is not. (It finds a bare \\fbox no answer.)
QUIRKY_ENDINGS = ["${}$ percent", "$f(x)={}$", "${}.$", "\\boxed{{\\text{{{}}}}}", "It is not ${}$.", "{}% of it", "\\fbox{{{}}}"]


def rows_of(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def dressed(number, rng):
    """A GSM8K answer as it is written in prose."""
    return rng.choice(["{}", "{}", "{:,}", "${:,}", "{} dollars", "{:,.2f}", "{}.00", "{} km"]).format(number)


def wrong(text, rng):
    """Another answer: a digit changed, or a 1 put in front."""
    digits = [i for i, c in enumerate(text) if c.isdigit()]
    if not digits:
        return "1" + text
    i = rng.choice(digits)
    return text[:i] + str((int(text[i]) + rng.randint(1, 9)) % 10) + text[i + 1 :]


def make_pairs(count, seed):
    rng = random.Random(seed)
    maths = sorted({row["gold"].strip("$") for row in rows_of("oracle_cases.jsonl")})
    gsm8k = rows_of("gsm8k_rows.jsonl")
    pairs = []
    for number in range(count):
        if rng.random() < 0.3:
            row = rng.choice(gsm8k)
            gold = row["answer"]
            answer = dressed(int(gold) + (0 if rng.random() < 0.7 else rng.randint(1, 9)), rng)
            text, endings = row["solution"].split("####")[0] if rng.random() < 0.4 else "", PROSE_ENDINGS
        else:
            gold = rng.choice(maths)
            answer = gold if rng.random() < 0.6 else wrong(gold, rng) if rng.random() < 0.6 else rng.choice(maths)
            text, endings = "", FORMULA_ENDINGS
        quirky = rng.random() < 0.1
        text += " ".join(rng.choices(REASONING, k=rng.randint(0, 6))) + rng.choice([" ", "\n", "\n\n"])
        pairs.append({"id": number, "gold": f"${gold}$", "pred": text + rng.choice(QUIRKY_ENDINGS if quirky else endings).format(answer), "quirky": quirky,
                      "config": {"match_types": ["latex", "expr"], "boxed_match_priority": rng.choice([0, 50])}})
    return pairs


def upstream(pair):
    targets = [LatexExtractionConfig(boxed_match_priority=pair["config"]["boxed_match_priority"]), ExprExtractionConfig()]
    return bool(verify(parse(pair["gold"], targets), parse(pair["pred"], targets)))


def score(pairs, quirks):
    rows = [dict(pair, config=dict(pair["config"], upstream_quirks=quirks)) for pair in pairs]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([HONE, "score", "--reward", "math"], input=text, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class MathVerifyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        warnings.simplefilter("ignore")
        cls.pairs = make_pairs(PAIRS, SEED)
        cls.expected = [upstream(pair) for pair in cls.pairs]

    def agree(self, quirks):
        misses = []
        for pair, expected, result in zip(self.pairs, self.expected, score(self.pairs, quirks), strict=True):
            self.assertEqual(pair["id"], result["id"])
            if pair["quirky"] and not quirks:
                continue
            if (result["verdict"] == "correct") != expected:
                misses.append(f"upstream {expected}: {pair['gold']} | {pair['pred'][-200:]!r}: {result['reason']}")
        self.assertLessEqual(len(misses), 0.015 * len(self.pairs), "\n".join(misses))

    def test_the_cases_are_a_mixture(self):
        self.assertTrue(0.3 < sum(self.expected) / len(self.expected) < 0.8, sum(self.expected))

    def test_agrees_with_quirks(self):
        self.agree(quirks=True)

    def test_agrees_without_quirks(self):
        self.agree(quirks=False)


if __name__ == "__main__":
    HONE = sys.argv[1]
    PAIRS = int(sys.argv[2]) if len(sys.argv) > 2 else PAIRS
    SEED = int(sys.argv[3]) if len(sys.argv) > 3 else SEED
    unittest.main(argv=sys.argv[:1])
