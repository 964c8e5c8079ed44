"""The source text of one function or class, and small changes to it that leave the rest as it was written."""

from __future__ import annotations

import ast
import inspect
import io
import re
import types
from collections.abc import Iterator
from typing import Any, Self

from sremote.errors import ValueRefused
from sremote.installed import unwrap

_ALLOW = re.compile(r"(sremote\.)?allow")
"""``@sremote.allow`` above a class: the host has no sremote to import, and needs no leave."""


class NoSource(ValueRefused):
    """There is no text for it."""


class Definition:
    """A ``def``, ``class`` or lambda; ``text`` is what Python runs to have it, ``tree`` the same, parsed."""

    def __init__(self, text: str) -> None:
        # What stood indented stays so: to dedent it would change the text in its string literals.
        self.text = f"if True:\n{text}" if text[:1].isspace() else text

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the definition of a function or class.  Raises NoSource where it is in no file."""
        inner = unwrap(value)
        try:
            if getattr(inner, "__name__", "") == "<lambda>":
                return cls(f"_ = ({_lambda_text(inner)})\n")
            definition = cls(inspect.getsource(getattr(inner, "__code__", inner)))
            if definition._node().name != inner.__name__:
                raise NoSource("which has other source text")
            definition._drop(lambda decorator: bool(_ALLOW.fullmatch(ast.unparse(decorator))))
        except (OSError, TypeError, SyntaxError, NoSource):
            raise NoSource("which has no source text", "Define it with def or class, in a file.") from None
        return definition

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def rename(self, name: str) -> None:
        """Bind it to ``name``."""
        node = self._node()
        if isinstance(node, ast.Lambda):
            self.text = re.sub(r"\w+ =", f"{name} =", self.text, count=1)
        elif node.name != name:
            start = self._offset(node.lineno, node.col_offset)
            rest = re.sub(rf"\b(def|class)(\s+){node.name}\b", rf"\1\g<2>{name}", self.text[start:], count=1)
            self.text = self.text[:start] + rest

    def drop_decorators(self) -> None:
        """Remove the decorators."""
        self._drop(lambda _: True)

    def replace_defaults(self, function: types.FunctionType, prefix: str) -> Iterator[tuple[str, Any]]:
        """Put names into the place of default arguments that are more than constants; yield these and their values."""
        arguments = self._node().args
        given = zip(arguments.defaults, function.__defaults__ or (), strict=False)
        keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        named = [(node, (function.__kwdefaults__ or {}).get(argument.arg)) for argument, node in keyword_only if node]
        pairs = [(node, value) for node, value in (*given, *named) if not _is_constant(node)]
        for number, (node, value) in reversed(list(enumerate(pairs))):  # from the end, so that places stay right
            start = self._offset(node.lineno, node.col_offset)
            end = self._offset(node.end_lineno, node.end_col_offset)
            self.text = f"{self.text[:start]}{prefix}{number}{self.text[end:]}"
            yield f"{prefix}{number}", value

    def _drop(self, unwanted: Any) -> None:
        node = self._node()
        lines = self._lines()
        for decorator in reversed(getattr(node, "decorator_list", [])):
            if unwanted(decorator):
                del lines[decorator.lineno - 1 : decorator.end_lineno]
        self.text = "".join(lines)

    def _node(self) -> Any:
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        found = next((node for node in ast.walk(self.tree) if isinstance(node, kinds)), None)
        if found is None:
            raise NoSource("which has no source text")
        return found

    def _lines(self) -> list[str]:
        return io.StringIO(self.text).readlines()  # not splitlines(), which knows more ends of line than Python

    def _offset(self, line: int, column: int) -> int:
        """Return the place in ``text`` of a line, from 1, and a column in bytes of UTF-8."""
        lines = self._lines()
        before = lines[line - 1].encode()[:column].decode()
        return sum(map(len, lines[: line - 1])) + len(before)


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant))


def _lambda_text(function: types.FunctionType) -> str:
    """Return the text of a lambda: of those on its line, the one that compiles to its code."""
    text = "".join(inspect.findsource(function)[0])
    code = function.__code__
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Lambda) and node.lineno <= code.co_firstlineno <= (node.end_lineno or node.lineno):
            alone = compile(ast.Expression(node), "<lambda>", "eval").co_consts
            if any(isinstance(found, types.CodeType) and _marks(found) == _marks(code) for found in alone):
                return ast.get_source_segment(text, node) or ""
    raise NoSource("which has no source text")


def _marks(code: types.CodeType) -> tuple[Any, ...]:
    """Return what tells a lambda's code from others and is the same where its text is compiled alone."""
    places = {place for place in code.co_positions() if None not in place}
    spans = {(line, end, left, right) for line, end, left, right in places if (line, left) != (end, right)}
    constants = [constant for constant in code.co_consts if not isinstance(constant, types.CodeType)]
    return spans, code.co_varnames, _names(code), constants


def _names(code: types.CodeType) -> set[str]:
    """Return the names of a closure and of globals, which are all global where the text is compiled alone."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return {*code.co_names, *code.co_freevars}.union(*map(_names, inner))
