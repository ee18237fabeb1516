"""A run killed with SIGKILL at any moment and resumed ends with the bytes of one that was never stopped: final/*, data/*,
made_by.json, and every row of run.db but times. Standard library only.   python3 tests/e2e/resume_test.py build/release/hone"""
import hashlib
import json
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

from runs import MIXTURE_OF_EXPERTS, NOT_TIMED

HONE = ""

RECIPE = """
name: resume
seed: 5
stages:
  - name: base
    kind: base
    task: countdown
    model_config: MIXTURE_OF_EXPERTS
    optimizer: muon
    learning_rate: 4.0e-3
    router_bias_update_rate: 1.0e-3
    max_steps: 90
    save_steps: 7
  - {name: rl, kind: rl, model: "${base}", data: "${base}/train.jsonl", reward_funcs: [countdown, format], prompts_per_step: 4,
     steps_per_generation: 2, num_generations: 8, max_completion_length: 60, beta: 0.01, ref_model_sync_steps: 4,
     learning_rate: 4.0e-4, max_steps: 12, save_steps: 2}
  - {name: after, kind: eval, model: "${rl}", data: "${base}/heldout.jsonl", reward_funcs: [countdown], limit: 20,
     num_generations: 4, max_completion_length: 60}
  - {name: samples, kind: generate, model: "${rl}", data: "${base}/train.jsonl", reward_funcs: [countdown], limit: 60,
     prompts_per_step: 4, num_generations: 4, max_completion_length: 60}
  - {name: kept, kind: filter, data: "${samples}/rows.jsonl", correct_only: false, max_per_prompt: 2, limit: 50}
  - {name: mixture, kind: merge, data: ["${kept}/rows.jsonl", "${samples}/rows.jsonl"], weights: [3, 1], num_rows: 40}
  - {name: student, kind: distil, teacher: "${rl}", data: "${mixture}/rows.jsonl", tokens_per_step: 512, max_steps: 20, save_steps: 3,
     model_config: {model_type: llama, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64,
                    max_position_embeddings: 320}}
"""


class ResumeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        cls.recipe = cls.root / "recipe.yaml"
        cls.recipe.write_text(RECIPE.replace("MIXTURE_OF_EXPERTS", MIXTURE_OF_EXPERTS))
        start = time.monotonic()
        cls.run_to_end("whole")
        cls.seconds = time.monotonic() - start
        cls.expected = cls.contents("whole")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def command(cls, name, *more):
        return [HONE, "train", str(cls.recipe), "--run-dir", str(cls.root / name), "--threads", "2", "--resume", *more]

    @classmethod
    def run_to_end(cls, name):
        subprocess.run(cls.command(name), check=True, stdout=subprocess.DEVNULL, timeout=600)

    @classmethod
    def contents(cls, name):
        run = cls.root / name
        files = {str(p.relative_to(run)): p.read_bytes() for pattern in ("*/final/*", "*/data/*", "*/made_by.json")
                 for p in sorted((run / "stages").glob(pattern))}
        with sqlite3.connect(run / "run.db") as db:
            assert db.execute("pragma integrity_check").fetchone() == ("ok",)
            return {
                "files": files,
                "steps": db.execute(f"select stage, step, name, value from steps where {NOT_TIMED} order by 1, 2, 3").fetchall(),
                "rollouts": db.execute("select * from rollouts order by stage, step, prompt_id, sample").fetchall(),
                "rewards": db.execute("select * from rewards order by rollout_id, name").fetchall(),
                "prompts": db.execute("select * from prompts order by stage, id").fetchall(),
            }

    def kill_when(self, name, due):
        """Starts or resumes the run and kills it as soon as due() says so; False when it ended before."""
        process = subprocess.Popen(self.command(name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if due():
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.0005)
        return False

    def expect_same(self, name):
        self.run_to_end(name)
        got = self.contents(name)
        for key, value in self.expected.items():
            self.assertEqual(got[key], value, f"{name}: {key} differ")

    def test_random_moments(self):
        source = random.Random(20261123)
        kills = 0
        for moment in sorted(source.uniform(0.05, 0.95) for _ in range(5)):
            deadline = time.monotonic() + moment * self.seconds / 5
            kills += self.kill_when("random", lambda: time.monotonic() > deadline)
        self.assertGreaterEqual(kills, 3)
        self.expect_same("random")

    def test_inside_checkpoint_writes(self):
        for stage, least in (("base", 2), ("rl", 4)):
            folder = self.root / "checkpoint" / "stages" / stage / "checkpoints"
            writing = lambda: (folder.exists() and len(list(folder.glob("step-*[0-9]"))) >= least // 2
                               and any(".tmp-" in p.name for p in folder.iterdir()))
            self.assertTrue(self.kill_when("checkpoint", writing), f"no checkpoint write of {stage} was caught")
        self.expect_same("checkpoint")

    def test_two_kills_in_one_stage_and_one_in_the_evaluation(self):
        final = self.root / "stages-end" / "stages"
        self.kill_when("stages-end", lambda: (final / "base" / "final").exists())
        self.kill_when("stages-end", lambda: (final / "rl" / "checkpoints" / "step-000004").exists())
        self.kill_when("stages-end", lambda: (final / "rl" / "final").exists())
        self.expect_same("stages-end")

    def test_the_comparison_can_fail(self):
        """Another seed must not give the same contents."""
        subprocess.run(self.command("other", "--set", "seed=6"), check=True, stdout=subprocess.DEVNULL, timeout=600)
        other = self.contents("other")
        for key in ("files", "steps", "rollouts"):
            self.assertNotEqual(other[key], self.expected[key], key)
        self.assertEqual(other["files"].keys(), self.expected["files"].keys())
        for made in ("final/model.safetensors", "data/rows.jsonl", "made_by.json"):
            self.assertTrue(any(name.endswith(made) for name in other["files"]), made)

    def test_kills_in_the_data_stages_and_the_student(self):
        stages = self.root / "data" / "stages"
        steps = lambda n: (self.root / "data" / "run.db").exists() and self.steps_of("data", "samples") >= n
        for due in (lambda: steps(3), lambda: steps(9), lambda: (stages / "kept" / "data").exists(),
                    lambda: (stages / "student" / "checkpoints" / "step-000006").exists()):
            self.assertTrue(self.kill_when("data", due))
        self.expect_same("data")

    def steps_of(self, name, stage):
        with sqlite3.connect(f"file:{self.root / name / 'run.db'}?mode=ro", uri=True) as db:
            try:
                return db.execute("select count(distinct step) from steps where stage = ?", [stage]).fetchone()[0]
            except sqlite3.OperationalError:  # not set up yet
                return 0

    def test_repeating_from_a_stage_ends_with_the_same_bytes(self):
        """Even when the repetition is cut short: no later stage stays that rests on one that is gone."""
        self.run_to_end("again")
        process = subprocess.Popen([*self.command("again"), "--from", "rl"], stdout=subprocess.DEVNULL)
        while process.poll() is None and (self.root / "again" / "stages" / "student").exists():
            time.sleep(0.0005)
        process.kill()
        process.wait()
        stages = ["base", "rl", "after", "samples", "kept", "mixture", "student"]
        there = [(self.root / "again" / "stages" / name).exists() for name in stages]
        self.assertEqual(there, sorted(there, reverse=True), "a stage is left without one before it")
        self.expect_same("again")

    def test_repeating_with_other_settings_never_mixes_them(self):
        """Cut short while old stages go, the run is still the old recipe's, or all of what follows is the new one's."""
        change, outcomes = ["--set", "student.learning_rate=0.002"], set()
        command = lambda name, *flags: [HONE, "train", str(self.recipe), "--run-dir", str(self.root / name), "--threads", "2", *change, *flags]
        run = lambda *args: subprocess.run(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600).returncode
        shutil.copytree(self.root / "whole", self.root / "changed")
        self.assertEqual(run("changed", "--from", "student"), 0)
        expected = self.contents("changed")
        self.assertNotEqual(expected["files"], self.expected["files"])
        for i in range(8):
            shutil.rmtree(self.root / "cut", ignore_errors=True)
            shutil.copytree(self.root / "whole", self.root / "cut")
            process = subprocess.Popen(command("cut", "--from", "student"), stdout=subprocess.DEVNULL)
            folder, before = self.root / "cut/stages", sorted(p.name for p in (self.root / "cut/stages").iterdir())
            while process.poll() is None and sorted(p.name for p in folder.iterdir()) == before:
                pass
            time.sleep(i * 0.0005)
            process.kill()
            process.wait()
            outcomes.add(status := run("cut", "--resume"))
            if status != 0:
                self.assertEqual((status, run("cut", "--from", "student")), (2, 0))
            self.assertEqual(self.contents("cut"), expected)
        self.assertLessEqual(outcomes, {0, 2})

    def test_lineage_leads_from_the_student_to_the_rollouts_and_back(self):
        run = self.root / "whole"
        tree = self.inspect(run, "student")
        data = next(p["from"] for p in tree["parents"] if p["key"] == "data")
        ids = [i for first, last in data["rollouts"]["data"] for i in range(first, last + 1)]
        self.assertEqual(data["stage"], "mixture")
        rows = [json.loads(line) for line in (run / "stages/mixture/data/rows.jsonl").read_text().splitlines()]
        self.assertEqual(set(ids), {row["rollout_id"] for row in rows})
        with sqlite3.connect(run / "run.db") as db:
            for row in rows:
                self.assertEqual(db.execute("select stage, text from rollouts where id = ?", [row["rollout_id"]]).fetchone(),
                                 ("samples", row["completion"]))
            of_rl = db.execute("select min(id) from rollouts where stage = 'rl'").fetchone()[0]
        rollout = self.inspect(run, str(ids[0]))
        self.assertIn("mixture", rollout["in"])
        self.assertEqual((rollout["sampled_by"], rollout["taught"]), ("${rl}", ["student"]))
        self.assertEqual(self.inspect(run, str(of_rl))["taught"], ["rl"])
        self.assertIn("student", self.inspect(run, str(of_rl))["downstream"])
        weights = (run / "stages/rl/final/model.safetensors").read_bytes()
        teacher = next(p for p in tree["parents"] if p["key"] == "teacher")
        self.assertEqual(teacher["sha256"], hashlib.sha256(weights).hexdigest())

    def test_lineage_does_not_take_the_ids_of_another_run_for_its_own(self):
        """Rows from outside hold rollout ids, too; pairs hold those of the completions that were rejected."""
        whole = self.root / "whole/stages"
        rows = [json.loads(line) for line in (whole / "samples/data/rows.jsonl").read_text().splitlines()]
        (self.root / "outside.jsonl").write_text("".join(json.dumps(row | {"rollout_id": i}) + "\n" for i, row in enumerate(rows, 1)))
        (self.root / "lineage.yaml").write_text(f"""
stages:
  - {{name: samples, kind: generate, model: {whole}/rl/final, data: {whole}/base/data/train.jsonl, limit: 4, num_generations: 4,
     max_completion_length: 60, reward_funcs: ["soft_overlong_punishment:max_completion_len=60,soft_punish_cache=60"]}}
  - {{name: outside, kind: filter, data: outside.jsonl, correct_only: false}}
  - {{name: pairs, kind: pairs, data: "${{samples}}/rows.jsonl"}}
  - {{name: judge, kind: reward_model, model: {whole}/rl/final, data: "${{pairs}}/rows.jsonl", pairs_per_step: 2, max_steps: 1}}
  - {{name: student, kind: sft, model: {whole}/rl/final, data: "${{outside}}/rows.jsonl", max_steps: 1}}
""")
        run = self.root / "lineage"
        subprocess.run([HONE, "train", str(self.root / "lineage.yaml"), "--run-dir", str(run)], check=True, stdout=subprocess.DEVNULL)
        pair = json.loads((run / "stages/pairs/data/rows.jsonl").read_text().splitlines()[0])
        for key in ("rollout_id", "rejected_rollout_id"):
            rollout = self.inspect(run, str(pair[key]))
            self.assertEqual((rollout["in"], rollout["taught"]), (["pairs", "samples"], ["judge"]), key)
        parents = {p["key"]: p for p in self.inspect(run, "student")["parents"]}
        self.assertEqual(parents["data"]["from"]["rollouts"]["data"], [], "outside's rows have the ids 1 to 240, but of another run")

    @staticmethod
    def inspect(run, what):
        command = [HONE, "inspect", str(run), "--lineage", what, "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    HONE = sys.argv.pop(1)
    unittest.main(verbosity=2)
