"""A run's tables, as pandas or pyarrow have them."""

import json
import pathlib
import sqlite3
import struct


def load_run(path):
    """Opens the run in a directory for reading, also while it goes on. Raises FileNotFoundError where there is none."""
    return Run(path)


# verl's names of metrics that mean the same
_VERL = {
    "reward": ("critic/score/mean", "critic/rewards/mean"), "loss": ("actor/pg_loss",), "entropy": ("actor/entropy",),
    "kl": ("actor/kl_loss",), "clip_ratio/region_mean": ("actor/pg_clipfrac",), "grad_norm": ("actor/grad_norm",),
    "learning_rate": ("actor/lr",), "completions/mean_length": ("response_length/mean",),
    "completions/min_length": ("response_length/min",), "completions/max_length": ("response_length/max",),
    "completions/clipped_ratio": ("response_length/clip_ratio",), "time/rollout": ("timing_s/gen",),
    "time/reward": ("timing_s/reward",), "time/update": ("timing_s/update_actor",), "step_time": ("timing_s/step",),
    "epoch": ("training/epoch",),
}


def verl_metrics(metrics):
    """The metrics of a step that verl has, under verl's names."""
    return {alias: value for name, value in metrics.items() for alias in _VERL.get(name, ())}


def _numbers(blob, kind):
    return list(struct.unpack(f"<{len(blob) // 4}{kind}", blob))


class Run:
    """The tables of run.db as pandas DataFrames: prompts, rollouts, rewards, steps (one row a metric) and metrics (one row
    a step, one column a metric). Token ids and log-probs are lists, a prompt's columns a dict."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not (self.path / "run.db").exists():
            raise FileNotFoundError(f"{self.path}: no run.db there; name the run directory of a training (output_dir)")

    def query(self, sql, parameters=()):
        """(names, rows) of one SQL statement that reads."""
        db = sqlite3.connect(f"file:{(self.path / 'run.db').resolve()}?mode=ro", uri=True)
        try:
            cursor = db.execute(sql, parameters)
            return [column[0] for column in cursor.description], cursor.fetchall()
        finally:
            db.close()

    def _rows(self, table):
        names, rows = self.query(f"SELECT * FROM {table}")
        readers = {"token_ids": lambda b: _numbers(b, "i"), "logprobs": lambda b: _numbers(b, "f"), "columns": json.loads}
        columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        return {name: [readers[name](v) for v in values] if name in readers else values for name, values in columns.items()}

    def _frame(self, table):
        try:
            import pandas
        except ImportError as error:
            raise ImportError("tables need pandas; pip install pandas, or use Run.query or Run.to_arrow") from error
        return pandas.DataFrame(self._rows(table))

    prompts = property(lambda self: self._frame("prompts"), doc="id, stage, text, token_ids, columns")
    rollouts = property(lambda self: self._frame("rollouts"), doc="id, stage, step, prompt_id, sample, .., reward, advantage")
    rewards = property(lambda self: self._frame("rewards"), doc="rollout_id, name, value, verdict, reason")
    steps = property(lambda self: self._frame("steps"), doc="stage, step, name, value")

    @property
    def metrics(self):
        """One row a (stage, step), one column a metric."""
        return self.steps.pivot(index=["stage", "step"], columns="name", values="value").reset_index()

    def to_arrow(self, table):
        """A table as a pyarrow.Table."""
        if table not in ("prompts", "rollouts", "rewards", "steps"):
            raise ValueError(f"table is {table!r}, allowed is one of prompts, rollouts, rewards, steps")
        try:
            import pyarrow
        except ImportError as error:
            raise ImportError("to_arrow needs pyarrow; pip install pyarrow") from error
        rows = self._rows(table)
        if "columns" in rows:
            rows["columns"] = [json.dumps(value) for value in rows["columns"]]
        return pyarrow.table(rows)

    def __repr__(self):
        return f"Run({str(self.path)!r})"
