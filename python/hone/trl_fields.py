"""Every field of `GRPOConfig` and `SFTConfig` of PyPI trl 1.16, and what hone makes of it. The configs refuse by this
table, docs/trl_fields.md is printed from it, and a test compares it with the installed package.

    python -m hone.trl_fields      prints the table
"""

SAME, OURS, REFUSED = "same", "ours", "refused"

_OFF = (None, False, "", 0, 0.0, [], {})  # what leaves a refused field switched off


def _same(notes):
    return {name: (SAME, note) for name, note in notes.items()}


def _ours(notes):
    return {name: (OURS, note) for name, note in notes.items()}


def _refused(reasons):
    return {name: (REFUSED, why) for why, names in reasons.items() for name in names.split()}


_TRAINER = _same({
    "output_dir": "the run directory: run.db, checkpoints, TensorBoard files; default runs/NAME",
    "per_device_train_batch_size": "completions (rows, in SFT) of one micro-batch",
    "gradient_accumulation_steps": "micro-batches of an optimizer step; results do not depend on the split (bnpo's do)",
    "num_train_epochs": "passes over the data when max_steps is not given",
    "max_steps": "optimizer steps",
    "learning_rate": "",
    "lr_scheduler_type": "linear is transformers' own to the last step; cosine ends at lr_min_ratio; also constant",
    "warmup_steps": "the first step has 1/warmup_steps of the rate, where transformers has 0",
    "weight_decay": "on matrices",
    "adam_beta1": "", "adam_beta2": "hone's default is 0.95", "adam_epsilon": "",
    "max_grad_norm": "0 switches it off",
    "seed": "every random draw of the run follows from it",
    "logging_steps": "steps between rows of log_history (means over them); the run's store has every step",
    "disable_tqdm": "",
    "report_to": "trackio and tensorboard are always written into output_dir; jsonl, wandb, mlflow",
    "run_name": "name of the run in wandb and mlflow",
    "save_steps": "steps between resumable checkpoints; 0: only at the end",
    "save_strategy": "steps, or no",
    "per_device_eval_batch_size": "changes no result",
    "resume_from_checkpoint": "the same as train's argument",
    "use_cpu": "it is the CPU",
    "remove_unused_columns": "columns go to the rewards; SFT reads those it knows",
    "use_cache": "the sampler always has one",
    "dataloader_pin_memory": "nothing to pin", "dataloader_in_order": "it is", "log_on_each_node": "there is one",
    "average_tokens_across_devices": "there is one", "skip_memory_metrics": "memory is not measured",
    "eval_do_concat_batches": "", "logging_strategy": "steps",
    "include_num_input_tokens_seen": "num_tokens is always logged",
    "project": "name of the project in wandb",
    "train_sampling_strategy": "random: a permutation every epoch",
    "logging_nan_inf_filter": "what is not finite stops the run", "ddp_timeout": "there is one process",
    "local_rank": "there is one process", "log_level": "hone logs through callbacks", "log_level_replica": "there is one process",
    "length_column_name": "not used", "hub_strategy": "not used",
}) | _ours({
    "bf16": "dtype='bfloat16': weights and products of bfloat16, sums float32, masters float32",
    "optim": "optimizer: adamw (adamw_torch and adamw_torch_fused mean it) or muon",
    "gradient_checkpointing": "max_memory_gb: activations are computed twice where memory would be passed; True and False are accepted",
    "eval_strategy": "call evaluate(), or an eval stage of a recipe", "eval_steps": "call evaluate() in a callback",
    "dataloader_num_workers": "threads",
    "lr_scheduler_kwargs": "lr_min_ratio, lr_decay_start",
}) | _refused({
    "hone has no float16 and no tf32; use bf16=True or float32": "fp16 fp16_full_eval tf32",
    "evaluation computes products of float32": "bf16_full_eval",
    "AdamW and Muon take no further arguments; set adam_* and learning_rate": "optim_args optim_target_modules",
    "the losses are the policy losses and cross-entropy; pass loss_func to the trainer for another": "label_smoothing_factor neftune_noise_alpha",
    "activations are recomputed by max_memory_gb": "activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing_kwargs",
    "hone's kernels are compiled C++": "torch_compile torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config",
    "there is no accelerator whose memory or links would need it": "torch_empty_cache_steps eval_accumulation_steps",
    "memory is bounded by micro_batch_tokens, which changes no result": "auto_find_batch_size",
    "hone trains in one process on the CPU": "ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend fsdp fsdp_config deepspeed accelerator_config parallelism_config save_on_each_node eval_use_gather_object",
    "nothing is pushed anywhere; upload the folder that save_model writes": "push_to_hub hub_token hub_private_repo hub_model_id hub_always_push hub_revision trackio_space_id trackio_bucket_id trackio_static_space_id",
    "every checkpoint is kept": "save_total_limit",
    "checkpoints are always resumable, and written in the step that asks": "save_only_model enable_jit_checkpoint",
    "no model is chosen by a metric; compare checkpoints with evaluate()": "load_best_model_at_end metric_for_best_model greater_is_better",
    "a resumed run continues its data exactly": "ignore_data_skip restore_callback_states_from_checkpoint data_seed",
    "a run is a function of its recipe and seed already": "full_determinism",
    "evaluation is a call: trainer.evaluate()": "eval_delay eval_on_start prediction_loss_only include_for_metrics batch_eval_metrics label_names do_train do_eval do_predict",
    "prompts are held in memory; there is no data loader": "dataloader_drop_last dataloader_persistent_workers dataloader_prefetch_factor dataloader_multiprocessing_context",
    "the first step is logged when logging_steps is 1": "logging_first_step",
    "use a debugger": "debug",
})

