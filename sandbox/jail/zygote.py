"""The warm interpreter of a worker. It imports what programs usually import, then serves: every run is a fork of it.

The worker itself never sees a program or a test: `hone_serve` returns only in a run's own process, already confined,
which then reads its job. What it prints decides nothing; the verdict is the wait status that the kernel gives the host.

Function tests take two such processes in two jails, the checker (tests) and the answer (the program), joined by a
channel. Only values cross it, as JSON with tagged types: exact built-in types come out of decode(), and our own classes
where the other side has a named tuple, an iterator, a function or an object.
Every call carries a fresh random number that its reply must repeat, so replies cannot be written ahead.
"""
import os, sys

sys.path = sys.path[1:]  # where this script lies
_version = "python%d.%d" % sys.version_info[:2]
_packages = ("/lib/python3/dist-packages", "/local/lib/%s/dist-packages" % _version, "/lib/%s/site-packages" % _version)
sys.path += [p for p in (sys.prefix + q for q in _packages) if os.path.isdir(p) and p not in sys.path]
LIBRARY, LAYERS, FILTER, BOX = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
SCRIPT, ANSWER, CHECKER, PROBE = 0, 1, 2, 5
PASSED, WRONG, RAISED, GONE, BROKEN = 0, 1, 2, 3, 4  # exit status of the checker; see function_verdict() in the host
MOST_BYTES = 32 << 20  # of one message
JOB_FD, CHANNEL_FD = 3, 4

import ast, atexit, builtins, gc, linecache, threading, traceback, types
import abc, array, bisect, collections, copy, ctypes, dataclasses, datetime, decimal, enum, fractions, functools, heapq
import io, itertools, json, math, operator, queue, random, re, site, statistics, string, struct, textwrap, time, typing


main_names = {}  # of the program's module, whatever it does to sys.modules


# ---- the end of a run: what the interpreter does at its own, but for the slow tear-down

def flush():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()


def let_go():
    """Destructors of what the program leaves behind run, and its files are written, while that is still possible."""
    for name in list(main_names):
        if not name.startswith("__"):
            main_names[name] = None
    gc.collect()


def leave(status):
    for step in (threading._shutdown, atexit._run_exitfuncs, flush, let_go, flush):
        try:
            step()
        except BrokenPipeError:
            status = status or 120
        except BaseException as error:
            print_error(error, 1)
            status = status or 120
    os._exit(status)


def status_of(exit):
    if exit.code is None:
        return 0
    if isinstance(exit.code, int):
        return exit.code & 0xFF
    print(exit.code, file=sys.stderr)
    return 1


def print_error(error, hidden):
    """The traceback without our own frames."""
    trace = error.__traceback__
    for _ in range(hidden):
        trace = trace and trace.tb_next
    error = error.with_traceback(trace)
    show = sys.excepthook
    if show is sys.__excepthook__ and not isinstance(error, MemoryError):
        show = traceback.print_exception  # it shows the program's lines, which lie in no file
    try:
        show(type(error), error, trace)
    except BaseException:
        pass


def new_main(source):
    global main_names
    module = types.ModuleType("__main__")
    main_names = module.__dict__
    module.__file__ = "main.py"
    module.__builtins__ = builtins
    sys.modules["__main__"] = module
    text = source.decode("utf-8", "replace")
    linecache.cache["main.py"] = (len(text), None, text.splitlines(True), "main.py")
    return module


def read_job():
    with open(JOB_FD, "rb") as job:
        return job.read()


def settle():
    """What is a run's own in an interpreter that was forked."""
    sys.argv = ["main.py"]
    if BOX != "/box":  # no mount namespace, so /tmp is the machine's
        os.environ["HOME"], os.environ["TMPDIR"] = BOX + "/w", BOX + "/tmp"
    gc.enable()


def search_own_folder():
    """What a program writes it may import, as one that was started from there."""
    sys.path.insert(0, os.getcwd())


def run_script():
    source = read_job()
    module = new_main(source)
    search_own_folder()
    try:
        exec(compile(source, "main.py", "exec", dont_inherit=True), module.__dict__)
        status = 0
    except SystemExit as exit:
        status = status_of(exit)
    except BaseException as error:
        print_error(error, 1)
        status = 1
    leave(status)


# ---- values, by value

class Refused(Exception):
    """A value that cannot cross, or a message that is none."""


