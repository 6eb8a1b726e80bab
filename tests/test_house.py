"""Rules of the house that a machine can check: who imports whom, sizes, docstrings, loose ends."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import bcnmf_dask

PACKAGE = Path(bcnmf_dask.__file__).parent
REPOSITORY = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))

FLOORS = {
    name: height
    for height, rooms in enumerate(
        [
            ("kernels", "backend", "errors", "failures"),
            ("updates",),
            ("results",),
            ("data",),
            ("engine",),
            ("ingesting",),
            ("solvers",),
            ("fitting",),
            ("studies",),
            ("benchmarking",),
            ("planning",),
            ("estimator", "fitted", "cli", "plots", "report", "demo", "__init__", "__main__"),
        ]
    )
    for name in rooms
}
FACES = {name for name, height in FLOORS.items() if height == max(FLOORS.values())}
ROOMS_OF = {
    "distributed": {"engine"},
    "dask.distributed": {"engine"},
    "cupy": {"backend"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "typer": FACES,
    "rich": FACES,
    "matplotlib": FACES,
    "sklearn": FACES | {"studies"},
}
MOST_LINES = 350

over_modules = pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))


def room(module):
    """The first part of a module's place in the package: its room."""
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(module):
    """Full dotted names of all that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(module):
    """Rooms of this package that a module imports from."""
    for name in imported(module):
        first, *rest = name.split(".")
        if first == PACKAGE.name:
            yield rest[0] if rest and rest[0] in FLOORS else "__init__"


def test_every_room_has_a_floor():
    assert {room(module) for module in MODULES} <= set(FLOORS)
    assert {"kernels", "updates", "results", "data", "engine", "solvers", "fitting", "estimator"} <= {
        room(module) for module in MODULES
    }


@over_modules
def test_a_floor_knows_only_those_below(module):
    above = [name for name in rooms_imported(module) if FLOORS[name] > FLOORS[room(module)]]
    assert above == []


@over_modules
def test_third_parties_stay_in_their_rooms(module):
    strays = [
        name
        for name in imported(module)
        for library, rooms in ROOMS_OF.items()
        if (name == library or name.startswith(f"{library}.")) and room(module) not in rooms
    ]
    assert strays == []


def test_the_rules_on_imports_find_what_they_look_for():
    """Else a change of layout would make the two tests above pass on nothing."""
    by_room = {(room(module), name.split(".")[0]) for module in MODULES for name in imported(module)}
    assert {("engine", "distributed"), ("kernels", "numba"), ("estimator", "sklearn")} <= by_room
    assert {"data", "engine", "results"} <= set(rooms_imported(PACKAGE / "fitting" / "factorize.py"))


@over_modules
def test_files_can_be_read_in_one_sitting(module):
    assert len(module.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", MODULES + TESTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_is_left_for_later(path):
    words = "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"])
    assert re.findall(rf"\b({words})\b", path.read_text()) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_skip_has_a_reason(path):
    assert [line for line, reason in skips(ast.parse(path.read_text())) if not reason] == []


def skips(tree):
    """The line of each skip or expected failure, and whether it gives a reason."""
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"skip", "skipif", "xfail", "importorskip"}:
            call = calls.get(id(node))
            yield node.lineno, call is not None and gives_reason(call, node.attr)


def gives_reason(call, kind):
    named = any(keyword.arg in {"reason", "msg"} for keyword in call.keywords)
    return named or (kind == "skip" and bool(call.args))


@pytest.mark.parametrize(
    ("source", "reasons"),
    [
        ("pytest.skip('why')", [True]),
        ("pytest.skip()", [False]),
        ("@pytest.mark.skip\ndef test(): ...", [False]),
        ("pytest.mark.skipif(True, reason='why')", [True]),
        ("pytest.mark.skipif(True)", [False]),
        ("pytest.importorskip('cupy')", [False]),
    ],
)
def test_skips_without_a_reason_are_found(source, reasons):
    assert [reason for _, reason in skips(ast.parse(source))] == reasons


def public_objects():
    """Public functions and classes of the public floors, and the public methods of these classes."""
    modules = [bcnmf_dask, *(importlib.import_module(dotted(path)) for path in MODULES if documented(path))]
    found = {}
    for module in modules:
        for name, thing in vars(module).items():
            if name.startswith("_") or not (inspect.isfunction(thing) or inspect.isclass(thing)):
                continue
            if thing.__module__.startswith(PACKAGE.name):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
                found |= public_methods(thing)
    return found


def public_methods(thing):
    if not inspect.isclass(thing):
        return {}
    ours = [base for base in thing.__mro__ if base.__module__.startswith(PACKAGE.name)]
    own = {name: getattr(thing, name) for base in ours for name in vars(base) if not name.startswith("_")}
    return {
        f"{thing.__module__}.{thing.__qualname__}.{name}": method
        for name, method in own.items()
        if inspect.isfunction(method) or inspect.ismethod(method)
    }


def documented(path):
    return room(path) in {"updates", "results", "kernels", "errors", "backend"}


def dotted(path):
    parts = (PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


def section(thing, title):
    """Names that a numpydoc section lists, in order; None if there is no such section."""
    lines = (inspect.getdoc(thing) or "").splitlines()
    starts = [i for i, line in enumerate(lines[:-1]) if line == title and set(lines[i + 1]) == {"-"}]
    if not starts:
        return None
    names = []
    for line, following in zip(lines[starts[0] + 2 :], [*lines[starts[0] + 3 :], ""], strict=True):
        if following and set(following) == {"-"}:
            break
        if line and not line.startswith(" "):
            names += line.split(" : ")[0].split(", ")
    return names


def parameters_of(thing):
    """As a caller gives them, in the order of the signature."""
    return [name for name in inspect.signature(thing).parameters if name not in {"self", "cls"}]


PUBLIC = public_objects()


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_documented(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert len(text.split()) >= 3


@pytest.mark.parametrize("name", [name for name, thing in PUBLIC.items() if section(thing, "Parameters")])
def test_documented_parameters_are_those_of_the_signature(name):
    documented = [parameter.lstrip("*") for parameter in section(PUBLIC[name], "Parameters")]
    assert sorted(documented) == sorted(parameters_of(PUBLIC[name]))


def test_the_public_interface_is_among_what_is_checked():
    assert {
        "bcnmf_dask.estimator.BCNMF",
        "bcnmf_dask.estimator.BCNMF.fit",
        "bcnmf_dask.estimator.BCNMF.load",
        "bcnmf_dask.data.split.split",
        "bcnmf_dask.updates.kullback_leibler.update_basis",
        "bcnmf_dask.results.record.FitResult",
    } <= set(PUBLIC)
    assert section(bcnmf_dask.BCNMF.fit, "Parameters")[:3] == ["target", "background", "y"]
    assert section(bcnmf_dask.BCNMF, "Parameters") == parameters_of(bcnmf_dask.BCNMF)


@pytest.mark.parametrize("name", [name for name, thing in PUBLIC.items() if hasattr(thing, "__dataclass_fields__")])
def test_documented_attributes_are_the_fields_of_the_class(name):
    assert sorted(section(PUBLIC[name], "Attributes")) == sorted(PUBLIC[name].__dataclass_fields__)


@pytest.mark.parametrize("name", [name for name, thing in PUBLIC.items() if hasattr(thing, "_fields")])
def test_documented_attributes_are_the_fields_of_the_tuple(name):
    assert section(PUBLIC[name], "Attributes") == list(PUBLIC[name]._fields)


def test_every_parameter_of_a_public_face_is_documented():
    """Not only do the names match: a face leaves none out."""
    faces = (bcnmf_dask.BCNMF, bcnmf_dask.BCNMF.fit, bcnmf_dask.BCNMF.transform, bcnmf_dask.split, bcnmf_dask.ingest)
    for thing in faces:
        assert set(section(thing, "Parameters")) == set(parameters_of(thing))


def test_the_public_names_are_those_promised():
    assert set(bcnmf_dask.__all__) == {"BCNMF", "ingest", "split"}
    assert [name for name in parameters_of(bcnmf_dask.BCNMF) if re.fullmatch("[A-Z]", name)] == []
