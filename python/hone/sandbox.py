"""Untrusted programs in jails made by the kernel; see sandbox/sandbox.h."""

import asyncio
import concurrent.futures

from . import _C


class Sandbox:
    """A pool of warm workers. Thread-safe; use it as a context manager, or call close().

        with hone.Sandbox(jobs=4) as sandbox:
            sandbox.run("print(6*7)", expected_stdout="42").verdict        # "OK"
            results = await asyncio.gather(*(sandbox.run_async(p) for p in programs))

    jobs: programs that run at the same time; 0: one a core. Raises RuntimeError when no worker can be started.
    """

    def __init__(self, jobs=0):
        self._pool = _C.SandboxPool(jobs)

    def submit(self, program, **options):
        """Starts a program; returns a concurrent.futures.Future of its SandboxResult. Options: language ("python" or "cpp"),
        stdin, expected_stdout, limits (hone.Limits); for tests of a function: test, prompt, entry_point."""
        if self._pool is None:
            raise ValueError("the sandbox is closed; make another hone.Sandbox()")
        future = concurrent.futures.Future()
        self._pool.submit(lambda result: future.cancelled() or future.set_result(result), program, **options)
        return future

    def run(self, program, **options):
        """Runs a program and waits for its SandboxResult; options as for submit()."""
        return self.submit(program, **options).result()

    async def run_async(self, program, **options):
        """The same for asyncio: the event loop goes on meanwhile."""
        return await asyncio.wrap_future(self.submit(program, **options))

    def close(self):
        """Kills what still runs; its results are IE."""
        self._pool = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
