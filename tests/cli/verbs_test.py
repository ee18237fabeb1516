"""What every verb prints, on tiny random models: python3 tests/cli/verbs_test.py build/release/hone"""
import json
import math
import struct
import subprocess

import harness
from harness import HoneTest, read_jsonl, write_jsonl

PROMPT = "7 3 12:33\n"


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def log_softmax(logits):
    top = max(logits)
    total = math.log(math.fsum(math.exp(x - top) for x in logits)) + top
    return [x - total for x in logits]


def tensor_sizes(model):
    """Name -> number of elements, out of the safetensors header."""
    data = (model / "model.safetensors").read_bytes()
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    return {name: math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__"}


class Generate(HoneTest):
    def generate(self, *args, model=None):
        return read_jsonl(self.ok("generate", "--model", model or self.model, "--jsonl", *args))

    def prompts(self, count):
        rows = read_jsonl(self.heldout.read_text())[:count]
        return write_jsonl(self.tmp / "prompts.jsonl", rows)

    def test_rows_have_the_keys_of_the_contract_in_order(self):
        rows = self.generate("--data", self.prompts(3), "--n", 2)
        self.assertEqual([(r["prompt_index"], r["sample"]) for r in rows], [(p, s) for p in range(3) for s in range(2)])
        for row in rows:
            self.assertLessEqual({"prompt_index", "sample", "prompt_ids", "token_ids", "logprobs", "text", "finish_reason"},
                                 set(row))
            self.assertEqual(len(row["token_ids"]), len(row["logprobs"]))
            self.assertEqual(row["finish_reason"], "eos" if row["token_ids"][-1] == 1 else "length")

    def test_numbers_read_back_as_the_same_float32(self):
        text = self.ok("generate", "--model", self.model, "--jsonl", "--prompt", PROMPT)
        for written in text.split('"logprobs":[')[1].split("]")[0].split(","):
            self.assertEqual("%.9g" % float32(float(written)), written)

    def test_sampler_and_trainer_agree_on_every_token(self):
        for model in (self.model, self.moe_run / "stages" / "base"):
            rows = self.generate("--data", self.prompts(6), "--n", 3, model=model)
            data = write_jsonl(self.tmp / "ids.jsonl", [{"token_ids": r["prompt_ids"] + r["token_ids"]} for r in rows])
            answers = read_jsonl(self.ok("logprobs", "--model", model, "--data", data))
            for row, answer in zip(rows, answers, strict=True):
                self.assertEqual(len(answer["logprobs"]), len(row["prompt_ids"]) + len(row["token_ids"]) - 1)
                self.assertEqual(answer["logprobs"][-len(row["token_ids"]):], row["logprobs"])

    def test_a_completion_is_the_same_alone_and_among_others(self):
        among = self.generate("--data", self.prompts(5), "--n", 8, "--max-new-tokens", 40)
        row = dict(read_jsonl(self.heldout.read_text())[3], id=3)
        alone = self.generate("--data", write_jsonl(self.tmp / "one.jsonl", [row]), "--max-new-tokens", 40, "--threads", 1)
        wanted = next(r for r in among if r["prompt_index"] == 3 and r["sample"] == 0)
        for key in ("token_ids", "logprobs", "text", "finish_reason"):
            self.assertEqual(alone[0][key], wanted[key])
        self.assertEqual(alone[0]["id"], 3)
        self.assertNotEqual([r["token_ids"] for r in among[:8]], [among[0]["token_ids"]] * 8)

    def test_the_seed_decides(self):
        first, again, other = (self.generate("--prompt", PROMPT, "--seed", s) for s in (5, 5, 6))
        self.assertEqual(first, again)
        self.assertNotEqual(first[0]["token_ids"], other[0]["token_ids"])

    def test_greedy_takes_the_largest_logit_each_time(self):
        rows = self.generate("--prompt", PROMPT, "--greedy", "--n", 2, "--max-new-tokens", 12)
        self.assertEqual(rows[0]["token_ids"], rows[1]["token_ids"])
        ids = rows[0]["prompt_ids"] + rows[0]["token_ids"]
        data = write_jsonl(self.tmp / "ids.jsonl", [{"token_ids": ids}])
        logits = json.loads(self.ok("logprobs", "--model", self.model, "--data", data, "--logits"))["logits"]
        largest = [row.index(max(row)) for row in logits]
        self.assertEqual(largest[len(rows[0]["prompt_ids"]) - 1:-1], rows[0]["token_ids"])

    def test_generation_config_gives_the_defaults_and_flags_win(self):
        copy = self.copy_of_model()
        plain, greedy = self.generate("--prompt", PROMPT), self.generate("--prompt", PROMPT, "--greedy")
        (copy / "generation_config.json").write_text(json.dumps({"top_k": 1, "temperature": 0.5, "top_p": None}))
        self.assertEqual(self.generate("--prompt", PROMPT, model=copy)[0]["token_ids"], greedy[0]["token_ids"])
        flags = ("--prompt", PROMPT, "--top-k", 0, "--temperature", 1)
        self.assertEqual(self.generate(*flags, model=copy), plain)

    def test_stop_strings_end_a_completion_and_are_left_out_of_it(self):
        plain = self.generate("--prompt", PROMPT, "--n", 30)
        stopped = self.generate("--prompt", PROMPT, "--n", 30, "--stop", "3", "--stop", " no")
        seen = set()
        for a, b in zip(plain, stopped, strict=True):
            self.assertEqual(a["token_ids"][:len(b["token_ids"])], b["token_ids"])
            self.assertEqual(a["logprobs"][:len(b["logprobs"])], b["logprobs"])
            cut = min((a["text"].find(s) for s in ("3", " no") if s in a["text"]), default=-1)
            self.assertEqual(b["finish_reason"], a["finish_reason"] if cut < 0 else "stop")
            self.assertEqual(b["text"], a["text"] if cut < 0 else a["text"][:cut])
            seen.add(b["finish_reason"])
        self.assertIn("stop", seen)

    def test_a_repetition_penalty_keeps_greedy_from_repeating(self):
        rows = [self.generate("--prompt", PROMPT, "--greedy", "--max-new-tokens", 20, "--repetition-penalty", p)[0]["token_ids"]
                for p in (1, 1000)]
        self.assertLess(len(set(rows[0])), len(rows[0]), "a tiny random model repeats itself")
        self.assertEqual(len(set(rows[1])), len(rows[1]))

    def test_chat_applies_the_template_of_the_model(self):
        copy = self.copy_of_model()
        refused = self.refused(2, ["chat template"], "generate", "--model", copy, "--prompt", PROMPT, "--chat")
        self.assertEqual(refused.stdout, "")
        (copy / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}:{% endfor %}"
                                                  "{% if add_generation_prompt %}33\n{% endif %}")
        chat = self.generate("--prompt", "7 3 12", "--chat", model=copy)
        self.assertEqual(chat, self.generate("--prompt", PROMPT))
        rows = write_jsonl(self.tmp / "chats.jsonl", [{"messages": [{"role": "user", "content": "7 3 12"}]}])
        self.assertEqual(self.generate("--data", rows, model=copy), self.generate("--prompt", PROMPT))

    def test_greedy_speculation_gives_the_same_rows(self):
        model = self.moe_run / "stages" / "base"
        args = ("generate", "--model", model, "--jsonl", "--data", self.prompts(6), "--greedy")
        done = harness.hone(*args, "--speculate")
        self.assertRegex(done.stderr, r"^speculation: \d+ of \d+ drafts accepted, 1\.\d\d tokens a forward pass\n$")
        self.assertEqual(done.stdout, self.ok(*args))
        self.refused(2, ["multi-token-prediction"], "generate", "--model", self.model, "--prompt", PROMPT, "--speculate")

    def test_lengths_are_clamped_to_the_positions_of_the_model_and_kept_to_the_flags(self):
        longest = self.generate("--prompt", PROMPT, "--min-new-tokens", 88)[0]
        self.assertEqual(len(longest["prompt_ids"]) + len(longest["token_ids"]), 96)
        short = self.generate("--prompt", PROMPT, "--n", 20, "--max-new-tokens", 7, "--min-new-tokens", 3)
        self.assertTrue(all(3 <= len(r["token_ids"]) <= 7 for r in short))

    def test_text_is_the_tokens_without_the_end_token(self):
        rows = [r for r in self.generate("--prompt", PROMPT, "--n", 30) if r["finish_reason"] == "eos"]
        self.assertTrue(rows)
        sent = "".join(json.dumps({"token_ids": r["token_ids"][:-1]}) + "\n" for r in rows)
        texts = read_jsonl(self.ok("tokenize", "--model", self.model, "--decode", stdin=sent))
        self.assertEqual([t["text"] for t in texts], [r["text"] for r in rows])
        shown = self.ok("generate", "--model", self.model, "--prompt", PROMPT)
        self.assertEqual(shown, self.generate("--prompt", PROMPT)[0]["text"] + "\n")


