"""The math checker beside PyPI math-verify (0.8.0, latex2sympy2_extended 1.11.0, SymPy 1.14), in the same run.

    .venv-peers/bin/python bench/math_vs_math_verify.py build/release/bin/math_pairs [--json FILE] [--quick]

Whole pipeline on both sides: read the gold answer, read the prediction, compare. math-verify's caches (of parsed formulas
and of SymPy's simplifications) are cleared between pairs, as a training run never sees a pair twice; its one-time start
(import, first parse) is not counted. Its wall time is taken after a warm-up pass over 20 pairs. Sets: the published cases,
a sample of the oracle's, and GSM8K rows (gold: the number; prediction: the worked solution). Let nothing else run.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "math"


def rows_of(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def pair_sets(quick):
    oracle = rows_of("oracle_cases.jsonl")
    random.Random(1).shuffle(oracle)
    gsm8k = [{"gold": row["answer"], "pred": row["solution"]} for row in rows_of("gsm8k_rows.jsonl")]
    sets = {"cases": rows_of("cases.jsonl"), "oracle": oracle[: 100 if quick else 600], "gsm8k": gsm8k}
    return {name: rows[:40] if quick else rows for name, rows in sets.items()}


class MathVerify:
    def __init__(self):
        import math_verify
        import math_verify.parser
        from sympy.core.cache import clear_cache

        self.lib, self.clear_sympy = math_verify, clear_cache
        cached = ("parse_latex_cached", "parse_expr_cached", "extract_latex")
        self.caches = [getattr(math_verify.parser, name) for name in cached]

    def targets(self, config):
        makers = {
            "latex": lambda: self.lib.LatexExtractionConfig(boxed_match_priority=config.get("boxed_match_priority", 50)),
            "expr": self.lib.ExprExtractionConfig,
        }
        return [makers[kind]() for kind in config.get("match_types", ["latex", "expr"])]

    def judge(self, row):
        config = row.get("config", {})
        targets = self.targets(config)
        gold = self.lib.parse(row["gold"], targets)
        options = {k: config[k] for k in ("float_rounding", "numeric_precision", "strict", "allow_set_relation_comp") if k in config}
        return self.lib.verify(gold, self.lib.parse(row["pred"], targets), **options)

    def time_us(self, row):
        for cache in self.caches:
            cache.cache_clear()
        self.clear_sympy()
        start = time.perf_counter()
        verdict = self.judge(row)
        return (time.perf_counter() - start) * 1e6, verdict


def measure_peer(peer, rows):
    for row in rows[:20]:
        peer.judge(row)
    timed = [peer.time_us(row) for row in rows]
    times = sorted(t for t, _ in timed)
    return {"mean_us": statistics.fmean(times), "p50_us": times[len(times) // 2], "correct": sum(v for _, v in timed)}


def measure_hone(binary, rows):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
        file.flush()
        out = subprocess.run([binary, file.name, "--repeat", "9"], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    peer, results = MathVerify(), {}
    print(f"{'set':8} {'pairs':>5} {'peer mean':>10} {'p50':>9} {'hone mean':>10} {'p50':>7} {'p99':>7} {'ratio':>7} {'of p50':>7}"
          f" {'pairs/s 1':>10} {'2 threads':>10} {'KB':>6}   (us)")
    for name, rows in pair_sets(args.quick).items():
        theirs, ours = measure_peer(peer, rows), measure_hone(args.binary, rows)
        results[name] = {"math_verify": theirs, "hone": ours}
        print(f"{name:8} {len(rows):5} {theirs['mean_us']:10.0f} {theirs['p50_us']:9.0f} {ours['mean_us']:10.2f} {ours['p50_us']:7.2f}"
              f" {ours['p99_us']:7.1f} {theirs['mean_us'] / ours['mean_us']:6.0f}x {theirs['p50_us'] / ours['p50_us']:6.0f}x"
              f" {ours['pairs_per_s_1']:10.0f} {ours['pairs_per_s_2'] / ours['pairs_per_s_1']:9.2f}x {ours['worst_pair_kb']:6}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
