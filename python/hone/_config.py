"""GRPOConfig and SFTConfig: the options of an rl and an sft stage under their own names (declared once, in rl/config.h),
the few that only Python has, and TRL's, translated by trl_fields.py."""

import difflib
import inspect
import math

from . import _C, trl_fields

_HIDDEN = {"model", "data", "reward_funcs"}  # arguments of the trainers
# name: (type, default, help)
_PYTHON_OPTIONS = {
    "output_dir": ("str | None", None, "run directory; None: runs/NAME"),
    "per_device_train_batch_size": ("int | None", None, "TRL's: completions (rows, in SFT) of one micro-batch"),
    "gradient_accumulation_steps": ("int | None", None, "TRL's: micro-batches of an optimizer step"),
    "num_train_epochs": ("float", 3.0, "passes over the data where max_steps is not given"),
    "seed": ("int | None", None, "every random draw follows from it; None: the recipe's default"),
    "logging_steps": ("int", 1, "steps between rows of log_history, which are means over them"),
    "disable_tqdm": ("bool", False, "no progress bar"),
    "report_to": ("str | list[str]", "none", "beside run.db (Trackio) and TensorBoard files: jsonl, wandb, mlflow"),
    "run_name": ("str | None", None, "name in the trackers"),
    "project": ("str", "hone", "project in the trackers"),
    "threads": ("int", 0, "of all computation; 0: all cores; changes no result"),
}
_GRPO_OPTIONS = {
    "generation_batch_size": ("int | None", None, "TRL's: completions of a rollout"),
    "importance_sampling_level": ("str", "token", "TRL's: token, or sequence, which with loss_type grpo is gspo"),
    "sync_ref_model": ("bool", False, "TRL's: with ref_model_mixup_alpha=1 and ref_model_sync_steps"),
    "log_completions": ("bool", False, "prints some completions of every logged step"),
    "num_completions_to_print": ("int", 4, "how many"),
    "reward_threads": ("int", 1, "calls of a Python reward at the same time, for functions that wait"),
}
_SFT_OPTIONS = {"dataset_text_field": ("str", "text", "the column of rows that are one text")}
# fields that TRL's scripts set and that say here what is so anyway: name -> values they may have
_ONLY = {
    "top_p": (1, None), "top_k": (0, None), "min_p": (0, None), "repetition_penalty": (1, None), "remove_unused_columns": None,
    "shuffle_dataset": (True, None), "packing_strategy": None, "save_strategy": ("steps", "no"), "ref_model_mixup_alpha": (1,),
    "train_sampling_strategy": ("random",), "logging_strategy": ("steps",), "max_tool_calling_iterations": (None,),
    "truncation_mode": None, "use_cpu": (True, False),
}


# values of renamed fields that ask for nothing
_ACCEPTED = {"gradient_checkpointing": (True,), "eval_strategy": ("no",)}


def _no(option, value, why):
    raise ValueError(f"{option}={value!r}: {why}")


def _is_one_of(value, values):
    return isinstance(value, (int, float, str, type(None))) and value in values