class Fields(tuple):
    """A named tuple of the other side: a tuple, and its places by their names."""

    def __init__(self, values, names=()):
        self.__dict__.update((str(n), v) for n, v in zip(names, self) if not str(n).startswith("_"))

    def __new__(cls, values, names=()):
        return tuple.__new__(cls, values)


class Codec:
    """Built-in values to JSON and back. A subclass crosses as the built-in type below it: the checker never meets an
    object whose __eq__, __hash__ or __bool__ the other side wrote. What is no value stays where it is and crosses as a
    number (`h`), by which the other side can call it; encode_iterator, encode_object and decode_object are each side's."""

    def encode(self, v):
        if v is None or v is True or v is False:
            return v
        if isinstance(v, int):
            v = int.__int__(v)
            return v if -(1 << 62) < v < 1 << 62 else {"i": hex(v)}
        if isinstance(v, str):
            return str.__str__(v)
        if isinstance(v, float):
            return {"f": float.hex(v)}
        if isinstance(v, list):
            return [self.encode(x) for x in list.__iter__(v)]
        if isinstance(v, tuple):
            values = [self.encode(x) for x in tuple.__iter__(v)]
            return {"u": [values, list(v._fields)]} if hasattr(type(v), "_fields") else {"t": values}
        if isinstance(v, dict):
            kind = "c" if isinstance(v, collections.Counter) else "d"
            return {kind: [[self.encode(k), self.encode(x)] for k, x in dict.items(v)]}
        return self.encode_rare(v)

    def encode_rare(self, v):
        if hasattr(type(v), "tolist"):  # numpy
            v = v.tolist()
            return self.encode(v)
        if isinstance(v, (set, frozenset)):
            return {"s" if isinstance(v, set) else "z": [self.encode(x) for x in v]}
        if isinstance(v, (bytes, bytearray)):
            return {"b" if isinstance(v, bytes) else "y": bytes(v).hex()}
        if isinstance(v, complex):
            return {"j": [float.hex(v.real), float.hex(v.imag)]}
        if isinstance(v, range):
            return {"r": [self.encode(x) for x in (v.start, v.stop, v.step)]}
        if isinstance(v, collections.deque):
            return {"q": [self.encode(x) for x in v]}
        if isinstance(v, decimal.Decimal):
            return {"n": decimal.Decimal.__str__(v)}
        if isinstance(v, fractions.Fraction):
            return {"v": [self.encode(v.numerator), self.encode(v.denominator)]}
        if isinstance(v, (types.GeneratorType, map, filter, zip, enumerate, reversed, itertools.chain)) or (
                type(v).__name__.endswith("iterator")):
            return self.encode_iterator(v)
        if isinstance(v, (type({}.keys()), type({}.values()), type({}.items()))):
            return {"k": [self.encode(x) for x in v]}
        return self.encode_object(v)

    def decode(self, v):
        if v is None or type(v) in (bool, int, str):
            return v
        if type(v) is list:
            return [self.decode(x) for x in v]
        if type(v) is not dict or len(v) != 1:
            raise Refused("not a value")
        (tag, x), = v.items()
        many = lambda: [self.decode(e) for e in x]
        pairs = lambda: {self.decode(k): self.decode(e) for k, e in x}
        kinds = {"i": lambda: int(x, 16), "f": lambda: float.fromhex(x), "t": lambda: tuple(many()),
                 "u": lambda: Fields([self.decode(e) for e in x[0]], x[1]), "d": pairs,
                 "c": lambda: collections.Counter(pairs()), "s": lambda: set(many()), "z": lambda: frozenset(many()),
                 "b": lambda: bytes.fromhex(x), "y": lambda: bytearray.fromhex(x),
                 "j": lambda: complex(float.fromhex(x[0]), float.fromhex(x[1])), "r": lambda: range(*many()),
                 "q": lambda: collections.deque(many()), "n": lambda: decimal.Decimal(x),
                 "v": lambda: fractions.Fraction(*many()), "k": many}
        return kinds[tag]() if tag in kinds else self.decode_object(tag, x)


def write_message(message):
    data = json.dumps(message).encode()
    if len(data) > MOST_BYTES:
        raise Refused("a value of more than %d bytes" % MOST_BYTES)
    data = memoryview(struct.pack("<I", len(data)) + data)
    while data:
        data = data[os.write(CHANNEL_FD, data):]


