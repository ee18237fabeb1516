"""hone and PyPI TRL compute the same loss and the same gradient from the same batch: every loss_type, with and without
KL, in one micro-batch and in several. TRL's side is its own: a GRPOTrainer (an SFTTrainer) trains for one step with a
learning rate of 0 and its own advantages, reference log-probs, loss and accumulation; only the completions, which it
would have sampled, and their log-probs under the older policy are given. Changed settings must be told apart.

    .venv-peers/bin/python tests/python/trl_parity_test.py build/release/hone
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ |= {"CI": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}  # no telemetry, no warning

import safetensors.torch
import torch
import transformers
import trl
from datasets import Dataset
from trl.experimental.gkd import GKDTrainer
from trl.rewards import get_soft_overlong_punishment

import tiny_models

# bnpo's value depends on which completions share a micro-batch; TRL deals them at random
trl.trainer.grpo_trainer.shuffle_sequence_dict = lambda batch: batch

TOLERANCE = 1e-5  # of the loss, of the gradient as a whole vector, and of the largest difference in one element
PROMPTS, GROUP, LENGTH = 6, 4, 12
failures = []


def check(ok, line):
    print(("ok      " if ok else "FAILED  ") + line, flush=True)
    if not ok:
        failures.append(line)


# ---- the batch --------------------------------------------------------------------------------------------------------

def random_groups(policy, temperature):
    """Groups of many lengths, one prompt of which earns the same everywhere and one completion of which has no reward. The
    older policy's log-probs are those of this one and noise, so that some ratios are clipped, and lower for what earned
    more, so that the loss is no small difference of large terms."""
    g = torch.Generator().manual_seed(11)
    draw = lambda n: torch.randint(2, tiny_models.VOCAB, (n,), generator=g).tolist()
    groups = []
    for p in range(PROMPTS):
        prompt, completions = draw(3 + 2 * p), []
        for s in range(GROUP):
            ended = (p + s) % 3 != 0
            ids = draw(1 + (7 * p + 5 * s) % (LENGTH - 1)) + [1] if ended else draw(LENGTH)
            with torch.no_grad():
                logits = policy(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1:-1] / temperature
            own = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
            reward = None if (p, s) == (2, 1) else 0.5 if p == 4 else ((3 * p + 5 * s) % 7) / 3
            older = own + 0.2 * torch.randn(len(ids), generator=g) - 0.15 * ((reward or 0) - 1)
            completions.append({"token_ids": ids, "logprobs": older.tolist(),
                                "reward": reward, "finish_reason": "eos" if ended else "length"})
        groups.append({"prompt_ids": prompt, "completions": completions})
    return groups


# ---- TRL ---------------------------------------------------------------------------------------------------------------

class Recorder(transformers.TrainerCallback):
    """The gradient of the step, before the optimizer sees it."""
    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradient = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}


class GivenCompletions(trl.GRPOTrainer):
    """Does not sample: the completions are `groups`. All else is TRL's."""
    def _generate(self, prompts):
        rows = [(self.groups[int(p)], s) for p, s in zip(prompts, self.samples(prompts))]
        completions = [g["completions"][s]["token_ids"] for g, s in rows]
        return [g["prompt_ids"] for g, _ in rows], completions, None, [""] * len(rows), None, {}, None, None

    def samples(self, prompts):
        seen = {}
        return [seen.update({p: seen.get(p, -1) + 1}) or seen[p] for p in prompts]

    def reward(self, prompts, **kwargs):
        return [self.groups[int(p)]["completions"][s]["reward"] for p, s in zip(prompts, self.samples(prompts))]

    def _generate_and_score_completions(self, inputs):
        out = super()._generate_and_score_completions(inputs)
        prompts = [x["prompt"] for x in inputs]
        rows = [self.groups[int(p)]["completions"][s]["logprobs"] for p, s in zip(prompts, self.samples(prompts))]
        out["old_per_token_logps"] = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)
        self.given_advantages = out["advantages"].tolist()
        return out

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append(loss.item())
        return loss