class Logprobs(HoneTest):
    def test_logprobs_are_the_log_softmax_of_the_logits(self):
        data = write_jsonl(self.tmp / "ids.jsonl", [{"token_ids": [17, 119, 13, 1]}, {"token_ids": [5]}])
        rows = read_jsonl(self.ok("logprobs", "--model", self.model, "--data", data, "--logits"))
        self.assertEqual([len(r["logits"]) for r in rows], [4, 1])
        self.assertEqual(rows[1]["logprobs"], [])
        for logits, token, logprob in zip(rows[0]["logits"], [119, 13, 1], rows[0]["logprobs"], strict=False):
            self.assertAlmostEqual(log_softmax(logits)[token], logprob, delta=2e-6)
        last = read_jsonl(self.ok("logprobs", "--model", self.model, "--data", data, "--logits", "--last"))
        self.assertEqual([r["logits"] for r in last], [r["logits"][-1:] for r in rows])

    def test_many_rows_give_what_each_gives_alone(self):
        rows = [{"token_ids": [(7 * i + j) % 121 for j in range(1 + i * 5 % 96)]} for i in range(300)]
        together = self.ok("logprobs", "--model", self.model, "--data", write_jsonl(self.tmp / "all.jsonl", rows)).splitlines()
        self.assertEqual(len(together), len(rows))
        for i in (0, 19, 170, 299):
            self.assertEqual(self.ok("logprobs", "--model", self.model, "--data", "-", stdin=json.dumps(rows[i])),
                             together[i] + "\n")


