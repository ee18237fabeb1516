"""Made by python/stubs.py from the option tables of rl/config.h."""
from typing import Any

class GRPOConfig:
    output_dir: str | None
    per_device_train_batch_size: int | None
    gradient_accumulation_steps: int | None
    num_train_epochs: float
    seed: int | None
    logging_steps: int
    disable_tqdm: bool
    report_to: str | list[str]
    run_name: str | None
    project: str
    threads: int
    generation_batch_size: int | None
    importance_sampling_level: str
    sync_ref_model: bool
    log_completions: bool
    num_completions_to_print: int
    reward_threads: int
    reward_weights: list[float]
    prompts_per_step: int
    num_generations: int
    steps_per_generation: int
    num_iterations: int
    loss_type: str
    epsilon: float
    epsilon_high: float
    delta: float
    sapo_temperature_pos: float
    sapo_temperature_neg: float
    bnpo_sequences: int
    beta: float
    kl_estimator: str
    use_bias_correction_kl: bool
    ref_model_sync_steps: int
    scale_rewards: str
    sample_std: bool
    advantage_epsilon: float
    mask_truncated_completions: bool
    dynamic_sampling: str
    max_sampling_rounds: int
    shuffle_rewards: bool
    reflection_words: list[str]
    assert_gap: bool
    speculative_decoding: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    stop: list[str]
    max_completion_length: int
    min_completion_length: int
    dtype: str
    optimizer: str
    learning_rate: float
    muon_learning_rate: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    weight_decay: float
    max_grad_norm: float
    lr_scheduler_type: str
    warmup_steps: int
    lr_decay_start: float
    lr_min_ratio: float
    max_steps: int
    save_steps: int
    micro_batch_tokens: int
    max_memory_gb: float
    router_bias_update_rate: float
    router_aux_loss_alpha: float
    mtp_loss_weight: float
    lora_r: int
    lora_alpha: float
    lora_target_modules: list[str]
    def __init__(self, output_dir: str | None = None, *,
                 per_device_train_batch_size: int | None = None,
                 gradient_accumulation_steps: int | None = None,
                 num_train_epochs: float = 3.0,
                 seed: int | None = None,
                 logging_steps: int = 1,
                 disable_tqdm: bool = False,
                 report_to: str | list[str] = 'none',
                 run_name: str | None = None,
                 project: str = 'hone',
                 threads: int = 0,
                 generation_batch_size: int | None = None,
                 importance_sampling_level: str = 'token',
                 sync_ref_model: bool = False,
                 log_completions: bool = False,
                 num_completions_to_print: int = 4,
                 reward_threads: int = 1,
                 reward_weights: list[float] = [],
                 prompts_per_step: int = 16,
                 num_generations: int = 16,
                 steps_per_generation: int = 1,
                 num_iterations: int = 1,
                 loss_type: str = 'dapo',
                 epsilon: float = 0.2,
                 epsilon_high: float = 0.2,
                 delta: float = 0.0,
                 sapo_temperature_pos: float = 1.0,
                 sapo_temperature_neg: float = 1.05,
                 bnpo_sequences: int = 0,
                 beta: float = 0.0,
                 kl_estimator: str = 'k3',
                 use_bias_correction_kl: bool = False,
                 ref_model_sync_steps: int = 0,
                 scale_rewards: str = 'group',
                 sample_std: bool = False,
                 advantage_epsilon: float = 1e-06,
                 mask_truncated_completions: bool = False,
                 dynamic_sampling: str = 'none',
                 max_sampling_rounds: int = 10,
                 shuffle_rewards: bool = False,
                 reflection_words: list[str] = [],
                 assert_gap: bool = True,
                 speculative_decoding: bool = False,
                 temperature: float = 1.0,
                 top_k: int = 0,
                 top_p: float = 1.0,
                 min_p: float = 0.0,
                 repetition_penalty: float = 1.0,
                 stop: list[str] = [],
                 max_completion_length: int = 256,
                 min_completion_length: int = 0,
                 dtype: str = 'float32',
                 optimizer: str = 'adamw',
                 learning_rate: float = 1e-06,
                 muon_learning_rate: float = 0.02,
                 adam_beta1: float = 0.9,
                 adam_beta2: float = 0.95,
                 adam_epsilon: float = 1e-08,
                 weight_decay: float = 0.0,
                 max_grad_norm: float = 1.0,
                 lr_scheduler_type: str = 'constant',
                 warmup_steps: int = 0,
                 lr_decay_start: float = 0.5,
                 lr_min_ratio: float = 0.05,
                 max_steps: int = 100,
                 save_steps: int = 0,
                 micro_batch_tokens: int = 16384,
                 max_memory_gb: float = 0.0,
                 router_bias_update_rate: float = 0.0,
                 router_aux_loss_alpha: float = 0.0,
                 mtp_loss_weight: float = 0.3,
                 lora_r: int = 0,
                 lora_alpha: float = 32.0,
                 lora_target_modules: list[str] = [],
                 **trl: Any) -> None: ...
    def steps_of(self, rows: int, tokens: int | None = ...) -> int: ...
    def stage(self, max_steps: int) -> dict[str, Any]: ...
    def to_dict(self) -> dict[str, Any]: ...

