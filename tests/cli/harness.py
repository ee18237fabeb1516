"""Runs the hone program for the tests beside this file: standard library only.

    python3 tests/cli/verbs_test.py build/release/hone
"""
import atexit
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HONE = ""
ROOT = pathlib.Path(__file__).resolve().parents[2]

RECIPE = """
name: tiny
seed: 3
stages:
  - name: base
    kind: base
    task: countdown
    model_config: %s
    learning_rate: 1.0e-3
    max_steps: 2
  - {name: before, kind: eval, model: "${base}", data: "${base}/heldout.jsonl", reward_funcs: [countdown, format],
     num_generations: 2, limit: 4, max_completion_length: 32}
  - {name: rl, kind: rl, model: "${base}", data: "${base}/train.jsonl", reward_funcs: [countdown], prompts_per_step: 2,
     num_generations: 4, max_completion_length: 24, max_steps: 2, reflection_words: [" wait"]}
"""
DENSE = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 96, "tie_word_embeddings": True}
EXPERTS = {"model_type": "deepseek_v3", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
           "intermediate_size": 64, "max_position_embeddings": 96, "moe_intermediate_size": 16,
           "first_k_dense_replace": 1, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
           "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "tie_word_embeddings": True,
           "num_nextn_predict_layers": 1}


def hone(*args, stdin="", **options):
    """The finished process; arguments may be paths and numbers."""
    command = [HONE, *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300, **options)


def read_jsonl(text):
    return [json.loads(line) for line in text.splitlines()]


def write_jsonl(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def snapshot(folder):
    """Every file under a folder with its bytes, but for SQLite's shared memory, which readers use."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(("-shm", "-wal")))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


class HoneTest(unittest.TestCase):
    """Two tiny runs, made once for all tests of a file: `run_dir` (dense), `moe_run` (experts; the base stage only)."""

    work = None

    @classmethod
    def setUpClass(cls):
        if HoneTest.work is None:
            HoneTest.work = pathlib.Path(tempfile.mkdtemp(prefix="hone-cli-"))
            atexit.register(shutil.rmtree, HoneTest.work)
            HoneTest.make_runs(HoneTest)

    @staticmethod
    def make_runs(cls):
        cls.recipe, cls.moe_recipe = cls.work / "tiny.yaml", cls.work / "moe.yaml"
        cls.run_dir, cls.moe_run = cls.work / "run", cls.work / "moe"
        cls.recipe.write_text(RECIPE % json.dumps(DENSE))
        cls.moe_recipe.write_text(RECIPE % json.dumps(EXPERTS))
        for args in ((cls.recipe, "--run-dir", cls.run_dir), (cls.moe_recipe, "--run-dir", cls.moe_run, "--until", "base")):
            done = hone("train", *args)
            assert done.returncode == 0, done.stderr
        cls.stage = cls.run_dir / "stages" / "base"
        cls.model = cls.stage / "final"
        cls.heldout = cls.stage / "data" / "heldout.jsonl"

    def setUp(self):
        self.tmp = self.work / self.id().split(".")[-1]
        self.tmp.mkdir()

    def ok(self, *args, **options):
        """Standard output of a command that must succeed without a word on standard error."""
        done = hone(*args, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), args)
        return done.stdout

    def refused(self, status, words, *args, **options):
        """The command must end with `status` and one line on standard error that holds all of `words`."""
        done = hone(*args, **options)
        self.assertEqual(done.returncode, status, (args, done.stderr))
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("hone: "), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        return done

    def copy_of_model(self):
        copy = self.tmp / "model"
        shutil.copytree(self.model, copy)
        return copy


def main():
    global HONE
    HONE = os.path.abspath(sys.argv.pop(1))
    unittest.main(module="__main__")