class Tokenize(HoneTest):
    def test_text_survives_the_round_trip(self):
        texts = [r["prompt"] for r in read_jsonl(self.heldout.read_text())] + ["<think>7+3=10 vs 33 wait</think>", ""]
        sent = "".join(json.dumps({"text": t}) + "\n" for t in texts)
        ids = self.ok("tokenize", "--model", self.stage, stdin=sent)
        back = self.ok("tokenize", "--model", self.model, "--decode", stdin=ids)
        self.assertEqual([r["text"] for r in read_jsonl(back)], texts)
        row = read_jsonl(self.ok("generate", "--model", self.model, "--jsonl", "--prompt", texts[0]))[0]
        self.assertEqual(row["prompt_ids"], read_jsonl(ids)[0]["token_ids"])

    def test_no_special_leaves_the_post_processor_out(self):
        copy = self.copy_of_model()
        tokenizer = json.loads((copy / "tokenizer.json").read_text())
        tokenizer["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<eos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<eos>": {"id": "<eos>", "ids": [1], "tokens": ["<eos>"]}}}
        (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
        sent = json.dumps({"text": "7+3"})
        plain = json.loads(self.ok("tokenize", "--model", self.model, stdin=sent))["token_ids"]
        self.assertEqual(json.loads(self.ok("tokenize", "--model", copy, stdin=sent))["token_ids"], [1] + plain)
        self.assertEqual(json.loads(self.ok("tokenize", "--model", copy, "--no-special", stdin=sent))["token_ids"], plain)

    def test_rows_sent_one_by_one_are_answered_one_by_one(self):
        with subprocess.Popen([harness.HONE, "tokenize", "--model", str(self.model)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as caller:
            for text in ("7", "7+3"):
                caller.stdin.write(json.dumps({"text": text}) + "\n")
                caller.stdin.flush()
                self.assertEqual(len(json.loads(caller.stdout.readline())["token_ids"]), len(text))
            caller.stdin.close()
            self.assertEqual(caller.wait(60), 0)


class Eval(HoneTest):
    def eval(self, *args):
        return self.ok("eval", "--model", self.stage, "--data", self.heldout, "--reward", "format", "--limit", 6, *args)

    def test_json_says_what_the_table_says(self):
        metrics = json.loads(self.eval("--k", 6, "--json"))
        wanted = {"eval_pass@1", "eval_pass@1_low", "eval_pass@1_high", "eval_pass@2", "eval_pass@4", "eval_pass@6",
                  "eval_maj@6", "eval_mean_length", "eval_truncated", "eval_num_problems"}
        self.assertLessEqual(wanted, set(metrics))
        self.assertEqual(metrics["eval_num_problems"], 6)
        table = self.eval("--k", 6)
        self.assertIn("mean length  %.1f tokens" % metrics["eval_mean_length"], table)
        for name in ("pass@1", "95 %", "pass@6", "maj@6", "truncated"):
            self.assertIn(name, table)

    def test_saved_completions_add_up_to_the_metrics(self):
        saved = self.tmp / "saved.jsonl"
        metrics = json.loads(self.eval("--k", 4, "--json", "--save", saved, "--max-new-tokens", 30))
        rows = read_jsonl(saved.read_text())
        self.assertEqual([(r["prompt_index"], r["sample"]) for r in rows], [(p, s) for p in range(6) for s in range(4)])
        self.assertAlmostEqual(sum(r["verdict"] == "correct" for r in rows) / 24, metrics["eval_pass@1"])
        self.assertAlmostEqual(sum(r["tokens"] for r in rows) / 24, metrics["eval_mean_length"])
        self.assertAlmostEqual(sum(r["finish_reason"] == "length" for r in rows) / 24, metrics["eval_truncated"])
        self.assertTrue(all(r["reason"] for r in rows))

    def test_a_task_adds_its_diagnosis(self):
        self.assertNotIn("step_arithmetic", self.eval("--k", 2))
        self.assertIn("step_arithmetic", self.eval("--k", 2, "--task", "countdown"))
        self.assertIn("eval_step_arithmetic", json.loads(self.eval("--k", 2, "--task", "countdown", "--json")))

    def test_the_seed_decides_and_threads_do_not(self):
        one, two, other = (self.eval("--k", 4, "--json", "--seed", s, "--threads", t) for s, t in ((1, 1), (1, 2), (2, 1)))
        self.assertEqual(one, two)
        self.assertNotEqual(one, other)


class Inspect(HoneTest):
    def test_parameters_are_those_of_the_file(self):
        for model in (self.model, self.moe_run / "stages" / "base" / "final"):
            copies = (".embed_tokens.weight", ".shared_head.head.weight")  # of a multi-token-prediction layer
            sizes = {name: n for name, n in tensor_sizes(model).items()
                     if not (name.startswith("model.layers.") and name.endswith(copies))}
            seen = json.loads(self.ok("inspect", model, "--json"))
            self.assertEqual(seen["total_parameters"], sum(sizes.values()))
            self.assertEqual(sum(seen["parameters"].values()), sum(sizes.values()))
            experts = sum(n for name, n in sizes.items() if ".mlp.experts." in name)
            router = sum(n for name, n in sizes.items() if ".mlp.gate." in name)
            self.assertEqual((seen["parameters"]["experts"], seen["parameters"]["router"]), (experts, router))
            self.assertEqual(seen["active_parameters_per_token"], sum(sizes.values()) - experts * 6 // 8)

    def test_a_model_is_counted_without_reading_its_weights(self):
        self.assertEqual(self.ok("inspect", "--model", self.model), self.ok("inspect", self.model))
        copy = self.copy_of_model()
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4])
        self.refused(2, ["model.safetensors"], "inspect", "--model", copy)
        self.refused(2, ["--model"], "inspect")

    def test_the_cache_is_counted_per_token(self):
        dense = json.loads(self.ok("inspect", self.model, "--json"))
        self.assertEqual(dense["kv_cache_bytes_per_token"], 2 * (2 * 8 + 2 * 8) * 4)
        self.assertEqual(dense["kv_cache_ratio_to_mha"], 0.5)
        latent = json.loads(self.ok("inspect", self.moe_run / "stages" / "base", "--json"))
        self.assertEqual(latent["kv_cache_bytes_per_token"], 2 * (16 + 4) * 4)
        self.assertEqual(latent["mha_cache_bytes_per_token"], 2 * 4 * (12 + 8) * 4)
        self.assertIn("cache 160 bytes per token, 0.25 of the 640", self.ok("inspect", self.moe_run / "stages" / "base"))

    def test_a_run_is_its_stages(self):
        run = json.loads(self.ok("inspect", self.run_dir, "--json"))
        self.assertEqual([(s["name"], s["last_step"], s["rollouts"]) for s in run["stages"]],
                         [("base", 2, 0), ("before", 0, 8), ("rl", 2, 16)])
        self.assertEqual(run["rollouts"], 24)
        self.assertIn("eval_pass@1", run["stages"][1]["metrics"])
        self.assertIn("24 rollouts", self.ok("inspect", self.run_dir))

    def test_sql_gives_a_table_or_json(self):
        sql = "SELECT stage, COUNT(*) AS n FROM rollouts GROUP BY stage ORDER BY stage"
        self.assertEqual(json.loads(self.ok("inspect", self.run_dir, "--sql", sql, "--json")),
                         [{"stage": "before", "n": 8}, {"stage": "rl", "n": 16}])
        self.assertEqual(self.ok("inspect", self.run_dir, "--sql", sql), "stage   n\nbefore  8\nrl      16\n")
        moments, = json.loads(self.ok("inspect", self.run_dir, "--aha", "--json"))
        self.assertEqual((moments["stage"], sum(s["rollouts"] for s in moments["steps"])), ("rl", 16))
        self.assertIn("stage rl: rollouts in which", self.ok("inspect", self.run_dir, "--aha"))
        self.assertEqual(self.ok("inspect", self.run_dir, "--json", "--sql", sql.replace("GROUP", "WHERE 0 GROUP")), "[]\n")


class Others(HoneTest):
    def test_report_writes_a_page_and_a_curve(self):
        page, curve = self.tmp / "page.html", self.tmp / "curve.svg"
        self.assertEqual(self.ok("report", self.run_dir, "-o", page), f"{page}\n")
        self.assertIn("<html", page.read_text()[:200].lower())
        self.assertEqual(self.ok("report", self.run_dir, "--svg", curve, "--stage", "rl"), f"{curve}\n")
        self.assertTrue(curve.read_text().startswith("<svg"))
        self.assertEqual(self.ok("report", self.run_dir, "--svg", curve), f"{curve}\n")
        self.assertIn(">before<", curve.read_text())
        table = self.ok("report", self.run_dir, "--table").splitlines()
        self.assertTrue(table[0].startswith("| stage | pass@1 | length |"), table[0])
        self.assertTrue(table[2].startswith("| before |"), table[2])

    def test_score_answers_in_order(self):
        right = {"completion": "<think></think><answer>7*3+12</answer>", "numbers": [7, 3, 12], "target": 33}
        rows = [dict(right, id=f"r{i}", target=33 + i % 2) for i in range(50)]
        cases = write_jsonl(self.tmp / "cases.jsonl", rows)
        out = self.ok("score", "--reward", "countdown", "--cases", cases, "--threads", 2)
        self.assertEqual([(r["id"], r["score"], r["verdict"]) for r in read_jsonl(out)],
                         [(f"r{i}", 1 - i % 2, ["correct", "wrong"][i % 2]) for i in range(50)])
        self.assertEqual(self.ok("score", "--reward", "countdown", stdin=cases.read_text()), out)

    def test_version(self):
        seen = json.loads(self.ok("version", "--json"))
        self.assertIn(seen["cuda"], (True, False))
        self.assertIn(seen["instruction_set"], ("avx512bf16", "avx512", "avx2", "generic"))
        self.assertIn("hone " + seen["version"], self.ok("version"))
        self.assertEqual("hone " + seen["version"] + "\n", self.ok("--version"))
        self.assertIn("torch " + seen["torch"], self.ok("version"))

    def test_every_help_ends_with_an_example_of_the_verb(self):
        for verb in ("train", "eval", "generate", "logprobs", "tokenize", "inspect", "report", "score", "version"):
            text = self.ok(verb, "--help")
            self.assertIn(f"hone {verb}", text.split("Example:")[1])
            self.assertIn(f"  {verb} ", self.ok("--help"))

    def test_dry_run_prints_a_recipe_and_touches_nothing(self):
        text = self.ok("train", self.recipe, "--run-dir", self.tmp / "run", "--dry-run", "--set", "rl.max_steps=7")
        (self.tmp / "again.yaml").write_text(text)
        self.assertIn("max_steps: 7", text)
        self.ok("train", self.tmp / "again.yaml", "--run-dir", self.tmp / "run", "--dry-run")
        self.assertFalse((self.tmp / "run").exists())

    def test_every_shipped_recipe_is_a_recipe(self):
        recipes = sorted((harness.ROOT / "recipes").glob("r1_zero_*.yaml"))  # those that need no model
        self.assertGreaterEqual(len(recipes), 3)
        for recipe in recipes:
            text = self.ok("train", recipe, "--run-dir", self.tmp / "run", "--dry-run")
            self.assertIn(f"name: {recipe.stem}", text)

    def test_recipes_of_published_values_are_checked_without_their_models(self):
        recipes = [harness.ROOT / "recipes" / "r1_paper.yaml", *(harness.ROOT / "recipes").glob("distill_*.yaml")]
        self.assertEqual(len(recipes), 7)
        for recipe in recipes:
            done = harness.hone("train", recipe, "--run-dir", self.tmp / "run", "--dry-run")
            self.assertEqual(done.returncode, 2, "a model that is not there is refused all the same")
            text = self.ok("train", recipe, "--run-dir", self.tmp / "run", "--dry-run", "--allow-missing")
            self.assertIn(f"name: {recipe.stem}", text)
            missing = [line for line in text.splitlines() if line.startswith("# missing: ")]
            self.assertGreaterEqual(len(missing), 2, "the model and the data")
            (self.tmp / "again.yaml").write_text(text)
            self.ok("train", self.tmp / "again.yaml", "--dry-run", "--allow-missing")
        self.assertFalse((self.tmp / "run").exists())

    def test_a_reader_that_leaves_ends_the_writer_quietly(self):
        script = f"'{harness.HONE}' generate --model '{self.model}' --data '{self.heldout}' --n 4 --jsonl | head -n 1"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr, len(done.stdout.splitlines())), (0, "", 1))

    def test_closed_standard_streams_do_not_reach_the_files_of_a_run(self):
        run = self.tmp / "run"
        script = f"'{harness.HONE}' train '{self.recipe}' --until base --run-dir '{run}' <&- >&- 2>&-"
        self.assertEqual(subprocess.run(["bash", "-c", script], timeout=120).returncode, 0)
        stages = json.loads(self.ok("inspect", run, "--json"))["stages"]
        self.assertEqual([(s["name"], s["last_step"]) for s in stages], [("base", 2)])

    def test_a_full_disk_behind_standard_output_is_a_failed_run(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([harness.HONE, "version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))


if __name__ == "__main__":
    harness.main()