class SFTConfig:
    output_dir: str | None
    per_device_train_batch_size: int | None
    gradient_accumulation_steps: int | None
    num_train_epochs: float
    seed: int | None
    logging_steps: int
    disable_tqdm: bool
    report_to: str | list[str]
    run_name: str | None
    project: str
    threads: int
    dataset_text_field: str
    completion_only_loss: bool
    use_token_ids: bool
    tokens_per_step: int
    rows_per_step: int
    max_length: int
    logit_teacher: str
    distil_loss: str
    distil_beta: float
    distil_temperature: float
    on_policy_share: float
    max_completion_length: int
    dtype: str
    optimizer: str
    learning_rate: float
    muon_learning_rate: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    weight_decay: float
    max_grad_norm: float
    lr_scheduler_type: str
    warmup_steps: int
    lr_decay_start: float
    lr_min_ratio: float
    max_steps: int
    save_steps: int
    micro_batch_tokens: int
    max_memory_gb: float
    router_bias_update_rate: float
    router_aux_loss_alpha: float
    mtp_loss_weight: float
    lora_r: int
    lora_alpha: float
    lora_target_modules: list[str]
    def __init__(self, output_dir: str | None = None, *,
                 per_device_train_batch_size: int | None = None,
                 gradient_accumulation_steps: int | None = None,
                 num_train_epochs: float = 3.0,
                 seed: int | None = None,
                 logging_steps: int = 1,
                 disable_tqdm: bool = False,
                 report_to: str | list[str] = 'none',
                 run_name: str | None = None,
                 project: str = 'hone',
                 threads: int = 0,
                 dataset_text_field: str = 'text',
                 completion_only_loss: bool = True,
                 use_token_ids: bool = True,
                 tokens_per_step: int = 4096,
                 rows_per_step: int = 0,
                 max_length: int = 4096,
                 logit_teacher: str = '',
                 distil_loss: str = 'forward_kl',
                 distil_beta: float = 0.5,
                 distil_temperature: float = 1.0,
                 on_policy_share: float = 0.0,
                 max_completion_length: int = 256,
                 dtype: str = 'float32',
                 optimizer: str = 'adamw',
                 learning_rate: float = 1e-06,
                 muon_learning_rate: float = 0.02,
                 adam_beta1: float = 0.9,
                 adam_beta2: float = 0.95,
                 adam_epsilon: float = 1e-08,
                 weight_decay: float = 0.0,
                 max_grad_norm: float = 1.0,
                 lr_scheduler_type: str = 'constant',
                 warmup_steps: int = 0,
                 lr_decay_start: float = 0.5,
                 lr_min_ratio: float = 0.05,
                 max_steps: int = 100,
                 save_steps: int = 0,
                 micro_batch_tokens: int = 16384,
                 max_memory_gb: float = 0.0,
                 router_bias_update_rate: float = 0.0,
                 router_aux_loss_alpha: float = 0.0,
                 mtp_loss_weight: float = 0.3,
                 lora_r: int = 0,
                 lora_alpha: float = 32.0,
                 lora_target_modules: list[str] = [],
                 **trl: Any) -> None: ...
    def steps_of(self, rows: int, tokens: int | None = ...) -> int: ...
    def stage(self, max_steps: int) -> dict[str, Any]: ...
    def to_dict(self) -> dict[str, Any]: ...
