"""Read the data inside a pickle without unpickling it: an interpreter of pickle's data opcodes that can call nothing.

A subclass of `pickle.Unpickler` with a guarded `find_class` would still allocate whatever a hostile length or memo
index asks for before it reads on. Here every value is a slice of the file, a small number or a container of such, so
memory follows the size of the file, and the few globals that honest files name map to functions of this module.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recognition.errors import InputError

MAX_LINE_BYTES = 32 << 20
_MARK = object()


class PickleError(InputError):
    """The bytes are no pickle, are damaged, or hold something besides plain data."""


@dataclass(frozen=True)
class _Global:
    """A name met in the pickle; it is compared and never looked up in any module."""

    name: str


@dataclass
class _Array:
    """What numpy's array reconstruction has collected so far; `value` is set once its state has been read."""

    value: np.ndarray | None = None


@dataclass
class _Dtype:
    """A plain fixed-size numpy type as the pickle describes it: code such as `u1`, byte order from its state."""

    code: str
    order: str = "="

    def numpy(self) -> np.dtype:
        """The numpy type; PickleError for anything but booleans, integers and floats."""
        if self.code not in ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"):
            raise PickleError(f"numpy type {self.code[:20]!r} is not a plain number; only numeric arrays are read")
        return np.dtype(self.code).newbyteorder(self.order if self.order in ("<", ">") else "=")


def _text(value: Any) -> str:
    """`str` of a text or of a Python 2 byte string."""
    return value.decode("latin1") if isinstance(value, bytes) else value