def read_exactly(size):
    parts = []
    while size:
        part = os.read(CHANNEL_FD, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_message():
    size, = struct.unpack("<I", read_exactly(4))
    if size > MOST_BYTES:
        raise Refused("a message of more than %d bytes" % MOST_BYTES)
    message = json.loads(read_exactly(size))
    if type(message) is not dict:
        raise Refused("not a message")
    return message


# ---- the answer: loads the program, then does what the checker asks

# What the tests may do to an object beside calling it. Not here: what compares or calculates, for then the answer would
# say whether it is right; nor what makes a list of it, for a list does not show another face each time it is looked at.
OPERATORS = {"set": setattr, "next": lambda iterator, count: list(itertools.islice(iterator, count))}


class Answer(Codec):
    def __init__(self, module):
        self.module, self.objects, self.numbers = module, [], {}

    def number_of(self, value):
        """The same for the same object."""
        number = self.numbers.setdefault(id(value), len(self.objects))
        if number == len(self.objects):
            self.objects.append(value)
        return number

    def encode_iterator(self, v):
        return {"g": self.number_of(v)}

    def encode_object(self, v):
        return {"h": self.number_of(v)}

    def decode_object(self, tag, x):
        """A function of the tests, an iterator, an object of ours, or one of a class that the prompt defines."""
        if tag == "h":
            return self.callback_of(x)
        if tag == "g":
            return iter(self.decode(x))
        if tag == "o":
            return self.target(x)
        kind = self.module.__dict__[x[0]]
        value = kind.__new__(kind)
        value.__dict__.update(self.decode(x[1]))
        return value

    def callback_of(self, number):
        """A function of the tests, given as an argument: calling it asks the checker."""
        def callback(*args, **kwargs):
            write_message({"callback": number, "args": self.encode(list(args)), "kwargs": self.encode(kwargs)})
            while "nonce" in (reply := read_message()):  # it may call us in turn
                self.reply_to(reply)
            if "error" in reply:
                raise RuntimeError(reply["error"])
            return self.decode(reply["value"])
        return callback

    def target(self, call):
        if "name" in call:
            target = eval(compile(call["name"], "<entry point>", "eval"), self.module.__dict__)
        else:
            target = self.objects[call["handle"]]
        return getattr(target, call["attribute"]) if "attribute" in call else target

    def perform(self, call):
        target = self.target(call)
        if "args" not in call:
            return {"value": self.encode(target)}
        args, kwargs = self.decode(call["args"]), self.decode(call["kwargs"])
        if "operator" in call:
            return {"value": self.encode(OPERATORS[call["operator"]](target, *args))}
        reply = {"value": self.encode(target(*args, **kwargs))}
        if call.get("in_place"):
            reply["left"] = self.encode([args, kwargs])
        return reply

    def serve(self):
        while True:
            call = read_message()
            if call.get("end"):
                write_message({"nonce": call["nonce"]})
                return
            self.reply_to(call)

    def reply_to(self, call):
        try:
            reply = self.perform(call)
        except BaseException as error:
            print_error(error, 2)
            reply = {"error": type(error).__name__, "builtin": isinstance(error, Exception) and builtin_name(error),
                     "text": str(error)[:1000]}
        reply["nonce"] = call["nonce"]
        write_message(reply)


def builtin_name(error):
    for kind in type(error).__mro__:
        if getattr(builtins, kind.__name__, None) is kind:
            return kind.__name__


def parts_of_job():
    job = read_job()
    sizes = struct.unpack("<3I", job[:12])
    parts, at = [], 12
    for size in sizes:
        parts.append(job[at:at + size])
        at += size
    return parts


def compiles(source):
    try:
        return compile(source, "main.py", "exec", dont_inherit=True)
    except Exception:
        return None


def load_answer(prompt, program):
    """A program stands by itself, after what the prompt defines (imports, helpers); else it continues the prompt."""
    if not prompt.endswith(b"\n"):
        prompt += b"\n"
    whole = None if compiles(program) else compiles(prompt + program)
    module = new_main(prompt + program if whole else program)
    if whole:
        exec(whole, module.__dict__)
        return module
    code = compile(program, "main.py", "exec", dont_inherit=True)  # raises what is wrong with it
    if before := compiles(prompt):
        try:
            exec(before, module.__dict__)
        except Exception:
            pass  # the prompt is the data set's; a program that needs it says so itself
    exec(code, module.__dict__)
    return module


def run_answer():
    prompt, program, _ = parts_of_job()
    try:
        search_own_folder()
        module = load_answer(prompt, program)
    except SystemExit as exit:
        leave(status_of(exit))
    except BaseException as error:
        print_error(error, 2)
        leave(1)
    try:
        Answer(module).serve()
    except (EOFError, OSError):  # the checker is done
        pass
    leave(0)


# ---- the checker: runs the tests, which are trusted, over calls to the answer, which is not

class CallFailed(BaseException):
    """The answer did not return a value. No `except Exception` of a test swallows it."""


class CallRaised(Exception):
    """An exception of the answer that is not built in; tests may catch it as Exception."""


class Checker(Codec):
    def __init__(self):
        self.callbacks, self.proxies, self.failure = [], {}, None
        self.names = {}  # of the tests and what the prompt defines

    def encode_iterator(self, v):
        return {"g": [self.encode(x) for x in v]}

    def encode_object(self, v):
        if type(v) is Proxy:
            return {"o": v._target}
        if callable(v):
            self.callbacks.append(v)
            return {"h": len(self.callbacks) - 1}
        if self.names.get(type(v).__name__) is type(v):
            return {"p": [type(v).__name__, self.encode(vars(v))]}
        raise TypeError("arguments of tested functions must be values or functions")

    def decode_object(self, tag, x):
        if type(x) is not int or tag not in ("g", "h"):
            raise Refused("not a value")
        if tag == "g":
            return self.pull(x)
        return self.proxies.setdefault(x, Proxy(self, {"handle": x}))

    def pull(self, number):
        """An iterator of the answer, more of it at a time while it lasts: it may have no end."""
        count = 1
        while True:
            part = self.operate({"handle": number}, "next", count)
            yield from part
            if len(part) < count:
                return
            count = min(2 * count, 1024)

    def fail(self, why):
        self.failure = why
        raise CallFailed(why)

    def exchange(self, message):
        try:
            message["nonce"] = nonce = os.urandom(12).hex()
            write_message(message)
            while "callback" in (reply := read_message()):
                self.call_back(reply)
        except (EOFError, OSError):
            self.fail("the answer's process ended before its tests")
        except (Refused, ValueError, RecursionError, MemoryError) as error:
            self.fail("the answer's reply cannot be read: %s" % error)
        if reply.get("nonce") != nonce:
            self.fail("a reply that belongs to no call")
        return reply

    def call_back(self, message):
        try:
            function = self.callbacks[message["callback"]]
            value = function(*self.decode(message["args"]), **self.decode(message["kwargs"]))
            write_message({"value": self.encode(value)})
        except Exception as error:
            write_message({"error": "%s: %s" % (type(error).__name__, error)})

    def ask(self, message, part="value"):
        reply = self.exchange(message)
        if "error" in reply:
            self.raise_as_told(reply)
        try:
            return self.decode(reply[part])
        except Exception as error:
            self.fail("the answer's reply cannot be read: %s" % error)

    def operate(self, target, name, *args):
        return self.ask(dict(target, operator=name, args=self.encode(list(args)), kwargs=self.encode({})))

    def call(self, target, args, kwargs):
        return self.ask(dict(target, args=self.encode(list(args)), kwargs=self.encode(kwargs)))

    def call_in_place(self, target, args, kwargs):
        """The arguments then hold what the answer left in its copies of them."""
        left = self.ask(dict(target, args=self.encode(list(args)), kwargs=self.encode(kwargs), in_place=True), "left")
        try:
            for old, new in zip(args, left[0]):
                replace(old, new)
            for name, old in kwargs.items():
                replace(old, left[1][name])
        except Exception as error:
            self.fail("the answer's reply cannot be read: %s" % error)

    def raise_as_told(self, reply):
        kind, text = getattr(builtins, str(reply.get("builtin")), None), str(reply.get("text"))
        what = "%s: %s" % (str(reply["error"])[:80], text[:200])
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            if reply.get("builtin"):
                raise CallRaised(what)
            self.fail("the tested call raised " + what)
        # these would end a loop over calls quietly, or make an attribute seem absent
        if kind in (StopIteration, StopAsyncIteration, AssertionError) or kind is Exception:
            raise CallRaised(what)
        try:
            error = kind(text)
        except TypeError:
            error = CallRaised(what)
        error.by_answer = True
        raise error


def replace(old, new):
    if isinstance(old, (list, bytearray)) and isinstance(new, (list, bytearray)):
        old[:] = new
    elif isinstance(old, (dict, set)) and isinstance(new, (dict, set)):
        old.clear()
        old.update(new)
    elif isinstance(old, collections.deque) and isinstance(new, collections.deque):
        old.clear()
        old.extend(new)


class Proxy:
    """A function or object of the answer. It compares by identity and is true, whatever the answer's own says."""
    __slots__ = ("_checker", "_target")

    def __init__(self, checker, target):
        object.__setattr__(self, "_checker", checker)
        object.__setattr__(self, "_target", target)

    def __call__(self, *args, **kwargs):
        return self._checker.call(self._target, args, kwargs)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self._checker.ask(dict(self._target, attribute=name))

    def __setattr__(self, name, value):
        self._checker.operate(self._target, "set", name, value)


ALIASES = {"np": "numpy", "pd": "pandas"}


class Names(dict):
    """Built-in names for the tests. A name that nobody defines is a module, if there is one of that name; else, where
    no entry point is given, the answer's. So nothing of the answer stands in for what has a meaning without it."""

    def __init__(self, checker, ask_answer, called):
        super().__init__(vars(builtins), __in_place__=in_place)
        self.checker, self.ask_answer, self.called = checker, ask_answer, called

    def __missing__(self, name):
        try:
            if name not in self.called:  # as no module can be
                return __import__(ALIASES.get(name, name))
        except Exception:
            pass
        if name.startswith("_") or not self.ask_answer:
            raise KeyError(name)
        return Proxy(self.checker, {"name": name})


def in_place(function):
    """What a call whose value the tests drop goes through: it is made for what it does to its arguments. Only then are
    these changed: in `assert f(x) == sorted(x)` an answer could empty x and be right about nothing."""
    if type(function) is not Proxy:
        return function
    return lambda *args, **kwargs: function._checker.call_in_place(function._target, args, kwargs)


def mark_dropped_calls(node):
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(node, block, ()):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                call = statement.value
                name = ast.copy_location(ast.Name("__in_place__", ast.Load()), call.func)
                call.func = ast.copy_location(ast.Call(name, [call.func], []), call.func)
            else:
                mark_dropped_calls(statement)


def names_called(tree):
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def say(status, why):
    sys.stderr.write(why[:2000])
    sys.stderr.flush()
    os._exit(status)


def explain(error, source):
    line = next((f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == "tests.py"), 0)
    text = source.decode("utf-8", "replace").splitlines()[line - 1].strip()[:200] if line else ""
    return "%s%s in the tests, line %d: %s" % (type(error).__name__, ": %s" % error if str(error) else "", line, text)


def run_tests(checker, prompt, test, entry_point):
    try:
        tree = ast.parse(test, "tests.py")
        called = set() if entry_point else names_called(tree)
        mark_dropped_calls(tree)
        code = compile(tree, "tests.py", "exec", dont_inherit=True)
    except Exception as error:
        say(BROKEN, "the tests do not compile: %s" % error)
    names = checker.names
    names.update(__name__="tests", __builtins__=Names(checker, not entry_point, called))
    if before := compiles(prompt + b"\n"):
        try:
            exec(before, names)
        except Exception:
            pass
    candidate = Proxy(checker, {"name": entry_point or "candidate"})
    if entry_point.isidentifier() and entry_point:
        names[entry_point] = candidate
    if entry_point:
        names["candidate"] = candidate
    exec(code, names)
    if callable(names.get("check")):
        names["check"](candidate)
    checker.exchange({"end": True})  # the answer is still there


def run_checker():
    prompt, test, entry_point = parts_of_job()
    sys.stdout = io.StringIO()
    checker = Checker()
    try:
        run_tests(checker, prompt, test, entry_point.decode())
    except CallFailed as failure:
        say(GONE if "ended" in str(failure) else RAISED, str(failure))
    except CallRaised as error:
        say(RAISED, "the tested call raised %s" % error)
    except BaseException as error:
        if checker.failure:
            say(GONE if "ended" in checker.failure else RAISED, checker.failure)
        say(RAISED if getattr(error, "by_answer", False) else WRONG, explain(error, test))
    if checker.failure:  # a test that swallowed it passes nothing
        say(RAISED, checker.failure)
    os._exit(PASSED)


site.setquit()
library = ctypes.PyDLL(LIBRARY)
for fd in {int(path.rsplit("/", 1)[1]) for path in (LIBRARY, sys.argv[0])}:
    os.close(fd)
gc.collect()
gc.disable()
gc.freeze()
action = library.hone_serve(3, LAYERS, FILTER, BOX.encode())
if action == PROBE:
    os._exit(0)
settle()
{SCRIPT: run_script, ANSWER: run_answer, CHECKER: run_checker}[action]()
