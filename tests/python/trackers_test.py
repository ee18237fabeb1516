"""run.db is a project of PyPI trackio, tensorboard/ is read by PyPI tensorboard's own loader, before and after a resume.

    .venv-peers/bin/python tests/python/trackers_test.py build/release/hone
"""
import os
import pathlib
import sqlite3
import subprocess
import tempfile
import unittest

from hone_package import PROGRAM, tiny_model

import hone

FOLDER = tempfile.TemporaryDirectory()
ROOT = pathlib.Path(FOLDER.name)
RUN = ROOT / "run"
os.environ["TRACKIO_DIR"] = str(RUN)  # read when trackio is imported

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from trackio.sqlite_storage import SQLiteStorage

PROMPTS = [{"prompt": chr(0x4E00 + i)} for i in range(2, 12)]


def length(completions, **kwargs):
    return [float(len(c)) for c in completions]


class TrackersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = tiny_model(ROOT / "model")

        class Stop:
            def on_step_end(self, args, state, control):
                control.should_training_stop = state.global_step == 3
        options = dict(max_steps=6, prompts_per_step=2, num_generations=4, max_completion_length=6, disable_tqdm=True)
        make = lambda callbacks: hone.GRPOTrainer(str(cls.model), length, hone.GRPOConfig(str(RUN), **options), PROMPTS, callbacks=callbacks)
        make([Stop()]).train()
        make([]).train(resume_from_checkpoint=True)
        with sqlite3.connect(RUN / "run.db") as db:
            cls.steps = db.execute("select step, name, value from steps order by step, name").fetchall()
            cls.texts = {t for t, in db.execute("select text from rollouts")}

    def test_trackio(self):
        self.assertEqual(SQLiteStorage.get_projects(), ["run"])
        SQLiteStorage.migrate_all_projects()  # as its server does when it starts
        self.assertEqual(SQLiteStorage.get_runs("run"), ["rl"])
        logs = SQLiteStorage.get_logs("run", "rl")
        own = {(row["step"], name): value for row in logs for name, value in row.items() if name not in ("step", "timestamp")}
        self.assertEqual(own, {(step, name): value for step, name, value in self.steps})
        traces = SQLiteStorage.get_traces("run", "rl")
        self.assertEqual(len(traces), 6 * 4, "the first prompt's rollouts of every step")
        self.assertEqual([m["role"] for m in traces[0]["messages"]], ["user", "assistant"])
        self.assertIn(traces[0]["messages"][1]["content"], self.texts)
        self.assertIn("advantage", traces[0]["metadata"])
        self.assertEqual(SQLiteStorage.get_run_config("run", "rl")["num_generations"], 4)
        self.assertTrue(SQLiteStorage.get_traces("run", "rl", search=traces[0]["messages"][1]["content"][:2]))
        subprocess.run([PROGRAM, "inspect", RUN], check=True, capture_output=True)  # which Trackio has changed nothing of

    def test_tensorboard(self):
        files = list((RUN / "tensorboard/rl").iterdir())
        self.assertEqual(len(files), 1)
        seen = {}
        for event in EventFileLoader(str(files[0])).Load():
            for value in event.summary.value:
                seen[event.step, value.tag] = value.simple_value or value.tensor.float_val[0]
        self.assertEqual(set(seen), {(step, name) for step, name, _ in self.steps})
        for step, name, value in self.steps:
            self.assertAlmostEqual(seen[step, name], value, delta=1e-6 * max(1, abs(value)), msg=name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
