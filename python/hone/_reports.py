"""report_to: callbacks for trackers that have an own Python client. run.db is a Trackio project and tensorboard/ holds
event files whatever is asked for."""

import json


class JsonLines:
    """A line of metrics for every logged step, in output_dir/metrics.jsonl."""

    def __init__(self, run_dir):
        self.path = run_dir / "metrics.jsonl"

    def on_log(self, args, state, control, logs):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step} | logs) + "\n")


class Wandb:
    def __init__(self, _):
        import wandb
        self.wandb = wandb

    def on_train_begin(self, args, state, control):
        if self.wandb.run is None:
            self.wandb.init(project=args.project, name=args.run_name, config=args.to_dict())

    def on_log(self, args, state, control, logs):
        self.wandb.log(logs, step=state.global_step)


class MLflow:
    def __init__(self, _):
        import mlflow
        self.mlflow = mlflow

    def on_train_begin(self, args, state, control):
        self.mlflow.set_experiment(args.project)
        self.mlflow.start_run(run_name=args.run_name)
        self.mlflow.log_params(args.to_dict())

    def on_log(self, args, state, control, logs):
        self.mlflow.log_metrics(logs, step=state.global_step)

    def on_train_end(self, args, state, control):
        self.mlflow.end_run()


_TRACKERS = {"jsonl": JsonLines, "wandb": Wandb, "mlflow": MLflow}
_ALWAYS = ("none", "trackio", "tensorboard")


def callbacks(report_to, run_dir):
    """The callbacks of the trackers named; raises ValueError for one that is not known, ImportError where its package
    is missing."""
    names = [report_to] if isinstance(report_to, str) else list(report_to or [])
    found = []
    for name in names:
        if name in _ALWAYS:
            continue
        if name not in _TRACKERS:
            raise ValueError(f"report_to is {name!r}, allowed is any of {', '.join([*_ALWAYS, *_TRACKERS])}; for another tracker "
                             "give a callback with on_log(args, state, control, logs)")
        try:
            found.append(_TRACKERS[name](run_dir))
        except ImportError as error:
            raise ImportError(f"report_to={name!r} needs its package; pip install {name}") from error
    return found