_MODEL = _ours({
    "router_aux_loss_coef": "router_aux_loss_alpha (DeepSeek-V3's sequence-wise loss)",
    "model_init_kwargs": "only {'dtype': ..}: float32 or bfloat16",
}) | _refused({
    "models are read by hone's own code; remote code is never run": "trust_remote_code",
}) | _same({"pad_to_multiple_of": "sequences are packed, there is no padding"})

GRPO = _TRAINER | _MODEL | _same({
    "num_generations": "", "max_completion_length": "", "temperature": "", "num_iterations": "", "beta": "",
    "epsilon": "", "epsilon_high": "None: epsilon; cispo: the largest weight itself, as in TRL",
    "delta": "None: off", "sapo_temperature_neg": "", "sapo_temperature_pos": "", "reward_weights": "",
    "scale_rewards": "group, batch, none, True or False; TRL's deviation: sample_std=True, advantage_epsilon=1e-4",
    "loss_type": "grpo, bnpo, dapo, dr_grpo, cispo, sapo; also gspo",
    "mask_truncated_completions": "",
    "use_bias_correction_kl": "hone's default is False, as in DeepSeekMath",
    "ref_model_sync_steps": "with sync_ref_model",
    "sync_ref_model": "with ref_model_mixup_alpha=1: the policy replaces the reference",
    "steps_per_generation": "micro-batches that one rollout is used in, a multiple of gradient_accumulation_steps",
    "generation_batch_size": "completions of a rollout", "shuffle_dataset": "True: a permutation every epoch",
    "log_completions": "every completion is in run.db; True prints some", "num_completions_to_print": "",
    "ds3_gather_for_generation": "there is one process", "log_multimodal": "there are no images",
    "top_p": "1.0 only: the gradient is that of the whole distribution", "top_k": "0 only", "min_p": "None only",
    "repetition_penalty": "1.0 only",
    "max_tool_calling_iterations": "None only", "vllm_importance_sampling_correction": "sampler and trainer agree to the bit: nothing to correct",
}) | _ours({
    "importance_sampling_level": "loss_type='gspo' is TRL's 'sequence' with loss_type 'grpo'; 'token' is the default",
    "num_generations_eval": "evaluate(num_generations=..)",
    "log_unique_prompts": "run.db has them: hone.load_run(..).prompts",
    "ref_model_mixup_alpha": "1.0 only: ref_model_sync_steps replaces the reference by the policy",
    "generation_kwargs": "min_completion_length and stop are options of their own",
}) | _refused({
    "hone samples itself, with the trainer's own function": "use_vllm vllm_mode vllm_model_impl vllm_enable_sleep_mode vllm_structured_outputs_regex vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout vllm_group_port vllm_gpu_memory_utilization vllm_max_model_length vllm_tensor_parallel_size vllm_importance_sampling_mode vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min vllm_importance_sampling_cap use_transformers_continuous_batching transformers_continuous_batching_config use_transformers_paged cache_implementation",
    "the loss is not in hone; pass loss_func to the trainer": "vespo_k_pos vespo_lambda_pos vespo_k_neg vespo_lambda_neg off_policy_mask_threshold top_entropy_quantile entropy_coef use_adaptive_entropy entropy_coef_min entropy_coef_max entropy_coef_delta entropy_target",
    "rewards are summed by weight, then normalised": "multi_objective_aggregation",
    "models in hone have no dropout and a head of their own dtype": "disable_dropout cast_lm_head_to_fp32",
    "templates see messages alone; set defaults in the template": "chat_template_kwargs",
    "nothing is pushed anywhere; run.db holds the completions": "log_completions_hub_repo",
})