class _Config:
    _kind, _fields, _own, _only = "", {}, {}, _ONLY

    def __init__(self, output_dir=None, **options):
        self._given = {"output_dir": output_dir} | options
        self._table = {row["name"]: row for row in _C.options_table(self._kind) if row["name"] not in _HIDDEN}
        for name in options:
            self._check_name(name)
        for name, (kind, _, _) in self._own.items():
            value = options.get(name)
            if kind.startswith("int") and value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                _no(name, value, "allowed is a whole number")
        self._stage = self._translate()
        _C.check_options(self._kind, self._stage)
        defaults = {name: row["default"] for name, row in self._table.items()} | {n: d for n, (_, d, _) in self._own.items()}
        for name, value in (defaults | self._given | self._stage).items():
            setattr(self, name, value)

    def _check_name(self, name):
        if name in self._table or name in self._own:
            return
        if name not in self._fields:
            near = difflib.get_close_matches(name, [*self._table, *self._own, *self._fields], 1)
            raise TypeError(f"{type(self).__name__} has no option '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        kind, note = self._fields[name]
        if kind == trl_fields.REFUSED and not trl_fields.is_off(name, self._given[name]):
            _no(name, self._given[name], f"refused, {note}")

    def _translate(self):
        """The options of the stage that are not at their defaults."""
        given = dict(self._given)
        for name, values in self._only.items():
            if name in given and values is not None and not _is_one_of(given[name], values):
                _no(name, given[name], self._fields[name][1])
            if name in given and name != "save_strategy":
                given.pop(name)
        if given.pop("save_strategy", None) == "no":
            given["save_steps"] = 0
        if _is_one_of(given.get("max_steps", 1), (-1, None)):
            given.pop("max_steps")
        if given.pop("bf16", None) is True:
            given["dtype"] = "bfloat16"
        self._translate_model(given)
        self._translate_optim(given)
        for name, value in given.items():
            kind, note = self._fields.get(name, ("", ""))
            if name not in self._table and kind == trl_fields.OURS and name not in self._own and not trl_fields.is_off(name, value) \
                    and not _is_one_of(value, _ACCEPTED.get(name, ())):
                _no(name, value, f"in hone this is {note}")
        self._translate_batch(given)
        self._translate_own(given)
        return {name: value for name, value in given.items() if name in self._table}

    def _translate_model(self, given):
        kwargs = dict(given.pop("model_init_kwargs", None) or {})
        dtype = str(kwargs.pop("dtype", kwargs.pop("torch_dtype", "float32"))).removeprefix("torch.")
        if kwargs or dtype not in ("float32", "bfloat16", "auto"):
            _no("model_init_kwargs", self._given["model_init_kwargs"], "only {'dtype': 'float32' or 'bfloat16'} is known")
        if dtype == "bfloat16":
            given["dtype"] = dtype
        if (alpha := given.pop("router_aux_loss_coef", None)) is not None:
            given["router_aux_loss_alpha"] = alpha

    def _translate_optim(self, given):
        if (optim := given.pop("optim", None)) is not None:
            optim = str(getattr(optim, "value", optim))
            if optim not in ("adamw", "adamw_torch", "adamw_torch_fused", "muon"):
                _no("optim", optim, "allowed is adamw (adamw_torch, adamw_torch_fused) or muon")
            given["optimizer"] = "muon" if optim == "muon" else "adamw"
        if "lr_scheduler_type" in given:
            given["lr_scheduler_type"] = str(getattr(given["lr_scheduler_type"], "value", given["lr_scheduler_type"]))

    def _rows_per_step(self, given):
        """Of TRL's batch algebra; None where it is not used."""
        rows, parts = given.get("per_device_train_batch_size"), given.get("gradient_accumulation_steps")
        if parts is not None and rows is None:
            _no("gradient_accumulation_steps", parts, "give per_device_train_batch_size as well")
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
            value = given.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                _no(name, value, "allowed is a whole number of at least 1")
        return None if rows is None else rows * (parts or 1)

    def stage(self, max_steps):
        """The stage of a recipe, with so many steps."""
        stage = self._stage | {"max_steps": max_steps}
        if stage.get("lr_scheduler_type") == "linear" and "lr_min_ratio" not in stage:
            stage["lr_min_ratio"] = 1 / max(1, max_steps - stage.get("warmup_steps", 0))  # transformers' last step
        return stage

    def to_dict(self):
        """What was given and what follows from it."""
        return {name: value for name, value in (self._given | self._stage).items() if value is not None}

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"


class GRPOConfig(_Config):
    """Options of GRPOTrainer."""
    _kind, _fields, _own = "rl", trl_fields.GRPO, _PYTHON_OPTIONS | _GRPO_OPTIONS

    def _translate_batch(self, given):
        table = lambda name: given.get(name, self._table[name]["default"])
        completions, group = self._rows_per_step(given), table("num_generations")
        parts, whole = given.get("gradient_accumulation_steps") or 1, given.pop("generation_batch_size", None)
        if whole is not None:
            if completions is None or whole % given["per_device_train_batch_size"]:
                _no("generation_batch_size", whole, "must be a multiple of per_device_train_batch_size; give both")
            given["steps_per_generation"] = whole // given["per_device_train_batch_size"]
        if completions is None:
            return
        if "prompts_per_step" in given:
            _no("prompts_per_step", given["prompts_per_step"], "follows from per_device_train_batch_size; give one of them")
        if completions % group:
            _no("per_device_train_batch_size", given["per_device_train_batch_size"],
                f"an optimizer step would hold {completions} completions, which is no multiple of num_generations {group}")
        given["prompts_per_step"] = completions // group
        steps = given.get("steps_per_generation") or parts
        if steps % parts:
            _no("steps_per_generation", steps, f"must be a multiple of gradient_accumulation_steps {parts}")
        given["steps_per_generation"] = steps // parts
        if given.get("loss_type") == "bnpo":
            given.setdefault("bnpo_sequences", given["per_device_train_batch_size"])

    def _translate_own(self, given):
        for name in ("delta", "reward_weights", "epsilon_high", "steps_per_generation", "num_completions_to_print"):
            if given.get(name, 0) is None:
                given.pop(name)
        if isinstance(given.get("scale_rewards"), bool):
            given["scale_rewards"] = "group" if given["scale_rewards"] else "none"
        level = given.get("importance_sampling_level", "token")
        if level not in ("token", "sequence"):
            _no("importance_sampling_level", level, "allowed is one of token, sequence")
        if level == "sequence":
            if given.get("loss_type", "grpo") not in ("grpo", "gspo"):
                _no("importance_sampling_level", level, "goes with loss_type 'grpo' (GSPO), not with " + repr(given["loss_type"]))
            given["loss_type"] = "gspo"
        if given.get("loss_type") == "cispo" and "epsilon_high" in given:
            if given["epsilon_high"] < 1:
                _no("epsilon_high", given["epsilon_high"], "with loss_type 'cispo' it is the largest weight of a token, at least 1")
            given |= {"epsilon": 1.0, "epsilon_high": given["epsilon_high"] - 1}  # TRL's is the largest weight itself
        elif "epsilon" in given:
            given.setdefault("epsilon_high", given["epsilon"])
        sync = given.pop("sync_ref_model", False)
        if sync and self._given.get("ref_model_mixup_alpha") != 1:
            _no("sync_ref_model", sync, "the policy replaces the reference: give ref_model_mixup_alpha=1.0")
        if not sync and "ref_model_mixup_alpha" in self._given:
            given.pop("ref_model_sync_steps", None)

    def steps_of(self, rows):
        """max_steps, or what num_train_epochs over so many rows are."""
        if "max_steps" in self._stage:
            return self.max_steps
        rollout = self.prompts_per_step * self.steps_per_generation
        epoch = max(1, rows // rollout) * self.steps_per_generation * self.num_iterations
        unit = self.steps_per_generation * self.num_iterations
        return math.ceil(self.num_train_epochs * epoch / unit) * unit


class SFTConfig(_Config):
    """Options of SFTTrainer."""
    _kind, _fields, _own = "sft", trl_fields.SFT, _PYTHON_OPTIONS | _SFT_OPTIONS
    _only = _ONLY | {"shuffle_dataset": None}

    def _translate_batch(self, given):
        if (rows := self._rows_per_step(given)) is not None:
            given["rows_per_step"] = rows

    def _translate_own(self, given):
        if given.get("loss_type", "nll") != "nll":
            _no("loss_type", given["loss_type"], "allowed is nll")
        if given.get("completion_only_loss", True) is None:
            given.pop("completion_only_loss")
        if given.get("max_length", 0) is None:
            given["max_length"] = 2**31

    def steps_of(self, rows, tokens=None):
        """max_steps, or what num_train_epochs over so many rows (of so many tokens) are."""
        if "max_steps" in self._stage:
            return self.max_steps
        epoch = rows / self.rows_per_step if self.rows_per_step else tokens / self.tokens_per_step
        return math.ceil(self.num_train_epochs * epoch)


def _document(cls):
    """The signature and the list of options, out of the tables."""
    table = [row for row in _C.options_table(cls._kind) if row["name"] not in _HIDDEN]
    lines = [f"    {name}: {kind} = {default!r}  {text}" for name, (kind, default, text) in cls._own.items()]
    lines += [f"    {r['name']}: {r['type']} = {r['default']!r}  {r['help']}" +
              (f" ({r['allowed']})" if r.get("allowed") else "") for r in table]
    cls.__doc__ += ("\n\nTRL's names are taken too where they mean something here (docs/trl_fields.md); all others raise with the\n"
                    "reason. ValueError: a value that is not allowed. TypeError: an option that is not known.\n\n" + "\n".join(lines))
    options = {name: default for name, (_, default, _) in cls._own.items()} | {r["name"]: r["default"] for r in table}
    keyword = inspect.Parameter.KEYWORD_ONLY
    cls.__signature__ = inspect.Signature(
        [inspect.Parameter("output_dir", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)]
        + [inspect.Parameter(name, keyword, default=default) for name, default in options.items() if name != "output_dir"])


for _cls in (GRPOConfig, SFTConfig):
    _document(_cls)