def _encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode`, as protocols 0 to 2 write bytes in Python 3: latin1 and nothing else."""
    if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
        raise PickleError("_codecs.encode is only read for bytes written as latin1 text")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """`bytes()` without arguments, as protocols 0 to 2 write b""; with an argument it could allocate at will."""
    return b""


def _dtype(code: str, _align: Any = False, _copy: Any = True) -> _Dtype:
    if not isinstance(code, str | bytes):
        raise PickleError("numpy type without its code")
    return _Dtype(_text(code))


def _scalar(dtype: _Dtype, raw: bytes) -> Any:
    """A numpy scalar as a Python bool, int or float."""
    return _array_of(raw, dtype, (), "C").item()


def _reconstruct(_kind: _Global, _shape: tuple, _code: bytes) -> _Array:
    return _Array()


def _from_buffer(raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    return _Array(_array_of(raw, dtype, shape, _text(order)))


def _array_of(raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """View `raw` as an array; PickleError or ValueError unless the bytes are exactly what the shape needs."""
    if not isinstance(dtype, _Dtype) or order not in ("C", "F") or not isinstance(raw, bytes):
        raise PickleError("numpy array without its bytes, type or order; object arrays are not read")
    lengths_are_sane = isinstance(shape, tuple) and all(isinstance(n, int) and 0 <= n < 1 << 40 for n in shape)
    if not lengths_are_sane or len(shape) > 8:
        raise PickleError("numpy array with an impossible shape")
    return np.frombuffer(raw, dtype.numpy()).reshape(shape, order=order)  # ValueError unless they fit


_NUMPY_CORES = ("numpy.core", "numpy._core")
_CALLS: dict[str, Callable] = {
    "_codecs.encode": _encode,
    "__builtin__.bytes": _empty_bytes,
    "builtins.bytes": _empty_bytes,
    "numpy.dtype": _dtype,
    **{f"{core}.multiarray.scalar": _scalar for core in _NUMPY_CORES},
    **{f"{core}.multiarray._reconstruct": _reconstruct for core in _NUMPY_CORES},
    **{f"{core}.numeric._frombuffer": _from_buffer for core in _NUMPY_CORES},
}
_NAMES = frozenset(_CALLS) | {"numpy.ndarray"}


def _named(module: Any, name: Any) -> _Global:
    """Admit one of the few known names; anything else ends the reading before anything was done with it."""
    full = f"{_text(module)}.{_text(name)}"
    if full not in _NAMES:
        raise PickleError(
            f"the pickle asks for {full[:80]!r}, which is code and not data: refused, nothing was executed; "
            "do not trust this file"
        )
    return _Global(full)


def _apply(function: Any, arguments: Any) -> Any:
    """REDUCE: give the arguments to this module's stand-in for a known name."""
    if not isinstance(function, _Global) or function.name not in _CALLS or not isinstance(arguments, tuple):
        raise PickleError("the pickle calls something that is not a known name: refused, nothing was executed")
    try:
        return _CALLS[function.name](*arguments)
    except (TypeError, ValueError, AttributeError) as error:
        raise PickleError(f"{function.name} with arguments that no honest file has: {str(error)[:80]}") from error


def _set_state(value: Any, state: Any) -> None:
    """BUILD: the second half of a numpy array or type; nothing else has a state."""
    if isinstance(value, _Array) and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, fortran, raw = state
        value.value = _array_of(raw, dtype, shape, "F" if fortran else "C")
    elif isinstance(value, _Dtype) and isinstance(state, tuple) and len(state) == 8:
        if not isinstance(state[1], str | bytes):
            raise PickleError("numpy type without its byte order")
        value.order = _text(state[1])[:1]
    else:
        raise PickleError("the pickle sets the state of something that is no plain numpy array: refused")


@dataclass
class _Machine:
    """The stack, the memo and the position of one reading."""

    data: bytes
    at: int = 0
    stack: list = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    encoded_bytes: int = 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise PickleError(f"the data ends at byte {len(self.data)}, in a value of {size} bytes from {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at, self.at + MAX_LINE_BYTES)
        if end < 0:
            raise PickleError(f"no end of line after byte {self.at}")
        text, self.at = self.data[self.at : end], end + 1
        return text

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise PickleError(f"the value before byte {self.at} is missing")
        return self.stack.pop()

    def pop_to_mark(self) -> list:
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _MARK:
                items = self.stack[start + 1 :]
                del self.stack[start:]
                return items
        raise PickleError(f"the list before byte {self.at} has no beginning")

    def target_list(self) -> list:
        if not self.stack or not isinstance(self.stack[-1], list):
            raise PickleError(f"byte {self.at} appends to something that is not a list")
        return self.stack[-1]

    def remember(self, index: int) -> None:
        if not self.stack or self.stack[-1] is _MARK:
            raise PickleError(f"byte {self.at} stores a value that is missing")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> Any:
        if index not in self.memo:
            raise PickleError(f"byte {self.at} refers to value {index}, which the file has not defined")
        return self.memo[index]


def _integer(text: bytes) -> int | bool:
    """Protocol 0 and 1 numbers; `00` and `01` are its booleans. Long digit strings are refused (quadratic to parse)."""
    if text in (b"00", b"01"):
        return text == b"01"
    if len(text) > 24:
        raise PickleError("a number of more than 24 digits")
    return int(text.rstrip(b"L"))


def _quoted(text: bytes) -> bytes:
    """A Python 2 string literal of protocol 0 as bytes."""
    if len(text) < 2 or text[:1] not in b"'\"" or text[:1] != text[-1:]:
        raise PickleError("a string without its quotes")
    return codecs.escape_decode(text[1:-1])[0]


def _tuple(m: _Machine, size: int) -> tuple:
    return tuple(reversed([m.pop() for _ in range(size)]))


def _reduce(m: _Machine) -> Any:
    arguments = m.pop()
    value = _apply(m.pop(), arguments)
    if isinstance(value, bytes):  # one long text encoded over and over would outgrow any memory
        m.encoded_bytes += len(value)
        if m.encoded_bytes > len(m.data):
            raise PickleError("the pickle makes more bytes than it holds: refused")
    return value


def _stack_global(m: _Machine) -> _Global:
    name = m.pop()
    return _named(m.pop(), name)


# Opcodes that push one value, by their name in the pickle protocol's documentation (pickletools).
_PUSH: dict[bytes, Callable[[_Machine], Any]] = {
    b"(": lambda m: _MARK,  # MARK
    b"N": lambda m: None,  # NONE
    b"\x88": lambda m: True,  # NEWTRUE
    b"\x89": lambda m: False,  # NEWFALSE
    b"I": lambda m: _integer(m.line()),  # INT
    b"L": lambda m: _integer(m.line()),  # LONG
    b"J": lambda m: m.number(4, signed=True),  # BININT
    b"K": lambda m: m.number(1),  # BININT1
    b"M": lambda m: m.number(2),  # BININT2
    b"\x8a": lambda m: m.number(m.number(1), signed=True),  # LONG1
    b"S": lambda m: _quoted(m.line()),  # STRING
    b"T": lambda m: m.take(m.number(4, signed=True)),  # BINSTRING
    b"U": lambda m: m.take(m.number(1)),  # SHORT_BINSTRING
    b"V": lambda m: m.line().decode("raw-unicode-escape"),  # UNICODE
    b"X": lambda m: m.take(m.number(4)).decode("utf-8", "surrogatepass"),  # BINUNICODE
    b"\x8c": lambda m: m.take(m.number(1)).decode("utf-8", "surrogatepass"),  # SHORT_BINUNICODE
    b"\x8d": lambda m: m.take(m.number(8)).decode("utf-8", "surrogatepass"),  # BINUNICODE8
    b"B": lambda m: m.take(m.number(4)),  # BINBYTES
    b"C": lambda m: m.take(m.number(1)),  # SHORT_BINBYTES
    b"\x8e": lambda m: m.take(m.number(8)),  # BINBYTES8
    b"\x96": lambda m: m.take(m.number(8)),  # BYTEARRAY8
    b"]": lambda m: [],  # EMPTY_LIST
    b"l": lambda m: m.pop_to_mark(),  # LIST
    b")": lambda m: (),  # EMPTY_TUPLE
    b"t": lambda m: tuple(m.pop_to_mark()),  # TUPLE
    b"\x85": lambda m: _tuple(m, 1),  # TUPLE1
    b"\x86": lambda m: _tuple(m, 2),  # TUPLE2
    b"\x87": lambda m: _tuple(m, 3),  # TUPLE3
    b"g": lambda m: m.recall(_integer(m.line())),  # GET
    b"h": lambda m: m.recall(m.number(1)),  # BINGET
    b"j": lambda m: m.recall(m.number(4)),  # LONG_BINGET
    b"c": lambda m: _named(m.line(), m.line()),  # GLOBAL
    b"\x93": _stack_global,  # STACK_GLOBAL
    b"R": _reduce,  # REDUCE
}

# Opcodes that change what is there and push nothing.
_CHANGE: dict[bytes, Callable[[_Machine], Any]] = {
    b"\x80": lambda m: m.number(1),  # PROTO
    b"\x95": lambda m: m.number(8),  # FRAME: a hint for buffering
    b"0": lambda m: m.pop(),  # POP
    b"1": lambda m: m.pop_to_mark(),  # POP_MARK
    b"a": lambda m: _append(m),  # APPEND
    b"e": lambda m: _extend(m),  # APPENDS
    b"p": lambda m: m.remember(_integer(m.line())),  # PUT
    b"q": lambda m: m.remember(m.number(1)),  # BINPUT
    b"r": lambda m: m.remember(m.number(4)),  # LONG_BINPUT
    b"\x94": lambda m: m.remember(len(m.memo)),  # MEMOIZE
    b"b": lambda m: _build(m),  # BUILD
}


def _append(m: _Machine) -> None:
    item = m.pop()
    m.target_list().append(item)


def _extend(m: _Machine) -> None:
    items = m.pop_to_mark()
    m.target_list().extend(items)


def _build(m: _Machine) -> None:
    state = m.pop()
    if not m.stack:
        raise PickleError(f"byte {m.at} sets the state of a value that is missing")
    _set_state(m.stack[-1], state)


def read_pickled_data(data: bytes) -> Any:
    """Lists, tuples, bytes, texts, numbers and `_Array`s of a pickle of any protocol; PickleError for all else.

    Python 2 strings come back as bytes. `finished` turns an entry that numpy wrote into its array.
    """
    m = _Machine(data)
    try:
        while True:
            opcode = m.take(1)
            if opcode == b".":  # STOP
                return m.pop()
            if push := _PUSH.get(opcode):
                m.stack.append(push(m))
            elif change := _CHANGE.get(opcode):
                change(m)
            else:
                raise PickleError(f"opcode {opcode!r} at byte {m.at - 1} is not one that plain data needs: refused")
    except ValueError as error:  # broken text or digits: UnicodeDecodeError is one of these
        raise PickleError(f"damaged value before byte {m.at}: {str(error)[:80]}") from error


def finished(value: Any) -> Any:
    """The numpy array that an array entry stands for; every other value unchanged."""
    if isinstance(value, _Array):
        if value.value is None:
            raise PickleError("a numpy array without its contents")
        return value.value
    return value