SFT = _TRAINER | _MODEL | _same({
    "max_length": "None: no limit; longer rows are refused, not cut",
    "completion_only_loss": "None: True when rows have a prompt",
    "dataset_text_field": "", "shuffle_dataset": "rows are always drawn from a permutation of each epoch",
    "packing": "sequences are always packed without padding, and never attend to one another",
    "packing_strategy": "changes nothing", "padding_free": "it always is", "dataset_num_proc": "rows are read by one thread",
    "eval_packing": "changes nothing", "pad_token": "there is no padding",
    "loss_type": "nll", "truncation_mode": "rows that are too long are refused",
}) | _refused({
    "the end token is the model's own eos_token_id": "eos_token",
    "use the template of the model folder or of processing_class": "chat_template_path",
    "columns are prompt + completion, text, messages, or token ids": "dataset_kwargs",
    "loss on assistant turns alone needs spans of the template; give prompt + completion rows": "assistant_only_loss",
    "activations are recomputed by max_memory_gb": "activation_offloading",
})

# Values of refused fields, beside None, False, 0 and empty ones, that ask for nothing.
ASKS_NOTHING = {
    "top_entropy_quantile": (1.0,), "multi_objective_aggregation": ("sum_then_normalize",), "eval_strategy": ("no",),
}


def is_off(name, value):
    """Whether a value of a refused field asks for nothing."""
    return any(value is off or (type(value) is type(off) and value == off) for off in (*_OFF, *ASKS_NOTHING.get(name, ())))


def markdown():
    """docs/trl_fields.md."""
    lines = ["# TRL's config fields in hone", "",
             "Every field of `GRPOConfig` and `SFTConfig` of PyPI trl 1.16: `same` is accepted and means the same, `ours: name` is",
             "had under another name, `refused: why` raises that sentence unless its value asks for nothing (None, False, 0).",
             "Where hone and TRL have different defaults, hone's hold: `help(hone.GRPOConfig)` lists them.",
             "`python -m hone.trl_fields` prints this page from the table that the configs themselves use."]
    for title, fields in (("GRPOConfig", GRPO), ("SFTConfig", SFT)):
        lines += ["", f"## {title}", "", "| field | hone |", "|---|---|"]
        lines += [f"| `{name}` | {kind}{': ' if note else ''}{note} |" for name, (kind, note) in sorted(fields.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
