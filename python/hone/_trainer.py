"""GRPOTrainer and SFTTrainer: a recipe of one stage, run by the loop of `hone train`, with Python functions in it."""

import collections
import json
import pathlib
import shutil
import time
import types

import torch

from . import _C, _data, _functions, _reports
from ._config import GRPOConfig, SFTConfig
from ._rewards import BatchReward, RewardError
from ._run import Run
from .rewards import name_of

TrainOutput = collections.namedtuple("TrainOutput", ["global_step", "training_loss", "metrics"])

_REFUSED = {
    "reward_processing_classes": "a reward model of hone is named 'reward_model:FOLDER'; call any other in a reward function",
    "optimizers": "the optimizer is args.optimizer (adamw or muon)", "optimizer_cls_and_kwargs": "the optimizer is args.optimizer",
    "peft_config": "set lora_r, lora_alpha and lora_target_modules in args", "quantization_config": "weights are float32 or bfloat16",
    "tools": "completions are one turn without tools", "rollout_func": "hone samples itself", "environment_factory": "completions are one turn",
    "data_collator": "rows are packed by hone", "compute_loss_func": "give loss_func to GRPOTrainer",
    "compute_metrics": "compute them from trainer.state.log_history or hone.load_run", "formatting_func": "map the data set before",
    "preprocess_logits_for_metrics": "logits are never held",
}


def _refuse(kwargs, cls):
    for name, value in kwargs.items():
        if name not in _REFUSED:
            raise TypeError(f"{cls.__name__} has no argument '{name}'")
        if value is not None and value != (None, None):
            raise ValueError(f"{name} is refused: {_REFUSED[name]}; leave it out")


def _from_hub(name):
    """The folder of a model of the Hugging Face Hub, fetched if need be."""
    try:
        from huggingface_hub import snapshot_download
        return pathlib.Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.jinja"]))
    except Exception as error:
        raise FileNotFoundError(f"model: {name} is neither a folder with a config.json nor a model that huggingface_hub can fetch "
                                f"({type(error).__name__}); give a model folder, a hone.Model or a transformers model") from error


