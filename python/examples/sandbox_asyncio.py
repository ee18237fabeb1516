"""Programs in the sandbox, many at once, from asyncio.    python python/examples/sandbox_asyncio.py"""
import asyncio

import hone

PROGRAMS = {"right": "print(6 * 7)", "wrong": "print(6 * 8)", "endless": "while True: pass", "spy": "print(open('/etc/shadow').read())"}


async def main():
    limits = hone.Limits()
    limits.wall_s = limits.cpu_s = 1
    with hone.Sandbox(jobs=2) as sandbox:
        runs = (sandbox.run_async(program, expected_stdout="42", limits=limits) for program in PROGRAMS.values())
        for name, result in zip(PROGRAMS, await asyncio.gather(*runs)):
            print(f"{name}: {result.verdict} {result.reason}")


asyncio.run(main())