COMMON = dict(learning_rate=0.0, max_steps=1, logging_steps=1, report_to="none", use_cpu=True, bf16=False, max_grad_norm=0.0,
              save_strategy="no", gradient_checkpointing=False, disable_tqdm=True, lr_scheduler_type="constant")


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def trl_policy_step(folder, reference, groups, micro_batches, options, work):
    rows = PROMPTS * GROUP
    args = trl.GRPOConfig(output_dir=work / "trl", per_device_train_batch_size=rows // micro_batches,
                          gradient_accumulation_steps=micro_batches, num_generations=GROUP, max_completion_length=LENGTH,
                          shuffle_dataset=False, **COMMON, **options)
    model = load(folder)
    model.config._name_or_path = str(reference)  # where TRL takes its reference model from
    recorder = Recorder()
    reward = lambda prompts, **kwargs: trainer.reward(prompts)
    trainer = GivenCompletions(model, reward_funcs=reward, args=args, callbacks=[recorder],
                               train_dataset=Dataset.from_dict({"prompt": [str(p) for p in range(PROMPTS)]}),
                               processing_class=transformers.PreTrainedTokenizerFast.from_pretrained(folder))
    trainer.groups, trainer.losses = groups, []
    trainer.train()
    assert len(trainer.losses) == micro_batches, trainer.losses
    metrics = trainer.state.log_history[0]
    return {"loss": sum(trainer.losses), "gradient": recorder.gradient, "advantages": trainer.given_advantages,
            "kl": metrics.get("kl"), "entropy": metrics["entropy"], "clip_ratio": metrics.get("clip_ratio/region_mean")}


def trl_sft_step(folder, rows, micro_batches, completion_only, work):
    class Losses(trl.SFTTrainer):
        def compute_loss(self, *args, **kwargs):
            loss = super().compute_loss(*args, **kwargs)
            losses.append((loss[0] if isinstance(loss, tuple) else loss).item())
            return loss
    losses, recorder = [], Recorder()
    args = trl.SFTConfig(output_dir=work / "trl", per_device_train_batch_size=len(rows) // micro_batches,
                         gradient_accumulation_steps=micro_batches, completion_only_loss=completion_only, max_length=None,
                         shuffle_dataset=False, **COMMON)
    trainer = Losses(load(folder), args=args, train_dataset=Dataset.from_list(rows), callbacks=[recorder],
                     processing_class=transformers.PreTrainedTokenizerFast.from_pretrained(folder))
    trainer.train()
    assert len(losses) == micro_batches, losses
    return {"loss": sum(losses), "gradient": recorder.gradient}


# ---- hone --------------------------------------------------------------------------------------------------------------

