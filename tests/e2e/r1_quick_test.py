"""The whole of recipes/r1_countdown.yaml at its quick scale, of a few minutes: every stage runs, what the paper's shape
needs can be seen, kept samples verify when they are scored again, the student leads back to the rollouts that taught it.
python3 tests/e2e/r1_quick_test.py build/release/hone [RUN_DIR]"""
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HONE, RUN = "", ""


class R1QuickTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        train = [HONE, "train", str(ROOT / "recipes" / "r1_countdown.yaml"), "--quick", "--run-dir", RUN, "--resume"]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL, timeout=1800)

    def metric(self, stage, name):
        return json.loads((pathlib.Path(RUN) / "stages" / stage / "metrics.json").read_text())[name]

    def test_the_shape_of_the_paper(self):
        accuracy = lambda stage: self.metric(stage + "_eval", "eval_pass@1")
        self.assertGreater(accuracy("r1_zero"), 1.2 * accuracy("base"))
        self.assertGreater(accuracy("r1"), accuracy("cold_start"))
        self.assertGreater(accuracy("student_distil"), accuracy("student_base"))

    def test_the_language_reward_keeps_thoughts_in_one_language(self):
        mixed = lambda stage: self.metric(stage + "_eval", "eval_mixed")
        self.assertLess(mixed("r1_zero_language"), 0.8 * mixed("r1_zero"))  # in a third of the steps
        self.assertLess(mixed("r1"), 0.7 * mixed("r1_zero"))

    def test_every_kept_sample_verifies_when_scored_again(self):
        for stage in ("cold_start_rows", "accepted", "traces"):
            rows = pathlib.Path(RUN) / "stages" / stage / "data" / "rows.jsonl"
            lines = [json.loads(line) for line in rows.read_text().splitlines()]
            cases = "".join(json.dumps({"id": i, **line}) + "\n" for i, line in enumerate(lines))
            out = subprocess.run([HONE, "score", "--reward", "countdown"], input=cases, check=True, capture_output=True, text=True)
            verdicts = [json.loads(line)["verdict"] for line in out.stdout.splitlines()]
            self.assertEqual(verdicts, ["correct"] * len(lines), stage)
            self.assertGreater(len(lines), 20, stage)
            metrics = json.loads((rows.parent.parent / "metrics.json").read_text())
            dropped = sum(value for name, value in metrics.items() if name.startswith("rows/dropped/"))
            self.assertEqual(metrics["rows/in"], metrics["rows/kept"] + dropped)

    def test_the_student_leads_back_to_rollouts_of_its_teacher(self):
        command = [HONE, "inspect", RUN, "--lineage", "student_distil", "--json"]
        tree = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        data = next(p["from"] for p in tree["parents"] if p["key"] == "data")
        first = data["rollouts"]["data"][0][0]
        with sqlite3.connect(pathlib.Path(RUN) / "run.db") as db:
            self.assertEqual(db.execute("select stage from rollouts where id = ?", [first]).fetchone(), ("r1_samples",))


if __name__ == "__main__":
    HONE = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        RUN = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else folder
        unittest.main(verbosity=2)