class _Trainer:
    _stage = ""
    _config = None

    def __init__(self, model, args, train_dataset, eval_dataset, processing_class, callbacks):
        self.args = self._config() if args is None else args
        if not isinstance(self.args, self._config):
            raise TypeError(f"args is {type(args).__name__}; give a hone.{self._config.__name__}")
        if train_dataset is None:
            raise ValueError("train_dataset is missing; give a list of dicts, a .jsonl or .parquet file, or a datasets.Dataset")
        self._given_model, self.processing_class = model, processing_class
        self.run_dir = pathlib.Path(self.args.output_dir or f"runs/{self._stage}")
        self.train_dataset = _data.load_rows(train_dataset, "train_dataset")
        self.eval_dataset = None if eval_dataset is None else _data.load_rows(eval_dataset, "eval_dataset")
        self.callbacks = list(callbacks or []) + _reports.callbacks(self.args.report_to, self.run_dir)
        self.state = types.SimpleNamespace(global_step=0, max_steps=0, epoch=0.0, log_history=[], is_world_process_zero=True,
                                           is_local_process_zero=True)
        self.control = types.SimpleNamespace(should_training_stop=False, should_log=False, should_save=False, should_evaluate=False)
        self._model = None

    # ---- the model ----------------------------------------------------------------------------------------------------

    def _model_folder(self):
        """Where the starting model lies: the folder given, or one made of what was given."""
        model, tokenizer = self._given_model, self.processing_class
        if isinstance(model, (str, pathlib.Path)):
            folder = pathlib.Path(model)
            if not any((f / "config.json").exists() for f in (folder, folder / "final")):
                folder = _from_hub(str(model))
            if tokenizer is None:
                return folder.resolve()
            return self._copied(lambda to: shutil.copytree(folder, to, dirs_exist_ok=True))
        if isinstance(model, _C.Model):
            return self._copied(lambda to: model.save(to / "model"), "model")
        if not hasattr(model, "save_pretrained"):
            raise TypeError(f"model is {type(model).__name__}; give a model folder, a hone.Model or a transformers model")
        if tokenizer is None:
            raise ValueError("processing_class is missing; a transformers model needs its tokenizer, e.g. "
                             "AutoTokenizer.from_pretrained(..)")
        return self._copied(model.save_pretrained)

    def _copied(self, save, below=""):
        folder = self.run_dir.resolve() / "start"
        if not (folder / below / "config.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            if self.processing_class is not None and not hasattr(self.processing_class, "save_pretrained"):
                raise TypeError(f"processing_class is {type(self.processing_class).__name__}; give a Hugging Face tokenizer")
            save(folder)
            if self.processing_class is not None:
                self.processing_class.save_pretrained(folder / below)
        return folder / below

    @property
    def model(self):
        """The policy as trained so far, a hone.Model."""
        if self._model is None:
            stage = self.run_dir / "stages" / self._stage
            checkpoints = sorted((stage / "checkpoints").glob("step-*[0-9]"))
            folders = [stage / "final"] if (stage / "final").exists() else checkpoints[-1:]
            self._model = _C.Model.load(folders[0] if folders else self._model_folder())
        return self._model

    def save_model(self, output_dir=None):
        """Writes the policy as a folder that transformers loads."""
        self.model.save(pathlib.Path(output_dir or self.run_dir / "model"))

    # ---- training -----------------------------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint=None):
        """Runs to the end, or to a callback's should_training_stop. resume_from_checkpoint: True or the newest checkpoint
        goes on with the run in args.output_dir (and starts it where there is none). Raises FileExistsError where a run is
        and is not to be resumed, RewardError for a reward that failed, KeyboardInterrupt on Ctrl-C; progress is kept."""
        resume = self._resume(resume_from_checkpoint)
        if not (self.run_dir / "recipe.yaml").exists():
            shutil.rmtree(self.run_dir / "start", ignore_errors=True)  # of another trainer, which has not trained
        model = self._model_folder()
        data = self._write_data(model)
        self._model = None
        self.state.max_steps = self._max_steps()
        stage = {"name": self._stage, "kind": self._config._kind, "model": str(model), "data": str(data)}
        recipe = {"name": self._stage, "stages": [stage | self._stage_options() | self.args.stage(self.state.max_steps)]}
        if self.args.seed is not None:
            recipe["seed"] = self.args.seed
        self._window, self._bar, started = [], None, time.monotonic()
        self._tell("on_train_begin")
        try:
            finished = _C.run_recipe(json.dumps(recipe), self.run_dir, resume, self.args.threads, on_step=self._on_step, **self._host())
        finally:
            if self._bar is not None:
                self._bar.close()
        return self._output(time.monotonic() - started, finished)

    def _resume(self, resume):
        if resume is None:
            resume = getattr(self.args, "resume_from_checkpoint", None)
        if isinstance(resume, (str, pathlib.Path)):
            newest = sorted((self.run_dir / "stages" / self._stage / "checkpoints").glob("step-*[0-9]"))[-1:]
            if [pathlib.Path(resume).resolve()] != [p.resolve() for p in newest]:
                raise ValueError(f"resume_from_checkpoint is {str(resume)!r}, but the run in {self.run_dir} goes on from its newest "
                                 f"checkpoint, {newest[0] if newest else 'of which there is none'}; give that, or True")
        if not resume and (self.run_dir / "recipe.yaml").exists():
            raise FileExistsError(f"{self.run_dir} holds a run already; go on with train(resume_from_checkpoint=True), or choose "
                                  "another output_dir")
        return bool(resume)

    def _tell(self, event, **kwargs):
        for callback in self.callbacks:
            if (call := getattr(callback, event, None)) is not None:
                call(self.args, self.state, self.control, **kwargs)

    def _on_step(self, stage, step, max_steps, metrics):
        if self._bar is None and not self.args.disable_tqdm:
            from tqdm.auto import tqdm
            self._bar = tqdm(total=max_steps, initial=step - 1, desc=self._stage)
        self.state.global_step, self.state.epoch = step, metrics.get("epoch", 0.0)
        self._window.append(metrics)
        if self._bar is not None:
            self._bar.set_postfix({k: f"{metrics[k]:.4g}" for k in ("reward", "loss") if k in metrics}, refresh=False)
            self._bar.update()
        self._tell("on_step_end")
        if step % max(1, self.args.logging_steps) == 0 or step == max_steps:
            self._log()
        return self.control.should_training_stop

    def _log(self):
        names = dict.fromkeys(name for metrics in self._window for name in metrics)
        rows = {name: [m[name] for m in self._window if name in m] for name in names}
        logs = {name: values[-1] if name in ("epoch", "num_tokens") else sum(values) / len(values) for name, values in rows.items()}
        self._window = []
        self.state.log_history.append(logs | {"step": self.state.global_step})
        self._tell("on_log", logs=logs)

    def _output(self, seconds, finished):
        losses = [row["loss"] for row in self.state.log_history if "loss" in row]
        loss = sum(losses) / len(losses) if losses else float("nan")
        metrics = {"train_runtime": seconds, "train_steps_per_second": self.state.global_step / seconds, "train_loss": loss,
                   "epoch": self.state.epoch}
        if finished:
            self.state.log_history.append(metrics | {"step": self.state.global_step})
        self._tell("on_train_end")
        return TrainOutput(self.state.global_step, loss, metrics)

    def _rows(self, dataset):
        if dataset is not None:
            return _data.load_rows(dataset, "eval_dataset")
        if self.eval_dataset is None:
            raise ValueError("eval_dataset is missing; give it to the trainer or to evaluate")
        return self.eval_dataset


class GRPOTrainer(_Trainer):
    """GRPO with TRL's arguments.

    model: a model folder or the name of one on the Hub, a hone.Model, or a transformers model (then with processing_class). reward_funcs: names of hone's
    rewards ("math"), or functions f(prompts, completions, **columns) -> list of float or None, called once for a rollout;
    None: not applicable. train_dataset: rows with `prompt` (a text or chat messages); other columns go to the rewards.
    loss_func: a function f(policy_logprobs, sampler_logprobs, advantages, weights, sequence, ref_logprobs) -> scalar tensor
    in place of args.loss_type, of tensors (M) over loss tokens: weights hold the normaliser of loss_type, so that a sum of
    weights x loss is its mean; sequence (M) int64 says which completion a token is of; ref_logprobs is None without beta.
    callbacks: objects with any of transformers' on_train_begin, on_step_end, on_log, on_train_end.
    """
    _stage, _config = "rl", GRPOConfig

    def __init__(self, model, reward_funcs, args=None, train_dataset=None, eval_dataset=None, processing_class=None,
                 callbacks=None, loss_func=None, **kwargs):
        _refuse(kwargs, type(self))
        super().__init__(model, args, train_dataset, eval_dataset, processing_class, callbacks)
        self.reward_funcs = list(reward_funcs) if isinstance(reward_funcs, (list, tuple)) else [reward_funcs]
        for function in self.reward_funcs:
            if not isinstance(function, str) and (isinstance(function, torch.nn.Module) or not callable(function)):
                raise TypeError(f"reward_funcs holds {type(function).__name__}; give the name of a reward ({', '.join(_C.reward_names())}) "
                                "or a function; reward models are not in hone")
        if loss_func is not None and not callable(loss_func):
            raise TypeError(f"loss_func is {type(loss_func).__name__}; give a function")
        self.loss_func = loss_func
        self._prompts = _data.prompt_rows(self.train_dataset, "train_dataset")
        self._printed = 0

    def _reward_names(self):
        return [f if isinstance(f, str) else f"python:{getattr(f, '__module__', '') or '__main__'}:{name_of(f)}" for f in self.reward_funcs]

    def _stage_options(self):
        return {"reward_funcs": self._reward_names()}

    def _find_reward(self, name):
        own = {text.removeprefix("python:"): f for text, f in zip(self._reward_names(), self.reward_funcs) if not isinstance(f, str)}
        if name not in own:
            return _functions.find_reward(name)
        return name_of(own[name]), BatchReward(own[name], self.train_dataset, self.args.reward_threads)

    def _host(self):
        return {"reward": self._find_reward, "loss": self.loss_func}

    def _write_data(self, model):
        file = self.run_dir.resolve() / "train.jsonl"
        _data.write_rows(self._prompts, file, "train_dataset")
        return file

    def _max_steps(self):
        return self.args.steps_of(len(self.train_dataset))

    def _log(self):
        super()._log()
        self._print_completions()

    def _print_completions(self):
        """Some of every step that the store has by now; it writes behind the training."""
        if self.args.log_completions:
            _, rows = Run(self.run_dir).query(
                "SELECT step, p.text, r.text, reward, advantage FROM (SELECT *, row_number() OVER (PARTITION BY step ORDER BY id) AS place "
                "FROM rollouts WHERE stage = ? AND step > ?) r JOIN prompts p ON p.stage = r.stage AND p.id = r.prompt_id "
                "WHERE place <= ?", (self._stage, self._printed, self.args.num_completions_to_print))
            for step, prompt, completion, reward, advantage in rows:
                print(f"step {step}: reward {reward}, advantage {advantage}: {prompt!r} -> {completion!r}")
                self._printed = step

    def _output(self, seconds, finished):
        self._print_completions()
        return super()._output(seconds, finished)

    def evaluate(self, eval_dataset=None, num_generations=None, metric_key_prefix="eval"):
        """Samples and scores every prompt of the data set; TRL's metrics with the prefix, and pass@1, pass@k, lengths."""
        rows = self._rows(eval_dataset)
        count = num_generations or self.args.num_generations
        prompts = [row.get("prompt") for row in _data.prompt_rows(rows, "eval_dataset")]
        if None in prompts:
            raise ValueError(f"eval_dataset[{prompts.index(None)}] has token ids alone; evaluate() wants 'prompt', a text or chat messages")
        options = {row["name"]: getattr(self.args, row["name"]) for row in _C.options_table("sampling")}
        rollouts = self.model.generate(prompts, count, seed=self.args.seed or 1, **options)
        flat = [rollout for group in rollouts for rollout in group]
        prompts = [_C.Prompt(i, p if isinstance(p, str) else self.model.apply_chat_template(p, True), [],
                             {k: v for k, v in row.items() if k != "prompt"}) for i, (p, row) in enumerate(zip(prompts, rows))]
        weights = self.args.reward_weights or [1.0] * len(self.reward_funcs)
        groups = _C.score_groups(prompts, flat, [self._eval_reward(f, w, rows) for f, w in zip(self.reward_funcs, weights)])
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in _C.reward_metrics(groups).items()}
        for name, value in _C.eval_metrics(groups).items():
            metrics[metric_key_prefix + name.removeprefix("eval")] = value
        self.state.log_history.append(metrics | {"step": self.state.global_step})
        self._tell("on_evaluate", metrics=metrics)
        return metrics

    @staticmethod
    def _eval_reward(function, weight, rows):
        if isinstance(function, str):
            return _C.NamedReward(function, weight)
        batch = BatchReward(function, rows)
        group = collections.namedtuple("Group", ["prompt", "rollouts"])
        return _C.NamedReward(name_of(function), lambda prompt, rollouts: batch([group(prompt, rollouts)])[0], weight)


