"""hone.GRPOTrainer and hone.SFTTrainer: TRL's own documented scripts with their imports changed, the bytes of `hone
train`, rewards that fail, interrupts, resuming, callbacks, data sets, losses in Python.

    .venv-peers/bin/python tests/python/trainers_test.py build/release/hone
"""
import contextlib
import io
import json
import math
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

from hone_package import PROGRAM, ROOT, tiny_model

import datasets
import hone
import torch
import transformers
import yaml

datasets.disable_progress_bars()

# The examples of trl's documentation (grpo_trainer.md, sft_trainer.md), on local rows and a tiny model.
GRPO_SCRIPT = """
from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer

dataset = load_dataset("json", data_files="prompts.jsonl", split="train")

# Define the reward function, which rewards completions that are close to 20 characters
def reward_len(completions, **kwargs):
    return [-abs(20 - len(completion)) for completion in completions]

training_args = GRPOConfig(output_dir="OUT", per_device_train_batch_size=8, gradient_accumulation_steps=2, num_generations=4,
                           max_completion_length=24, learning_rate=1e-3, lr_scheduler_type="linear", beta=0.04, max_steps=3, logging_steps=1, save_strategy="no",
                           bf16=False, use_cpu=True, gradient_checkpointing=False, report_to="none")
trainer = GRPOTrainer(
    model="model",
    reward_funcs=reward_len,
    args=training_args,
    train_dataset=dataset,
)
trainer.train()
"""
SFT_SCRIPT = """
from trl import SFTConfig, SFTTrainer
from datasets import load_dataset

dataset = load_dataset("json", data_files="rows.jsonl", split="train")

training_args = SFTConfig(output_dir="OUT", per_device_train_batch_size=4, max_steps=3, logging_steps=1, save_strategy="no",
                          learning_rate=1e-3, lr_scheduler_type="linear", bf16=False, use_cpu=True, gradient_checkpointing=False, report_to="none")
trainer = SFTTrainer(
    model="model",
    train_dataset=dataset,
    args=training_args,
)
trainer.train()
"""
HISTORY = '\nimport json\nopen("OUT.json", "w").write(json.dumps(trainer.state.log_history))\n'


def text(*ids):
    return "".join(chr(0x4E00 + i) for i in ids)


PROMPTS = [{"prompt": text(i, i + 1), "wanted": text(i)} for i in range(2, 26)]


def wanted(prompts, completions, wanted, **kwargs):
    return [completion.count(w) / 8 for completion, w in zip(completions, wanted)]


class TrainersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        self.model = tiny_model(self.root / "model")

    def trainer(self, name="run", rewards=wanted, callbacks=(), loss_func=None, **options):
        options = dict(max_steps=4, prompts_per_step=4, num_generations=4, max_completion_length=8, learning_rate=1e-3, seed=5,
                       disable_tqdm=True, threads=2) | options
        return hone.GRPOTrainer(str(self.model), rewards, hone.GRPOConfig(str(self.root / name), **options), PROMPTS,
                                callbacks=list(callbacks), loss_func=loss_func)

    def weights(self, name):
        return (self.root / name / "stages/rl/final/model.safetensors").read_bytes()

    def script(self, source, name, package):
        (self.root / "prompts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in PROMPTS))
        (self.root / "rows.jsonl").write_text("".join(json.dumps({"prompt": r["prompt"], "completion": r["wanted"]}) + "\n" for r in PROMPTS))
        source = (source + HISTORY).replace("OUT", name).replace("from trl import", f"from {package} import")
        done = subprocess.run([sys.executable, "-c", source], cwd=self.root, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        return json.loads((self.root / f"{name}.json").read_text())

    def test_trls_scripts_with_their_imports_changed(self):
        for source in (GRPO_SCRIPT, SFT_SCRIPT):
            own, theirs = self.script(source, "own", "hone"), self.script(source, "theirs", "trl")
            names = set(theirs[0]) - {"step"}
            self.assertLessEqual(names, set(own[0]), f"TRL logs more: {names - set(own[0])}")
            extra = {n for n in set(own[0]) - names - {"step"} if not n.startswith(("time/", "perf/", "sampling/"))}
            self.assertLessEqual(extra, {"frac_reward_missing", "step_time", "completions/reflections"}, extra)
            self.assertEqual([row["step"] for row in own[:3]], [1, 2, 3])
            self.assertLessEqual({"train_runtime", "train_loss", "train_steps_per_second"}, set(own[-1]))
            for name in ("epoch", "learning_rate"):
                self.assertAlmostEqual(own[1][name], theirs[1][name], places=6, msg=name)
            self.assertTrue((self.root / "own/run.db").exists() and list((self.root / "own/tensorboard").glob("*/*tfevents*")))
            for name in ("own", "theirs"):
                subprocess.run(["rm", "-rf", self.root / name], check=True)

    def test_same_bytes_as_hone_train(self):
        """With a reward of hone by name, the recipe that the trainer leaves gives the same weights in the program."""
        trainer = self.trainer(rewards="repetition_penalty:ngram_size=2", beta=0.01, num_iterations=2, max_steps=4)
        trainer.train()
        recipe = self.root / "run/recipe.yaml"
        subprocess.run([PROGRAM, "train", recipe, "--run-dir", self.root / "again"], check=True, capture_output=True)
        self.assertEqual(self.weights("run"), self.weights("again"))
        done = subprocess.run([PROGRAM, "replay", self.root / "run", "--step", "2"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_rewards(self):
        calls = []

        def first(prompts, completions, completion_ids, wanted, **kwargs):
            calls.append(len(completions))
            self.assertEqual(len(prompts), len(wanted))
            return [1.0 * len(ids) for ids in completion_ids]

        async def sometimes(completions, **kwargs):
            return [None if i % 2 else 0.5 for i in range(len(completions))]

        trainer = self.trainer(rewards=[first, sometimes, "repetition_penalty"], reward_weights=[1.0, 2.0, 0.0], max_steps=2)
        trainer.train()
        self.assertEqual(calls, [16, 16], "one call a rollout")
        log = trainer.state.log_history[0]
        self.assertEqual(hone.verl_metrics(log)["critic/rewards/mean"], log["reward"])
        self.assertAlmostEqual(log["reward"], log["rewards/first/mean"] + 2 * 0.5 / 2, places=6)
        run = hone.load_run(trainer.run_dir)
        self.assertEqual(set(run.rewards.name), {"first", "sometimes", "repetition_penalty"})
        self.assertEqual(int(run.rewards.query("name == 'sometimes'").value.isna().sum()), 16)
        self.assertEqual(len(run.rollouts), 32)
        for bad, message in ((lambda **k: [1.0], "returned 1 values for 16 completions"), (lambda **k: ["x"] * 16, "returned 'x'"), (lambda **k: 3, "returned 3")):
            with self.assertRaisesRegex(hone.RewardError, message):
                self.trainer("bad", rewards=bad).train()
            subprocess.run(["rm", "-rf", self.root / "bad"], check=True)

    def test_a_reward_that_fails_names_the_rollout_and_the_run_goes_on(self):
        fails = [True]

        def reward(prompts, completions, **kwargs):
            self.step = getattr(self, "step", 0) + 1
            if fails[0] and self.step > 2:
                for i, (p, c) in enumerate(zip(prompts, completions)):
                    if i == len(prompts) - 1 or len(prompts) == 1 and c == self.bad:
                        self.bad = c
                        raise KeyError("no such answer")
            return [float(len(c)) for c in completions]

        trainer = self.trainer("fails", rewards=reward)
        with self.assertRaises(hone.RewardError) as caught:
            trainer.train()
        self.assertIn("reward 'reward' failed on prompt", str(caught.exception))
        self.assertIn(repr(self.bad), str(caught.exception))
        self.assertIsInstance(caught.exception.__cause__, KeyError)
        self.assertIn("in reward", "".join(__import__("traceback").format_exception(caught.exception)))
        self.assertTrue((self.root / "fails/stages/rl/checkpoints/step-000002").exists(), "what was learnt is kept")
        fails[0] = False
        with self.assertRaisesRegex(FileExistsError, "resume_from_checkpoint=True"):
            self.trainer("fails", rewards=reward).train()
        self.trainer("fails", rewards=reward).train(resume_from_checkpoint=True)
        self.trainer("whole", rewards=reward).train()
        self.assertEqual(self.weights("fails"), self.weights("whole"))

    def test_interrupts(self):
        """Ctrl-C during sampling, a slow reward and an update: within 2 s, and the run goes on to the same bytes."""
        source = """
import sys, time, hone
def reward(completions, **kwargs):
    print("sampled", flush=True)
    time.sleep(float(sys.argv[2]))
    print("scored", flush=True)
    return [float(len(set(c))) for c in completions]
class Watch:
    def on_step_end(self, *args, **kwargs):
        print("updated", flush=True)
options = dict(max_steps=6, prompts_per_step=4, num_generations=8, max_completion_length=200, min_completion_length=190,
               learning_rate=1e-3, threads=1, disable_tqdm=True)
trainer = hone.GRPOTrainer("model", reward, hone.GRPOConfig(sys.argv[1], **options), [{"prompt": chr(0x4E00 + i)} for i in range(2, 30)],
                           callbacks=[Watch()])
try:
    trainer.train(resume_from_checkpoint=True)
except KeyboardInterrupt:
    print("interrupted", trainer.state.global_step, flush=True)
"""
        command = lambda name, sleep=0: [sys.executable, "-c", source, name, str(sleep)]
        interrupts = (("updated", 2, 0), ("scored", 3, 0), ("sampled", 1, 30))  # in sampling, an update, a reward of 30 s
        for event, times, sleep in interrupts:
            p = subprocess.Popen(command(event, sleep), cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(times):
                while (line := p.stdout.readline()) != event + "\n":
                    self.assertTrue(line, "the run ended before it was interrupted")
            start = time.monotonic()
            p.send_signal(signal.SIGINT)
            out = next((line for line in p.stdout if line.startswith("interrupted")), "")
            seconds = time.monotonic() - start
            _, err = p.communicate()
            self.assertLess(seconds, 2, "stopped within 2 s, checkpoint included")
            print(f"stopped after {seconds:.2f} s", file=sys.stderr)
            self.assertRegex(out, r"^interrupted \d", err)
            step = int(out.split()[1])
            self.assertLess(step, 6, "interrupted, not ended")
            checkpoints = sorted((self.root / event / "stages/rl/checkpoints").glob("step-*"))
            self.assertEqual([c.name for c in checkpoints], [f"step-{step:06}"] if step else [])
            subprocess.run(command(event), cwd=self.root, check=True, capture_output=True)
        subprocess.run(command("never"), cwd=self.root, check=True, capture_output=True)
        for event, _, _ in interrupts:
            self.assertEqual(self.weights(event), self.weights("never"))

    def test_callbacks(self):
        class Watch(transformers.TrainerCallback):
            seen = []

            def on_log(self, args, state, control, logs=None, **kwargs):
                self.seen.append((state.global_step, logs["reward"]))

            def on_step_end(self, args, state, control, **kwargs):
                control.should_training_stop = state.global_step == 3

        trainer = self.trainer(callbacks=[Watch()], max_steps=10, report_to=["jsonl", "tensorboard"])
        out = trainer.train()
        self.assertEqual((out.global_step, [s for s, _ in Watch.seen]), (3, [1, 2, 3]))
        self.assertTrue((self.root / "run/stages/rl/checkpoints/step-000003").exists())
        self.assertEqual(len((self.root / "run/metrics.jsonl").read_text().splitlines()), 3)
        trainer.save_model(self.root / "kept")
        self.assertTrue((self.root / "kept/model.safetensors").exists(), "what it has learnt so far")

        class Broken:
            def on_log(self, *args, **kwargs):
                raise OSError("tracker is away")
        with self.assertRaisesRegex(OSError, "tracker is away"):
            self.trainer("broken", callbacks=[Broken()]).train()
        with self.assertRaisesRegex(ValueError, "report_to is 'clearml', allowed is any of"):
            self.trainer("x", report_to="clearml")

    def test_evaluate(self):
        trainer = self.trainer(max_steps=2)
        trainer.train()
        metrics = trainer.evaluate(PROMPTS[:4], num_generations=4)
        self.assertLessEqual({"eval_reward", "eval_reward_std", "eval_rewards/wanted/mean", "eval_completions/mean_length", "eval_pass@1"}, set(metrics))

    def test_a_loss_in_python(self):
        def dapo(policy_logprobs, sampler_logprobs, advantages, weights, **kwargs):
            ratio = (policy_logprobs - sampler_logprobs).exp()
            return -(torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages) * weights).sum()
        options = dict(max_steps=4, num_iterations=2)
        for name, loss in (("cpp", None), ("python", dapo)):
            self.trainer(name, loss_func=loss, **options).train()
        self.assertEqual(self.weights("cpp"), self.weights("python"))
        with self.assertRaisesRegex(ValueError, "return a scalar tensor made from policy_logprobs"):
            self.trainer("bad", loss_func=lambda **kwargs: 3.0).train()
        with self.assertRaisesRegex(ZeroDivisionError, "division"):
            self.trainer("bad2", loss_func=lambda **kwargs: 1 / 0).train()

    def test_data_sets_and_models(self):
        """Every way of giving the same data and model ends with the same weights."""
        rows = PROMPTS
        (self.root / "p.jsonl").write_text("\ufeff" + "".join(json.dumps(r | {"note": "a\u2028b\x85c"}, ensure_ascii=False) + "\n" for r in rows), "utf-8")
        datasets.Dataset.from_list(rows).to_parquet(self.root / "p.parquet")
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(self.model)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32)
        ways = {"list": (rows, str(self.model), None), "jsonl": (self.root / "p.jsonl", self.model, tokenizer),
                "parquet": (str(self.root / "p.parquet"), hone.Model.load(self.model), None),
                "dataset": (datasets.Dataset.from_list(rows), theirs, tokenizer)}
        for name, (data, model, processing_class) in ways.items():
            args = hone.GRPOConfig(str(self.root / name), max_steps=2, prompts_per_step=4, num_generations=4, max_completion_length=8,
                                   learning_rate=1e-3, disable_tqdm=True)
            hone.GRPOTrainer(model, wanted, args, data, processing_class=processing_class).train()
            self.assertEqual(self.weights(name), self.weights("list"), name)
        for data, message in ((3, "train_dataset is int"), ("nowhere.jsonl", "is no file"), ([], "holds no row"), ([{"text": "x"}], "a row needs 'prompt'"),
                              ({"train": rows}, "mapping of splits"), ([3], r"train_dataset\[0\] is 3"),
                              ([{"prompt": "x", "wanted": math.nan}], r"train_dataset\[0\]: Out of range float")):
            with self.assertRaisesRegex((TypeError, ValueError, FileNotFoundError), message):
                hone.GRPOTrainer(str(self.model), wanted, hone.GRPOConfig(str(self.root / "bad"), max_steps=1), data).train()
        with self.assertRaisesRegex(FileNotFoundError, "nobody/nothing is neither a folder"):
            self.model = "nobody/nothing"
            self.trainer("x").train()
        for kwargs, message in (({"peft_config": 1}, "set lora_r"), ({"nonsense": 1}, "no argument 'nonsense'")):
            with self.assertRaisesRegex((TypeError, ValueError), message):
                hone.GRPOTrainer(str(self.model), wanted, None, rows, **kwargs)

    def test_conversations(self):
        """Chat messages go through the model's template and come back to the rewards as messages."""
        (self.model / "chat_template.jinja").write_text(
            "{% for m in messages %}丂{{ m['content'] }}七{% endfor %}{% if add_generation_prompt %}丂{% endif %}")
        message = lambda role, content: {"role": role, "content": content}
        rows = [{"prompt": [message("user", text(i, i))], "wanted": text(i)} for i in range(9, 17)]

        def contents(prompts, completions, wanted, **kwargs):
            self.assertEqual(prompts[0][0]["role"], "user")
            return [c[0]["content"].count(w) / 8 for c, w in zip(completions, wanted)]
        args = hone.GRPOConfig(str(self.root / "chat"), max_steps=2, prompts_per_step=4, num_generations=4, max_completion_length=8,
                               disable_tqdm=True, reward_threads=3)
        trainer = hone.GRPOTrainer(str(self.model), contents, args, rows, rows[:2])
        trainer.train()
        self.assertLessEqual(set(hone.load_run(self.root / "chat").prompts.text), {"丂" + text(i, i) + "七丂" for i in range(9, 17)})
        self.assertIn("eval_reward", trainer.evaluate(num_generations=2))
        rows = [{"messages": [message("user", text(i)), message("assistant", text(i, i))]} for i in range(9, 17)]
        pairs = [{"prompt": r["messages"][:1], "completion": r["messages"][1:]} for r in rows]
        for name, data in (("messages", rows), ("pairs", pairs)):
            args = hone.SFTConfig(str(self.root / name), max_steps=2, per_device_train_batch_size=4, disable_tqdm=True)
            hone.SFTTrainer(str(self.model), args, data).train()

        def first_pair():
            model = hone.Model.load(self.model)
            (ids, start), *_ = model.documents(self.root / "pairs/train.jsonl")
            self.assertEqual(ids[-1], model.end_token)
            return model.decode(ids[:start]), model.decode(ids[start:-1])
        self.assertEqual(first_pair(), ("丂" + text(9) + "七丂", text(9, 9) + "七"))
        end = hone.Model.load(self.model)
        end = end.decode([end.end_token])
        (self.model / "chat_template.jinja").write_text(
            "{% for m in messages %}丂{{ m['content'] }}" + end + "七{% endfor %}{% if add_generation_prompt %}丂{% endif %}")
        self.assertEqual(first_pair(), ("丂" + text(9) + end + "七丂", text(9, 9)))
        (self.model / "chat_template.jinja").write_text("{{ messages | length }}{{ messages[0]['content'] }}")
        with self.assertRaisesRegex(RuntimeError, "train.jsonl:1: .*chat template writes otherwise"):
            first_pair()

    def test_sft(self):
        rows = [{"prompt": r["prompt"], "completion": r["wanted"] * 3} for r in PROMPTS]
        args = hone.SFTConfig(str(self.root / "sft"), per_device_train_batch_size=8, max_steps=30, learning_rate=3e-3, disable_tqdm=True,
                              threads=1)
        trainer = hone.SFTTrainer(str(self.model), args, rows, rows)
        before = trainer.evaluate()["eval_loss"]
        trainer.train()
        after = trainer.evaluate()["eval_loss"]
        self.assertLess(after, before / 2)
        self.assertGreater(trainer.state.log_history[-3]["mean_token_accuracy"], trainer.state.log_history[1]["mean_token_accuracy"])

    def test_rows_with_nulls_as_data_frames_have_them(self):
        rows = [{"prompt": r["prompt"], "completion": r["wanted"]} for r in PROMPTS]
        empty = {"messages": None, "text": None, "prompt_ids": None, "completion_ids": None}
        for name, data in (("plain", rows), ("nulls", [r | empty for r in rows])):
            args = hone.SFTConfig(str(self.root / name), max_steps=2, learning_rate=1e-3, disable_tqdm=True)
            hone.SFTTrainer(str(self.model), args, data).train()
            (self.root / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in data))
            recipe = self.root / f"{name}.yaml"
            recipe.write_text(f"stages: [{{name: sft, kind: sft, model: {self.model}, data: {name}.jsonl, max_steps: 2}}]")
            subprocess.run([PROGRAM, "train", recipe, "--run-dir", self.root / f"{name}-cli"], check=True, stdout=subprocess.DEVNULL)
        for suffix in ("", "-cli"):
            weights = [(self.root / (name + suffix) / "stages/sft/final/model.safetensors").read_bytes() for name in ("plain", "nulls")]
            self.assertEqual(*weights)

    def test_a_new_student_takes_the_tokens_of_a_model_from_outside(self):
        """Its end token is none that hone's own tasks have; the logits of both can be compared."""
        (self.root / "d.jsonl").write_text("".join(json.dumps({"prompt": r["prompt"], "completion": r["wanted"]}) + "\n" for r in PROMPTS))
        (self.root / "d.yaml").write_text(f"""
stages:
  - {{name: first, kind: sft, model: {self.model}, data: d.jsonl, max_steps: 1}}
  - {{name: student, kind: distil, teacher: "${{first}}", logit_teacher: "${{first}}", data: d.jsonl, max_steps: 2,
     model_config: {{model_type: llama, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32}}}}
""")
        subprocess.run([PROGRAM, "train", self.root / "d.yaml", "--run-dir", self.root / "d"], check=True, stdout=subprocess.DEVNULL)
        student = transformers.AutoModelForCausalLM.from_pretrained(self.root / "d/stages/student/final")
        teacher = transformers.AutoConfig.from_pretrained(self.model)
        self.assertEqual((student.config.vocab_size, student.config.eos_token_id), (teacher.vocab_size, teacher.eos_token_id))

    def test_progress_bar_and_completions(self):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
            self.trainer(disable_tqdm=False, log_completions=True, num_completions_to_print=2, max_steps=2).train()
        self.assertIn("2/2", err.getvalue())
        self.assertEqual(out.getvalue().count("advantage"), 4)

    def test_examples(self):
        examples = ROOT / "python/examples"
        run = lambda *args, cwd=self.root: subprocess.run([sys.executable, *map(str, args)], cwd=cwd, capture_output=True, text=True)
        for args in ((examples / "grpo.py", self.model, "g"), (examples / "sft.py", self.model, "s"), (examples / "new_loss.py", self.model, "l"),
                     (examples / "read_run.py", "g"), (examples / "sandbox_asyncio.py",),
                     ("-m", "hone", "train", "own_functions.yaml", "--set", f"rl.model={self.model}", "--run-dir", self.root / "own"),
                     ("-m", "hone", "replay", self.root / "own", "--step", 2, "--reward", "python:own_functions:short",
                      "--set", "rl.reward_weights=[0.5]"),
                     ("-m", "hone", "eval", "--model", self.root / "own/stages/rl", "--data", self.root / "own/stages/prompts/data/rows.jsonl",
                      "--reward", "python:own_functions:short", "--k", 2, "--max-new-tokens", 10)):
            done = run(*args, cwd=examples if args[0] == "-m" else self.root)
            self.assertEqual(done.returncode, 0, f"{args}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
        with contextlib.closing(sqlite3.connect(self.root / "g/run.db")) as db:
            reward = [v for v, in db.execute("select value from steps where name = 'reward' order by step")]
        self.assertGreater(reward[-1], 2 * reward[0] + 0.05, "the example learns")
        done = subprocess.run([PROGRAM, "train", "own_functions.yaml", "--set", f"rl.model={self.model}", "--run-dir", self.root / "other"],
                              cwd=examples, capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("python -m hone", done.stderr)
        recipe = yaml.safe_load((self.root / "own/recipe.yaml").read_text())
        self.assertEqual(recipe["stages"][0]["kind"], "python")
        rows = [json.loads(line) for line in (self.root / "own/stages/kept/data/rows.jsonl").read_text().splitlines()]
        self.assertTrue(rows)


if __name__ == "__main__":
    unittest.main(verbosity=2)