class Hone:
    def __init__(self, driver, work):
        self.process = subprocess.Popen([driver], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.file = work / "gradient.safetensors"

    def ask(self, **row):
        self.process.stdin.write(json.dumps({"gradient": str(self.file)} | row) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer | {"gradient": safetensors.torch.load_file(self.file)}

    def policy_step(self, folder, reference, groups, part_tokens, options):
        stage = {"name": "rl", "kind": "rl", "model": "m", "data": "d", "reward_funcs": ["exact"], "num_generations": GROUP,
                 "max_completion_length": LENGTH} | options
        return self.ask(model=str(folder), reference=str(reference), part_tokens=part_tokens, groups=groups,
                        recipe=json.dumps({"name": "parity", "stages": [stage]}))

    def sft_step(self, folder, documents, part_tokens, options, **row):
        stage = {"name": "sft", "kind": "sft", "model": "m", "data": "d"} | options
        return self.ask(model=str(folder), documents=str(documents), part_tokens=part_tokens,
                        recipe=json.dumps({"name": "parity", "stages": [stage]}), **row)


# ---- comparisons -------------------------------------------------------------------------------------------------------

def relative(a, b):
    return abs(a - b) / max(abs(a), abs(b), 1e-30)


def gaps(own, theirs):
    """Relative differences: of the loss, and of the gradient as one vector."""
    assert own["gradient"].keys() == theirs["gradient"].keys(), own["gradient"].keys() ^ theirs["gradient"].keys()
    flat = lambda g: torch.cat([g[name].double().flatten() for name in sorted(g)])
    a, b = flat(own["gradient"]), flat(theirs["gradient"])
    return relative(own["loss"], theirs["loss"]), ((a - b).norm() / b.norm()).item()


TRL_ADVANTAGES = {"sample_std": True, "advantage_epsilon": 1e-4}
# name: (what hone is told, what TRL is told)
LOSSES = {
    "grpo": ({"loss_type": "grpo"}, {"loss_type": "grpo"}),
    "dapo": ({"loss_type": "dapo", "epsilon_high": 0.28}, {"loss_type": "dapo", "epsilon_high": 0.28}),
    "dr_grpo": ({"loss_type": "dr_grpo", "scale_rewards": "none"}, {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    # TRL's epsilon_high is the largest weight itself, and nothing bounds it from below (MiniMax-M1 eq. 5, in practice)
    "cispo": ({"loss_type": "cispo", "epsilon": 1.0, "epsilon_high": 0.3}, {"loss_type": "cispo", "epsilon_high": 1.3}),
    "gspo": ({"loss_type": "gspo", "epsilon": 0.05, "epsilon_high": 0.04},
             {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.05, "epsilon_high": 0.04}),
    "sapo": ({"loss_type": "sapo", "sapo_temperature_neg": 1.2}, {"loss_type": "sapo", "sapo_temperature_neg": 1.2}),
    "bnpo": ({"loss_type": "bnpo"}, {"loss_type": "bnpo"}),
    "grpo, two-sided clip": ({"loss_type": "grpo", "delta": 1.3}, {"loss_type": "grpo", "delta": 1.3}),
    "dapo, two-sided clip": ({"loss_type": "dapo", "delta": 1.25}, {"loss_type": "dapo", "delta": 1.25}),
}
SHARED = {
    "": {},
    ", KL": {"beta": 0.04, "use_bias_correction_kl": False},
    ", KL weighed by the ratio": {"beta": 0.04, "use_bias_correction_kl": True},
}
ONCE = {  # on one loss each: settings that do not depend on it
    "grpo, eps 10, R1": ("grpo", {"epsilon": 10.0, "epsilon_high": 10.0, "beta": 0.001, "use_bias_correction_kl": False}),
    "dapo, batch std, temperature .7": ("dapo", {"scale_rewards": "batch", "temperature": 0.7, "beta": 0.1, "use_bias_correction_kl": False}),
    "grpo, truncated masked": ("grpo", {"mask_truncated_completions": True, "beta": 0.02, "use_bias_correction_kl": False}),
    "dapo, truncated masked": ("dapo", {"mask_truncated_completions": True}),
    "dr_grpo, truncated masked": ("dr_grpo", {"mask_truncated_completions": True}),
}


class Parity:
    def __init__(self, hone, work):
        self.hone, self.work = hone, work
        configs = tiny_models.configs()
        self.policy, self.reference, self.teacher = work / "policy", work / "reference", work / "teacher"
        tiny_models.make(configs["llama"], self.teacher, 9)
        tiny_models.make(configs["qwen2"], self.policy, 3)
        tiny_models.make(configs["qwen2"], self.reference, 3)
        model = load(self.reference)
        with torch.no_grad():
            g = torch.Generator().manual_seed(5)
            for p in model.parameters():
                p.add_(0.02 * torch.randn(p.shape, generator=g) * p.abs().mean())
        model.save_pretrained(self.reference)
        self.groups = {t: random_groups(load(self.policy).eval(), t) for t in (1.0, 0.7)}

    def compare(self, name, own_options, trl_options, micro_batches):
        groups = self.groups[own_options.get("temperature", 1.0)]
        part = 4096 if micro_batches == 1 else 64
        own_options = own_options | {"bnpo_sequences": PROMPTS * GROUP // micro_batches}
        own = self.hone.policy_step(self.policy, self.reference, groups, part, own_options)
        theirs = trl_policy_step(self.policy, self.reference, groups, micro_batches, trl_options, self.work)
        loss, gradient = gaps(own, theirs)
        advantages = max(abs(a - b) for a, b in zip(sum(own["advantages"], []), theirs["advantages"]))
        extra = [f"advantages {advantages:.1e}"]
        ok = loss <= TOLERANCE and gradient <= TOLERANCE and advantages <= 1e-5
        for key in ("kl", "entropy", "clip_ratio"):
            # TRL averages these over micro-batches, sequences count alike in gspo, and only A > 0 counts in cispo
            if theirs[key] is None or micro_batches > 1 or (key == "clip_ratio" and name.startswith("gspo")):
                continue
            difference = relative(own[key], theirs[key])
            extra.append(f"{key} {difference:.1e}")
            ok = ok and difference <= TOLERANCE
        check(ok, f"{name}, {micro_batches} micro-batches: loss {theirs['loss']:+.6f}, relative difference {loss:.1e}, gradient {gradient:.1e}; "
              + ", ".join(extra))
        return own, theirs

    def losses(self):
        for loss, (own, theirs) in LOSSES.items():
            for name, shared in SHARED.items():
                for micro_batches in (1, 3):
                    self.compare(loss + name, TRL_ADVANTAGES | own | shared, theirs | shared, micro_batches)
        for name, (loss, shared) in ONCE.items():
            own, theirs = LOSSES[loss]
            self.compare(name, TRL_ADVANTAGES | own | shared, theirs | shared, 4)

    def controls(self):
        own, theirs = LOSSES["dapo"]
        shared = SHARED[", KL"]
        own = TRL_ADVANTAGES | own | shared
        expected = trl_policy_step(self.policy, self.reference, self.groups[1.0], 3, theirs | shared, self.work)
        changes = {
            "epsilon": {"epsilon": 0.21}, "epsilon_high": {"epsilon_high": 0.15}, "beta": {"beta": 0.041},
            "KL estimator": {"kl_estimator": "k2"}, "weight of the KL": {"use_bias_correction_kl": True}, "normaliser": {"loss_type": "grpo"}, "population std": {"sample_std": False},
            "cispo": {"loss_type": "cispo"}, "two-sided clip": {"delta": 1.3}, "bnpo": {"loss_type": "bnpo", "bnpo_sequences": 8}, "advantage epsilon": {"advantage_epsilon": 1e-2}, "temperature": {"temperature": 1.001},
        }
        for name, change in changes.items():
            answer = self.hone.policy_step(self.policy, self.reference, self.groups[1.0], 64, own | change)
            _, gradient = gaps(answer, expected)
            check(gradient > 10 * TOLERANCE, f"control, another {name}: told apart, gradient differs by {gradient:.1e}")

    # ---- supervised -----------------------------------------------------------------------------------------------

    def documents(self):
        """The groups' prompts and completions as text; both sides tokenise it and add the end token."""
        text = lambda ids: "".join(chr(0x4E00 + i) for i in ids)
        return [{"prompt": text(g["prompt_ids"]), "completion": text(i for i in c["token_ids"] if i > 1)}
                for g in self.groups[1.0] for c in g["completions"][:3]]

    def sft_step(self, rows, part_tokens, options, **row):
        file = self.work / "documents.jsonl"
        file.write_text("".join(json.dumps(r) + "\n" for r in rows))
        return self.hone.sft_step(self.policy, file, part_tokens, options, **row)

    def sft(self):
        rows = self.documents()
        whole = [{"text": r["prompt"] + r["completion"]} for r in rows]
        for name, data, completion_only in (("text", whole, False), ("prompt and completion", rows, False),
                                            ("completion only", rows, True)):
            for micro_batches in (1, 3):
                own = self.sft_step(data, 4096 if micro_batches == 1 else 64, {"completion_only_loss": completion_only})
                theirs = trl_sft_step(self.policy, data, micro_batches, completion_only, self.work)
                loss, gradient = gaps(own, theirs)
                check(loss <= TOLERANCE and gradient <= TOLERANCE, f"sft, {name}, {micro_batches} micro-batches: "
                      f"loss {theirs['loss']:.6f}, relative difference {loss:.1e}, gradient {gradient:.1e}")
        _, gradient = gaps(self.sft_step(rows, 64, {"completion_only_loss": False}), theirs)
        check(gradient > 10 * TOLERANCE, f"control, loss on prompts as well: told apart, gradient differs by {gradient:.1e}")

    def gkd(self, rows, beta, temperature):
        """TRL's generalised JSD of the two models' logits, as GKDTrainer calls it."""
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(self.policy)
        student, teacher, total, count = load(self.policy), load(self.teacher), 0, 0
        for row in rows:
            prompt, completion = tokenizer(row["prompt"])["input_ids"], tokenizer(row["completion"])["input_ids"] + [1]
            ids = torch.tensor([prompt + completion])
            with torch.no_grad():
                expected = teacher(ids).logits[:, len(prompt) - 1:-1]
            total = total + GKDTrainer.generalized_jsd_loss(student(ids).logits[:, len(prompt) - 1:-1], expected, beta=beta,
                                                            temperature=temperature, num_items_in_batch=1)
            count += len(completion)
        (total / count).backward()
        return {"loss": (total / count).item(), "gradient": {n: p.grad for n, p in student.named_parameters()}}

    def distillation(self):
        rows = self.documents()
        for name, beta, options in (("forward_kl", 0, {}), ("reverse_kl", 1, {}), ("jsd", 0.3, {"distil_beta": 0.3}),
                                    ("jsd", 0.5, {}), ("forward_kl", 0, {"distil_temperature": 2.0})):
            own = self.sft_step(rows, 64, {"distil_loss": name} | options, teacher=str(self.teacher))
            theirs = self.gkd(rows, beta, options.get("distil_temperature", 1.0))
            loss, gradient = gaps(own, theirs)
            check(loss <= TOLERANCE and gradient <= TOLERANCE, f"distillation, {name}, beta {beta}: "
                  f"loss {theirs['loss']:.6f}, relative difference {loss:.1e}, gradient {gradient:.1e}")
        _, gradient = gaps(self.sft_step(rows, 64, {"distil_loss": "jsd", "distil_beta": 0.31}, teacher=str(self.teacher)),
                           self.gkd(rows, 0.3, 1.0))
        check(gradient > 10 * TOLERANCE, f"control, another distil_beta: told apart, gradient differs by {gradient:.1e}")

    def overlong(self, program):
        theirs = get_soft_overlong_punishment(max_completion_len=20, soft_punish_cache=8)([[1] * n for n in range(1, 26)])
        rows = "".join(json.dumps({"id": n, "completion": "x", "token_ids": [1] * n}) + "\n" for n in range(1, 26))
        out = subprocess.run([program, "score", "--reward", "soft_overlong_punishment:max_completion_len=20,soft_punish_cache=8"],
                             input=rows, capture_output=True, text=True, check=True).stdout
        own = [json.loads(line)["score"] for line in out.splitlines()]
        check(own == theirs and min(own) == -1 and len(set(own)) == 9, "soft_overlong_punishment: TRL's value for 1 to 25 tokens")


def main(program):
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        parity = Parity(Hone(pathlib.Path(program).parent / "bin" / "loss_driver", work), work)
        parity.losses()
        parity.controls()
        parity.sft()
        parity.distillation()
        parity.overlong(program)
    print(f"{len(failures)} of the checks failed" if failures else "all checks passed")
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
