"""Twenty GRPO steps end with the same bytes whatever does the arithmetic: AVX-512 with and without bfloat16, AVX2 or plain C++,
one, two or four threads.
Standard library only.   python3 tests/e2e/bits_test.py build/release/hone"""
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import unittest

from runs import MIXTURE_OF_EXPERTS

HONE = ""

BASE = """
name: bits
seed: 3
stages:
  - {name: base, kind: base, task: countdown, model_config: %s, tokens_per_step: 512, optimizer: muon, learning_rate: 4.0e-3, max_steps: 5}
  - {name: rl, kind: rl, model: "${base}", data: "${base}/train.jsonl", prompts_per_step: 4, num_generations: 4,
     reward_funcs: ["soft_overlong_punishment:max_completion_len=40,soft_punish_cache=39"],
     max_completion_length: 40, learning_rate: 1.0e-3, max_steps: 20, dtype: %s}
"""
MODELS = {
    "mixture of experts": MIXTURE_OF_EXPERTS,
    "dense": """{model_type: llama, hidden_size: 52, num_hidden_layers: 2, num_attention_heads: 4, head_dim: 14, num_key_value_heads: 2,
      intermediate_size: 90, max_position_embeddings: 320, tie_word_embeddings: true}""",
}


def has(instruction_set):
    return subprocess.run([HONE, "score", "--reward", "exact", "--instruction-set", instruction_set], input="", capture_output=True,
                          text=True).returncode == 0


class BitsTest(unittest.TestCase):
    def run_of(self, root, name, *flags):
        subprocess.run([HONE, "train", root / "recipe.yaml", "--run-dir", root / name, *flags], check=True, stdout=subprocess.DEVNULL)
        with sqlite3.connect(root / name / "run.db") as db:
            rollouts = db.execute("select token_ids, logprobs, reward from rollouts order by step, prompt_id, sample").fetchall()
            gap = db.execute("select max(value) from steps where name = 'sampling/sampling_logp_difference/max'").fetchone()[0]
            rewards = db.execute("select count(distinct reward) from rollouts").fetchone()[0]
        self.assertEqual(gap, 0.0)
        self.assertGreater(rewards, 1, "rewards that do not differ teach nothing, and equal bytes would prove nothing")
        return [p.read_bytes() for p in sorted((root / name / "stages" / "rl" / "final").glob("*.safetensors"))], rollouts

    def test_processors_and_threads(self):
        sets = [s for s in ("avx512bf16", "avx512", "avx2", "generic") if has(s)]
        print(f"instruction sets: {', '.join(sets)}")
        for model, dtype in (("mixture of experts", "float32"), ("dense", "float32"), ("dense", "bfloat16")):
            with tempfile.TemporaryDirectory() as folder:
                root = pathlib.Path(folder)
                (root / "recipe.yaml").write_text(BASE % (MODELS[model], dtype))
                expected = self.run_of(root, "expected", "--threads", "1", "--instruction-set", sets[0])
                for threads, instruction_set in [(2, sets[0]), (4, sets[0])] + [(2, s) for s in sets[1:]]:
                    got = self.run_of(root, f"{threads}-{instruction_set}", "--threads", str(threads), "--instruction-set", instruction_set)
                    with self.subTest(model=model, dtype=dtype, threads=threads, instruction_set=instruction_set):
                        self.assertEqual(got, expected)
                other = self.run_of(root, "other", "--threads", "1", "--set", "rl.learning_rate=1.001e-3")
                self.assertNotEqual(other[0], expected[0], "the control must differ")


if __name__ == "__main__":
    HONE = sys.argv.pop(1)
    unittest.main(verbosity=2)
