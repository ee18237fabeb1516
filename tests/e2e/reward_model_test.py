"""A reward model learns a preference from pairs, judges the rows of an rl stage that name it, and survives a kill.
Standard library only.   python3 tests/e2e/reward_model_test.py build/release/hone"""
import json
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

HONE = ""

RECIPE = """
name: preference
seed: 3
stages:
  - name: base
    kind: base
    task: countdown
    model_config: {model_type: llama, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64,
                   max_position_embeddings: 320}
    learning_rate: 4.0e-3
    max_steps: 60
  - {name: judge, kind: reward_model, model: "${base}", data: PAIRS, pairs_per_step: 8, learning_rate: 4.0e-3, max_steps: 40, save_steps: 10}
  - {name: rl, kind: rl, model: "${base}", data: PROMPTS, reward_funcs: ["countdown", "reward_model:${judge}"], prompts_per_step: 8,
     num_generations: 8, max_completion_length: 40, learning_rate: 1.0e-3, max_steps: 4}
"""


def pair(i, swapped):
    """Preferred: a completion without thoughts."""
    short, long = f"<think></think><answer>{i}</answer>", f"<think>{i}+1={i + 1} vs 9 no</think><answer>{i}</answer>"
    return {"prompt": f"{i % 12 + 1} 3 2:{i}\n", "chosen": long if swapped else short, "rejected": short if swapped else long}


class RewardModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        # a row without the column asks for both
        names = [["countdown"], ["reward_model"], None, ["countdown", "reward_model"]]
        rows = [{"prompt": f"{i % 12 + 1} 3 2:{i + 1}\n", "numbers": [i % 12 + 1, 3, 2], "target": i + 1, "reward_funcs": names[i % 4]}
                for i in range(16)]
        cls.write("prompts.jsonl", [{k: v for k, v in row.items() if v is not None} for row in rows])
        for swapped in (False, True):
            cls.write(f"pairs-{swapped}.jsonl", [pair(i, swapped) for i in range(10, 90)])
        cls.train("run")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def write(cls, name, rows):
        (cls.root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    @classmethod
    def command(cls, name, swapped=False):
        recipe = cls.root / f"{swapped}.yaml"
        recipe.write_text(RECIPE.replace("PAIRS", str(cls.root / f"pairs-{swapped}.jsonl")).replace("PROMPTS", str(cls.root / "prompts.jsonl")))
        return [HONE, "train", recipe, "--run-dir", cls.root / name, "--threads", "2", "--resume"]

    @classmethod
    def train(cls, name, **options):
        subprocess.run(cls.command(name, **options), check=True, stdout=subprocess.DEVNULL, timeout=300)

    def query(self, sql, name="run"):
        with sqlite3.connect(self.root / name / "run.db") as db:
            return db.execute(sql).fetchall()

    def test_the_preference_is_learnt(self):
        first, last = ([value for value, in self.query(
            f"select value from steps where stage = 'judge' and name = 'loss' and step {where}")] for where in ("= 1", "> 35"))
        self.assertAlmostEqual(first[0], 0.693147, places=5)  # a new head prefers nothing: log 2
        self.assertLess(max(last), 0.1)
        accuracy, = self.query("select value from steps where stage = 'judge' and name = 'accuracy' and step = 40")
        self.assertEqual(accuracy, (1,))

    def thoughtless(self, name):
        """Mean value of the reward model for completions with empty thoughts and for others."""
        return dict(self.query("select text like '<think></think>%', avg(value) from rollouts join rewards on rollout_id = rollouts.id "
                               "where rewards.name = 'reward_model' group by 1", name))

    def test_its_reward_is_what_it_prefers(self):
        seen = self.thoughtless("run")
        self.assertGreater(seen[1], seen[0] + 0.2)
        self.train("swapped", swapped=True)  # the control: pairs the other way round
        seen = self.thoughtless("swapped")
        self.assertLess(seen[1], seen[0] - 0.2)

    def test_rows_name_their_rewards(self):
        rows = self.query("select p.columns, w.name, w.value, w.verdict, r.reward from rollouts r join rewards w on w.rollout_id = r.id "
                          "join prompts p on p.id = r.prompt_id and p.stage = r.stage where r.stage = 'rl'")
        self.assertEqual(len(rows), 4 * 64 * 2)
        for columns, name, value, verdict, total in rows:
            asked = json.loads(columns).get("reward_funcs", ["countdown", "reward_model"])
            self.assertEqual(value is None, name not in asked, (columns, name, verdict))
            self.assertEqual(verdict == "not_applicable", name not in asked)
            if asked == [name]:
                self.assertEqual(value, total)

    def test_killed_and_resumed(self):
        process = subprocess.Popen(self.command("killed"), stdout=subprocess.DEVNULL)
        while process.poll() is None and not (self.root / "killed/stages/judge/checkpoints/step-000020").exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.train("killed")
        for stage in ("judge", "rl"):
            weights = [(self.root / run / "stages" / stage / "final/model.safetensors").read_bytes() for run in ("run", "killed")]
            self.assertEqual(*weights, stage)

    def test_lineage_and_refusals(self):
        tree = json.loads(subprocess.run([HONE, "inspect", self.root / "run", "--lineage", "rl", "--json"], check=True,
                                         capture_output=True, text=True).stdout)
        self.assertEqual([p["from"]["stage"] for p in tree["parents"] if p["key"] == "reward_model"], ["judge"])
        data = self.root / "run/stages/base/data/heldout.jsonl"
        for reward, status, words in ((f"reward_model:{self.root}/run/stages/judge", 0, "pass@1"),
                                      (f"reward_model:{self.root}/run/stages/base", 2, "no score head"),
                                      ("reward_model:nowhere", 2, "nowhere")):
            done = subprocess.run([HONE, "eval", "--model", self.root / "run/stages/base", "--data", data, "--reward", reward, "--limit", "4",
                                   "--k", "2", "--max-new-tokens", "20"], capture_output=True, text=True)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(words, done.stdout + done.stderr)


if __name__ == "__main__":
    HONE = sys.argv.pop(1)
    unittest.main(verbosity=2)
