"""The built front end: it ships in the wheel, asks for nothing from elsewhere, and is what its sources give."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
ASSETS = ROOT / "src" / "meridian" / "web" / "assets"
TEXTS = {".html", ".js", ".css", ".svg"}
NAMESPACES = ("http://www.w3.org/",)
"""Names that look like addresses; nothing is fetched from them."""


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_wheel_holds_the_front_end(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed (it is in the development dependencies)")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        prefix = "meridian/web/assets/"
        shipped = {
            name.removeprefix(prefix): archive.read(name)
            for name in archive.namelist()
            if name.startswith(prefix)
        }
        assert shipped == files(ASSETS)
        assert not [name for name in archive.namelist() if "node_modules" in name]


def test_a_page_names_only_files_that_ship():
    page = (ASSETS / "index.html").read_text()
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(name.endswith(".js") for name in named)
    for name in named:
        assert name.startswith("./"), name
        assert (ASSETS / name).is_file(), name
    assert not re.search(r"<(script|style)[^>]*>[^<]", page), "an inline script or style"
    assert " style=" not in page
    assert " on" not in re.sub(r"<p>.*?</p>|<noscript>.*?</noscript>", "", page, flags=re.DOTALL)


def test_nothing_is_fetched_from_elsewhere():
    for name, data in files(ASSETS).items():
        if Path(name).suffix not in TEXTS:
            continue
        text = data.decode()
        for address in re.findall(r"https?://[^\s\"'`)\\]+", text):
            linked = f'href:"{address}"' in text  # a link that a person may follow
            assert address.startswith(NAMESPACES) or linked, f"{name}: {address}"
        assert not re.search(r"@import|url\((?!['\"]?data:)['\"]?(https?:)?//", text), name
        assert not re.search(r"\beval\(|new Function\(", text), f"{name}: not under a strict CSP"


def node_modules() -> Path:
    """The locked packages: of the working directory, or installed once into the cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed: the assets are not built anew")
    lock = (WEB / "package-lock.json").read_bytes()
    here = WEB / "node_modules"
    marker = here / ".package-lock.json"
    if marker.is_file() and marker.stat().st_mtime >= (WEB / "package-lock.json").stat().st_mtime:
        return here
    cache = Path(os.environ.get("MERIDIAN_NPM") or Path.home() / ".cache" / "meridian-npm")
    place = cache / f"web-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not (place / "done").is_file():
        place.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(WEB / name, place / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            pytest.skip(f"npm cannot fetch the packages (no network?): {done.stderr[-300:]}")
        (place / "done").touch()
    return place / "node_modules"


def test_the_front_end_is_what_its_sources_give(tmp_path):
    modules = node_modules()
    copy = tmp_path / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules"))
    (copy / "node_modules").symlink_to(modules)
    out = tmp_path / "assets"
    done = subprocess.run(
        ["npm", "run", "build"],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "MERIDIAN_WEB_DIR": str(out)},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    built, kept = files(out), files(ASSETS)
    assert built.keys() == kept.keys()
    different = [name for name in built if built[name] != kept[name]]
    assert different == [], "run `npm run build` in web/ and commit what it writes"
