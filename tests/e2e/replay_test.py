"""`hone replay` makes stored steps again: to the bit as they were, and under another reward or loss as a run with these
settings from the start has them. DAPO's dynamic sampling and on-policy distillation survive a kill like everything else.
Standard library only.   python3 tests/e2e/replay_test.py build/release/hone"""
import json
import pathlib
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from runs import MIXTURE_OF_EXPERTS, NOT_TIMED

HONE = ""

RECIPE = """
name: replay
seed: 5
stages:
  - name: base
    kind: base
    task: countdown
    model_config: MIXTURE_OF_EXPERTS
    optimizer: muon
    learning_rate: 4.0e-3
    max_steps: 90
  - {name: rl, kind: rl, model: "${base}", data: "${base}/train.jsonl", reward_funcs: [countdown, format], reward_weights: [1.0, 0.3],
     prompts_per_step: 3, steps_per_generation: 2, num_iterations: 2, num_generations: 8, max_completion_length: 60, beta: 0.01,
     ref_model_sync_steps: 3, router_bias_update_rate: 1.0e-3, dynamic_sampling: reward, max_sampling_rounds: 3,
     optimizer: muon, learning_rate: 4.0e-4, max_steps: 12, save_steps: 4}
  - {name: plain, kind: rl, model: "${base}", data: "${base}/train.jsonl", reward_funcs: [countdown, format], prompts_per_step: 4,
     num_generations: 8, max_completion_length: 60, dtype: bfloat16, learning_rate: 4.0e-4, max_steps: 3, save_steps: 0}
  - {name: adapted, kind: rl, model: "${base}", data: "${base}/train.jsonl", reward_funcs: [countdown, format], prompts_per_step: 4,
     num_generations: 8, max_completion_length: 60, dtype: bfloat16, lora_r: 4, beta: 0.01, learning_rate: 4.0e-3, max_steps: 4, save_steps: 2}
  - {name: student, kind: sft, model: "${base}", logit_teacher: "${rl}", data: DATA, distil_loss: jsd, distil_beta: 0.3,
     on_policy_share: 0.5, max_completion_length: 20, rows_per_step: 6, learning_rate: 1.0e-3, max_steps: 12, save_steps: 2,
     lora_r: 4}
"""
OVERLONG = "soft_overlong_punishment:max_completion_len=60,soft_punish_cache=40"


class ReplayTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        cls.recipe = cls.root / "recipe.yaml"
        rows = [{"prompt": f"{a} {b} 2:{a + b}\n", "completion": f"<think>{a}+{b}={a + b} yes</think><answer>{a}+{b}</answer>"}
                for a in range(3, 9) for b in range(2, 6)]
        (cls.root / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        cls.recipe.write_text(RECIPE.replace("MIXTURE_OF_EXPERTS", MIXTURE_OF_EXPERTS).replace("DATA", str(cls.root / "rows.jsonl")))
        cls.run_dir = cls.root / "run"
        cls.train(cls.run_dir)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def train(cls, run_dir, *more):
        subprocess.run([HONE, "train", cls.recipe, "--run-dir", run_dir, "--threads", "2", *map(str, more)], check=True,
                       stdout=subprocess.DEVNULL, timeout=600)

    def replay(self, *args, run=None, status=0):
        done = subprocess.run([HONE, "replay", run or self.run_dir, *map(str, args)], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, status, done.stderr + done.stdout)
        return done

    def json(self, *args, **options):
        return json.loads(self.replay(*args, "--json", **options).stdout)

    @staticmethod
    def stored(run, stage, step):
        with sqlite3.connect(run / "run.db") as db:
            return dict(db.execute("select name, value from steps where stage = ? and step = ?", [stage, step]).fetchall())

    # ---- as it was ------------------------------------------------------------------------------------------------

    def test_every_step_is_made_again_to_the_bit(self):
        for step, first, weights in ((1, 1, None), (4, 1, "step-000004"), (5, 5, None), (7, 5, None), (8, 5, "step-000008"), (12, 9, "final")):
            seen = self.json("--stage", "rl", "--step", step)
            self.assertEqual((seen["identical"], seen["differences"], seen["first_step"]), (True, [], first))
            self.assertEqual(weights, seen["weights"] and pathlib.Path(seen["weights"]).name)
            stored = self.stored(self.run_dir, "rl", step)
            self.assertGreater(len(seen["recomputed"]), 12)
            for name, value in seen["recomputed"].items():
                self.assertEqual(value, stored[name], name)
            self.assertNotIn("changed", seen)

    def test_bfloat16(self):
        seen = self.json("--stage", "plain", "--step", 3)
        self.assertTrue(seen["identical"] and seen["weights"].endswith("final"))

    def test_adapters(self):
        for step, weights in ((2, "step-000002"), (3, None), (4, "final")):
            seen = self.json("--stage", "adapted", "--step", step)
            self.assertEqual((seen["identical"], seen["differences"]), (True, []))
            self.assertEqual(weights, seen["weights"] and pathlib.Path(seen["weights"]).name)

    def test_text(self):
        text = self.replay("--stage", "rl", "--step", 8).stdout
        self.assertIn("identical to the bit", text)
        self.assertIn("grad_norm", text)
        text = self.replay("--stage", "rl", "--step", 8, "--set", "rl.loss_type=grpo").stdout
        self.assertIn("changed", text)
        self.assertIn("cosine", text)

    def test_nothing_is_written(self):
        before = {p: p.read_bytes() for p in self.run_dir.rglob("*") if p.is_file() and p.name != "run.db-shm"}
        self.replay("--stage", "rl", "--step", 6, "--set", "rl.beta=0.1")
        after = {p: p.read_bytes() for p in self.run_dir.rglob("*") if p.is_file() and p.name != "run.db-shm"}
        self.assertEqual(before.keys(), after.keys())
        for path, content in before.items():
            self.assertEqual(content, after[path], path)

    def test_a_tampered_store_is_told_apart(self):
        run = self.root / "tampered"
        shutil.copytree(self.run_dir, run)
        with sqlite3.connect(run / "run.db") as db:
            key, blob = db.execute("select id, logprobs from rollouts where stage = 'rl' and step = 5 and advantage <> 0").fetchone()
            value, = struct.unpack("<f", blob[:4])
            db.execute("update rollouts set logprobs = ? where id = ?", [struct.pack("<f", value * (1 + 1e-6)) + blob[4:], key])
        seen = self.replay("--stage", "rl", "--step", 8, "--json", run=run, status=1)
        report = json.loads(seen.stdout)
        self.assertFalse(report["identical"])
        self.assertTrue(any("sampling_logp_difference/max" in d and d.startswith("step 5,") for d in report["differences"]), report["differences"])
        self.assertIn("differ", seen.stderr)
        with sqlite3.connect(run / "run.db") as db:
            db.execute("update rollouts set reward = reward + 0.125 where id = ?", [key])
        report = json.loads(self.replay("--stage", "rl", "--step", 5, "--json", run=run, status=1).stdout)
        self.assertIn("step 5: the advantages are not those stored", report["differences"])
        for column, blob, words in (("logprobs", b"", "0 log-probs"), ("token_ids", b"ab", "a value of another type")):
            with sqlite3.connect(run / "run.db") as db:
                db.execute(f"update rollouts set {column} = ? where id = ?", [blob, key])
            self.assertIn(words, self.replay("--stage", "rl", "--step", 5, run=run, status=1).stderr)

    def test_a_model_beside_the_recipe(self):
        """Found again from wherever the replay is asked for."""
        beside = self.root / "beside"
        shutil.copytree(self.run_dir / "stages/base/final", beside / "model")
        plain = RECIPE[RECIPE.index("  - {name: plain"):RECIPE.index("  - {name: adapted")].replace('"${base}"', "model")
        data = self.run_dir / "stages/base/data"
        (beside / "r.yaml").write_text(f"seed: 5\nstages:\n{plain.replace('${base}', str(data))}")
        subprocess.run([pathlib.Path(HONE).resolve(), "train", "beside/r.yaml", "--run-dir", "beside/run"], cwd=self.root, check=True, stdout=subprocess.DEVNULL)
        self.assertTrue(self.json("--step", 2, run=beside / "run")["identical"])

    # ---- as it would have been ------------------------------------------------------------------------------------

    def test_changed_settings_give_what_a_run_with_them_has(self):
        """The first step of a stage has the same rollouts under any loss: a run with other settings from there must store
        what the replay foretells."""
        for change, args in (("loss_type=grpo", []), ("loss_type=cispo", []), ("loss_type=gspo", []), ("loss_type=dr_grpo", []),
                             ("scale_rewards=none", []), ("beta=0.05", []), ("mask_truncated_completions=true", []),
                             (f'reward_funcs=["{OVERLONG}"]', ["--reward", OVERLONG]), ("reward_weights=[1, 0.5]", [])):
            run = self.root / "changed"
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(self.run_dir, run)
            self.train(run, "--from", "plain", "--until", "plain", "--set", f"plain.{change}", "--set", "plain.max_steps=1")
            stored = self.stored(run, "plain", 1)
            seen = self.json("--stage", "plain", "--step", 1, *(args or ["--set", f"plain.{change}"]))
            self.assertTrue(seen["identical"], change)
            self.assertIn("grad_norm", seen["changed"])
            for name, value in seen["changed"].items():
                self.assertEqual(value, stored[name], f"{change}: {name}")
            different = [n for n in ("loss", "grad_norm") if seen["changed"][n] != seen["recomputed"][n]]
            self.assertEqual(bool(different), not change.startswith("beta"), f"{change}: a first step has a KL of 0")

    def test_what_changes_no_gradient_has_the_same_direction(self):
        seen = self.json("--stage", "rl", "--step", 6, "--set", "rl.micro_batch_tokens=512")
        self.assertEqual(seen["changed"]["grad_norm"], seen["recomputed"]["grad_norm"])
        self.assertAlmostEqual(seen["gradient_cosine"], 1, places=12)
        seen = self.json("--stage", "rl", "--step", 6, "--set", "rl.loss_type=grpo")
        self.assertTrue(0 < seen["gradient_cosine"] < 1 - 1e-6, seen["gradient_cosine"])

    def test_refusals(self):
        for words, args in ((["--stage", "rl, plain"], ["--step", 1]),
                            (["no rl stage 'base'"], ["--stage", "base", "--step", 1]),
                            (["steps 1 to 12"], ["--stage", "rl", "--step", 13]),
                            (["temperature", "cannot change"], ["--stage", "rl", "--step", 1, "--set", "rl.temperature=0.5"]),
                            (["learning_rate", "cannot change"], ["--stage", "rl", "--step", 1, "--set", "rl.learning_rate=1"]),
                            (["plain.beta", "stage rl"], ["--stage", "rl", "--step", 1, "--set", "plain.beta=1"]),
                            (["did you mean 'rl.loss_type'", "loss_typ"], ["--stage", "rl", "--step", 1, "--set", "rl.loss_typ=grpo"]),
                            (["formt"], ["--stage", "rl", "--step", 1, "--reward", "formt"]),
                            (["--step", "required"], [])):
            error = self.replay(*args, status=2).stderr
            for word in words:
                self.assertTrue(word in error or word.replace("rl.", "") in error, f"{word}: {error}")

    # ---- dynamic sampling, on-policy distillation -----------------------------------------------------------------

    def test_dynamic_sampling_replaces_groups_that_teach_nothing(self):
        with sqlite3.connect(self.run_dir / "run.db") as db:
            spread = db.execute("select step, prompt_id, max(reward) > min(reward), advantage is null, policy_version from rollouts "
                                "where stage = 'rl' group by step, prompt_id, advantage is null").fetchall()
            rounds = dict(db.execute("select step, value from steps where stage = 'rl' and name = 'dynamic_sampling/rounds'").fetchall())
            flat = dict(db.execute("select step, value from steps where stage = 'rl' and name = 'dynamic_sampling/flat_frac'").fetchall())
        self.assertTrue(any(dropped for *_, dropped, _ in spread), "no group was dropped")
        self.assertTrue(all(not differs for _, _, differs, dropped, _ in spread if dropped), "a group that teaches was dropped")
        self.assertGreater(max(rounds.values()), 1)
        for version in {version for *_, version in spread}:
            kept = [differs for *_, differs, dropped, v in spread if v == version and not dropped]
            lost = [differs for *_, differs, dropped, v in spread if v == version and dropped]
            self.assertEqual(len(kept), 6)
            if not all(kept):  # some flat groups had to fill the rollout: then the rounds were used up
                self.assertEqual(rounds[version + 1], 3)
            self.assertAlmostEqual(flat[version + 1], (kept.count(0) + len(lost)) / (len(kept) + len(lost)))

    def contents(self, run):
        files = {str(p.relative_to(run)): p.read_bytes() for p in sorted((run / "stages").glob("*/final/**/*")) if p.is_file()}
        with sqlite3.connect(run / "run.db") as db:
            return files, *(db.execute(query).fetchall() for query in (
                f"select stage, step, name, value from steps where {NOT_TIMED} order by 1, 2, 3",
                "select * from rollouts order by id", "select * from rewards order by rollout_id, name",
                "select * from prompts order by stage, id"))

    def test_killed_and_resumed_run_has_the_same_bytes(self):
        run = self.root / "killed"
        for wanted in ("rl/checkpoints/step-000004", "student/checkpoints/step-000004", "student/checkpoints/step-000008"):
            process = subprocess.Popen([HONE, "train", self.recipe, "--run-dir", run, "--threads", "2", "--resume"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and not (run / "stages" / wanted).exists():
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.train(run, "--resume")
        for got, expected in zip(self.contents(run), self.contents(self.run_dir)):
            self.assertEqual(got, expected)


if __name__ == "__main__":
    HONE = sys.argv.pop(1)
    unittest.main(verbosity=2)