class SFTTrainer(_Trainer):
    """Supervised fine-tuning with TRL's arguments. train_dataset: rows with prompt + completion (texts or chat messages),
    text, messages, or prompt_ids + completion_ids; the end token is added where it is missing."""
    _stage, _config = "sft", SFTConfig

    def __init__(self, model, args=None, train_dataset=None, eval_dataset=None, processing_class=None, callbacks=None, **kwargs):
        _refuse(kwargs, type(self))
        super().__init__(model, args, train_dataset, eval_dataset, processing_class, callbacks)

    def _stage_options(self):
        return {}

    def _host(self):
        return {}

    def _documents(self, rows, model, name):
        """The file that the rows are written to, and [(token ids, index of the first that carries loss)] as a stage reads it."""
        file = self.run_dir.resolve() / f"{name.removesuffix('_dataset')}.jsonl"
        _data.write_rows(_data.document_rows(rows, self.args.dataset_text_field, name), file, name)
        return file, model.documents(file, completion_only_loss=self.args.completion_only_loss, max_length=self.args.max_length)

    def _write_data(self, folder):
        file, documents = self._documents(self.train_dataset, _C.Model.load(folder), "train_dataset")
        self._tokens = sum(len(ids) for ids, _ in documents)
        return file

    def _max_steps(self):
        return self.args.steps_of(len(self.train_dataset), self._tokens)

    def evaluate(self, eval_dataset=None, metric_key_prefix="eval"):
        """Mean cross-entropy of a loss token of the data set, as PREFIX_loss."""
        total, count = 0.0, 0
        for ids, start in self._documents(self._rows(eval_dataset), self.model, "eval_dataset")[1]:
            with torch.no_grad():
                logprobs = self.model.logprobs(ids)[start - 1:]
            total, count = total - logprobs.double().sum().item(), count + len(logprobs)
        metrics = {f"{metric_key_prefix}_loss": total / count}
        self.state.log_history.append(metrics | {"step": self.state.global_step})
        self._tell("on_evaluate", metrics=metrics)
        return metrics
