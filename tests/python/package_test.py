"""The parts of `import hone` that people script with.   .venv-peers/bin/python tests/python/package_test.py build/release/hone"""
import asyncio
import gc
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest

from hone_package import PACKAGE, ROOT, tiny_model

import hone
import torch
import transformers


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = tiny_model(pathlib.Path(cls.folder.name) / "model")
        cls.theirs = transformers.AutoModelForCausalLM.from_pretrained(cls.path, dtype=torch.float32, attn_implementation="eager")
        cls.model = hone.Model.load(cls.path)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def their_logprobs(self, ids):
        logits = self.theirs(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        return logits.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]

    def test_logprobs_and_gradient_are_those_of_transformers(self):
        ids = [5, 9, 70, 33, 5, 1]
        self.model.requires_grad_()
        own = self.model.logprobs(ids)
        own.sum().backward()
        theirs = self.their_logprobs(ids)
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-5)
        theirs.sum().backward()
        parameters = self.model.parameters()
        for name, p in self.theirs.named_parameters():
            torch.testing.assert_close(parameters[name].grad, p.grad, rtol=1e-4, atol=1e-5, msg=name)
            parameters[name].grad = None
        self.model.requires_grad_(False)
        self.assertFalse(self.model.logprobs(torch.tensor(ids)).requires_grad)

    def test_parameters_share_memory_with_the_policy(self):
        model = hone.Model.load(self.path)
        name, weight = next((n, t) for n, t in model.parameters().items() if "q_proj" in n)
        before = model.logprobs([5, 9, 70])
        with torch.no_grad():
            weight.mul_(2)
        self.assertFalse(torch.equal(before, model.logprobs([5, 9, 70])))
        self.assertEqual(weight.data_ptr(), model.parameters()[name].data_ptr())
        del model
        gc.collect()
        self.assertTrue(torch.isfinite(weight).all(), "a tensor outlives its model")

    def test_generate(self):
        first = self.model.generate(["丂七", "丄丅"], 3, seed=7, max_completion_length=9)
        again = self.model.generate(["丂七", "丄丅"], 3, seed=7, max_completion_length=9)
        self.assertEqual([[r.token_ids for r in g] for g in first], [[r.token_ids for r in g] for g in again])
        self.assertEqual([len(g) for g in first], [3, 3])
        prompt = self.model.encode("丂七")
        for r in first[0]:
            own = self.model.logprobs(prompt + r.token_ids)[len(prompt) - 1:]
            self.assertEqual(own.tolist(), torch.tensor(r.logprobs).tolist(), "sampler and trainer are one function")
            self.assertIn(r.finish_reason, (hone.FinishReason.eos, hone.FinishReason.length))
        with self.assertRaisesRegex(ValueError, "max_completion_length is -1, allowed is a whole number of at least 1"):
            self.model.generate(["丂"], max_completion_length=-1)
        with self.assertRaisesRegex(ValueError, "did you mean 'temperature'"):
            self.model.generate(["丂"], temperatur=1)

    def test_save_is_loaded_by_transformers(self):
        to = pathlib.Path(self.folder.name) / "saved"
        self.model.save(to)
        other = transformers.AutoModelForCausalLM.from_pretrained(to, dtype=torch.float32)
        torch.testing.assert_close(other(torch.tensor([[5, 9]])).logits, self.theirs(torch.tensor([[5, 9]])).logits)

    def test_losses_and_advantages(self):
        g = torch.Generator().manual_seed(1)
        lengths = [3, 5, 2, 4]
        sampler = -torch.rand(14, generator=g, dtype=torch.double)
        policy = (sampler + 0.3 * torch.randn(14, generator=g, dtype=torch.double)).requires_grad_()
        advantages = hone.advantages.group_advantages([[1, 0], [0.5, None]])
        self.assertEqual(advantages.shape, (2, 2))
        torch.testing.assert_close(advantages[0], torch.tensor([1.0, -1.0], dtype=torch.double), atol=1e-5, rtol=0)
        self.assertEqual(advantages[1].tolist(), [0, 0])
        a = torch.tensor([1.0, -1.0, 0.5, -0.5], dtype=torch.double)
        ratio, each = (policy - sampler).exp(), a.repeat_interleave(torch.tensor(lengths))
        expected = -torch.minimum(ratio * each, ratio.clamp(0.8, 1.2) * each).mean()
        own = hone.losses.dapo(policy, sampler, a, lengths)
        torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-7)  # weights are float32
        own.backward()
        self.assertEqual(policy.grad.shape, (14,))
        for name in hone.losses.__all__[1:]:
            self.assertTrue(torch.isfinite(getattr(hone.losses, name)(policy, sampler, a, lengths)), name)
        with self.assertRaisesRegex(ValueError, r"sampler_logprobs has shape \(13\)"):
            hone.losses.grpo(policy, sampler[1:], a, lengths)
        with self.assertRaisesRegex(ValueError, "ref_logprobs is None, but beta is 0.1"):
            hone.losses.grpo(policy, sampler, a, lengths, beta=0.1)

    def test_scores(self):
        self.assertEqual(hone.rewards.math(r"\frac12", r"so \boxed{0.5}").value, 1)
        self.assertEqual(hone.rewards.math("3", r"\boxed{4}").verdict, hone.Verdict.wrong)
        own = lambda prompts, completions, answer, **kwargs: [None if a == "?" else float(len(c)) for c, a in zip(completions, answer)]
        for threads in (1, 8):
            got = hone.score(["math", own], [r"\boxed{4}", "5"], answer=["4", "?"], weights=[2, 0.5], threads=threads)
            self.assertEqual([r.total for r in got], [2 + 0.5 * 9, None])
        with self.assertRaisesRegex(ValueError, "column answer has 1 values for 2 completions"):
            hone.score("math", ["1", "2"], answer=["1"])
        with self.assertRaises(ZeroDivisionError):
            hone.score(lambda **kwargs: 1 / 0, ["1"])

    def test_sandbox(self):
        async def many():
            return await asyncio.gather(*(sandbox.run_async(f"print({i})", expected_stdout="3") for i in range(6)))
        with hone.Sandbox(jobs=2) as sandbox:
            self.assertEqual([r.verdict for r in asyncio.run(many())], ["WA", "WA", "WA", "OK", "WA", "WA"])
            limits = hone.Limits()
            limits.wall_s = limits.cpu_s = 0.5
            self.assertEqual(sandbox.run("while True: pass", limits=limits).verdict, "TLE")
            test = "def check(f):\n    assert f(2) == 3"
            self.assertEqual(sandbox.run("def g(x): return x + 1", test=test, entry_point="g").verdict, "OK")
        with self.assertRaisesRegex(ValueError, "the sandbox is closed"):
            sandbox.run("1")
        self.assertIn("seccomp", hone.sandbox_capabilities())

    def test_closed_model(self):
        model = hone.Model.load(self.path)
        model.close()
        for call in (lambda: model.logprobs([1, 2]), lambda: model.generate(["丂"]), lambda: model.parameters(),
                     lambda: model.save("x"), lambda: model.requires_grad_(), lambda: model.config):
            with self.assertRaisesRegex(ValueError, "the model is closed; load it again"):
                call()

    def test_stubs_are_those_of_the_module(self):
        done = subprocess.run([sys.executable, str(ROOT / "python" / "stubs.py"), "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
