"""python -m hone VERB ..: the command line of `hone`, whose recipes may name Python functions (python:module:function)."""

import sys

from . import _C, _functions


def main():
    sys.exit(_C.run_command_line(["hone", *sys.argv[1:]], _functions.find_reward, _functions.find, _functions.run_stage))


if __name__ == "__main__":
    main()
