"""Every place at which a turn can be suspended, as a named point, without a hook in the product.

`install()` before `unbroken` is imported: the modules of a turn's path are then compiled with every `await`,
`async with` and `async for` announced to `passed`, before it and after it. `points()` lists the same names from the
files alone, so that an await that is written tomorrow is a point tomorrow.

A name is `module:function:kind number`; numbers count within the function, in the order of the text.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any, Literal

from tests.crash.turn_path import MODULES, source_of

When = Literal["before", "after"]
"""Before: reached, and nothing awaited yet. After: it has returned or raised, and nothing has followed from it."""
Passed = Callable[[str, When], None]

passed: Passed = lambda name, when: None  # noqa: E731
"""What happens at a point; whoever installs the hook sets it."""


def points() -> list[str]:
    """The names of all points, in the order of modules and text. Imports nothing of the product."""
    found: list[str] = []
    for module in MODULES:
        marking = _Marking(module)
        marking.visit(ast.parse(source_of(module).read_text("utf-8")))
        found += marking.names
    return found


def install(at_point: Passed) -> None:
    """Import these modules with their points, which call `at_point`. Raises RuntimeError if one is imported."""
    global passed  # noqa: PLW0603
    if early := [module for module in MODULES if f"unbroken.{module}" in sys.modules]:
        raise RuntimeError(f"too late for {early}")
    passed = at_point
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        module = fullname.removeprefix("unbroken.")
        if module not in MODULES or module == fullname:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.origin is not None:
                spec.loader = _Loader(fullname, spec.origin)
                return spec
        return None


class _Loader(SourceFileLoader):
    """Compiles anew each time: what the cache on disk holds has no points."""

    def get_code(self, fullname: str) -> CodeType:
        tree = _Marking(fullname.removeprefix("unbroken.")).visit(ast.parse(self.get_data(self.path)))
        code: CodeType = compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(_point_await=_awaited, _point_with=_Entered, _point_for=_iterated)
        super().exec_module(module)


class _Marking(ast.NodeTransformer):
    """Wraps what is awaited, and keeps the names it gave."""

    def __init__(self, module: str) -> None:
        self.names: list[str] = []
        self._module = module
        self._scope: list[str] = []
        self._count: dict[str, int] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._within(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._within(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._within(node)

    def visit_Await(self, node: ast.Await) -> ast.AST:
        name = self._name("await")
        self.generic_visit(node)
        node.value = _call("_point_await", name, node.value)
        return node

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        for item in node.items:
            item.context_expr = _call("_point_with", self._name("enter", "exit"), item.context_expr)
        return self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        node.iter = _call("_point_for", self._name("next"), node.iter)
        return self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        if node.is_async:
            node.iter = _call("_point_for", self._name("next"), node.iter)
        return self.generic_visit(node)

    def _within(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST:
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()
        return node

    def _name(self, *kinds: str) -> str:
        """Registers a name for each of `kinds`; what the wrapper gets is the name up to its kind."""
        scope = ".".join(self._scope)
        number = self._count[scope] = self._count.get(scope, 0) + 1
        head = f"{self._module}:{scope}:{number} "
        self.names += [head + kind for kind in kinds]
        return head if len(kinds) > 1 else head + kinds[0]


def _call(function: str, name: str, wrapped: ast.expr) -> ast.expr:
    call = ast.Call(ast.Name(function, ast.Load()), [ast.Constant(name), wrapped], [])
    return ast.copy_location(call, wrapped)


async def _awaited(name: str, awaitable: Awaitable[Any]) -> Any:
    passed(name, "before")
    try:
        return await awaitable
    finally:
        passed(name, "after")


class _Entered:
    def __init__(self, name: str, manager: AbstractAsyncContextManager[Any, Any]) -> None:
        self._name = name
        self._manager = manager

    async def __aenter__(self) -> Any:
        return await _awaited(f"{self._name}enter", self._manager.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        return await _awaited(f"{self._name}exit", self._manager.__aexit__(kind, error, trace))


async def _iterated(name: str, items: Any) -> AsyncIterator[Any]:
    iterator = aiter(items)
    while True:
        passed(name, "before")
        try:
            item = await anext(iterator)
        except StopAsyncIteration:
            return
        finally:
            passed(name, "after")
        yield item
