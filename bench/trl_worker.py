"""One process of TRL's GRPOTrainer for grpo_vs_trl.py: writes OUTPUT/steps.json, the seconds of every step.

No reference model (beta 0), one update a rollout, float32 weights (with --dtype bfloat16 under autocast: bf16=True), no
gradient checkpointing, default attention (sdpa).
"""

import argparse
import json
import pathlib
import time
import warnings

import datasets
import torch
import transformers
from trl import GRPOConfig, GRPOTrainer

from python_rewards import REWARDS

transformers.logging.set_verbosity_error()
warnings.filterwarnings("ignore")


class TimedTrainer(GRPOTrainer):
    """Records what a step spends where; the work is GRPOTrainer's own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.steps = []
        self.lengths = []

    def _generate(self, *args, **kwargs):
        begin = time.perf_counter()
        result = super()._generate(*args, **kwargs)
        self.rollout_s = time.perf_counter() - begin
        return result

    def _calculate_rewards(self, *args, **kwargs):
        begin = time.perf_counter()
        result = super()._calculate_rewards(*args, **kwargs)
        self.reward_s = time.perf_counter() - begin
        return result

    def _generate_and_score_completions(self, inputs):
        begin = time.perf_counter()
        result = super()._generate_and_score_completions(inputs)
        self.scored_s = time.perf_counter() - begin
        self.lengths.append(result["completion_mask"].sum(1).tolist())
        return result


class StepClock(transformers.TrainerCallback):
    def __init__(self):
        self.trainer = None

    def on_step_begin(self, *args, **kwargs):
        self.begin = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        step_s, t = time.perf_counter() - self.begin, self.trainer
        t.steps.append({"step": step_s, "rollout": t.rollout_s, "reward": t.reward_s, "logprobs": 0.0, "store": 0.0,
                        "update": step_s - t.scored_s})


def settings(args):
    return GRPOConfig(
        output_dir=args.output, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True,
        bf16=args.dtype == "bfloat16", gradient_checkpointing=False, per_device_train_batch_size=args.micro_batch,
        gradient_accumulation_steps=args.sequences // args.micro_batch, num_generations=args.samples,
        max_completion_length=args.max_new, temperature=1.0, top_k=0, top_p=1.0, beta=0.0, num_iterations=1,
        loss_type="dapo", learning_rate=1e-5, lr_scheduler_type="constant", max_grad_norm=1.0,
        max_steps=args.steps, seed=args.seed, dataloader_pin_memory=False,
        generation_kwargs={"min_new_tokens": args.min_new} if args.min_new else None)


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "data", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--reward", choices=list(REWARDS), required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    for name in ("steps", "min-new", "max-new", "samples", "sequences", "micro-batch", "threads", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = datasets.Dataset.from_list([json.loads(line) for line in open(args.data)])
    clock = StepClock()
    trainer = TimedTrainer(
        model=transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32),
        processing_class=transformers.AutoTokenizer.from_pretrained(args.model), reward_funcs=REWARDS[args.reward],
        args=settings(args), train_dataset=rows, callbacks=[clock])
    clock.trainer = trainer
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    result = {"steps": trainer.steps, "lengths": trainer.lengths}
    pathlib.Path(args.output, "steps.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
