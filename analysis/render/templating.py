"""Pages from templates: everything that comes from data is escaped, and no page may load or run anything else.

Beside the escaping, control characters are shown as their codes, and each page carries a content security policy: the
only scripts that run are its own, by their checksum, and nothing is loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from trainables.visible_text import visible

TEMPLATES = Path(__file__).parent / "templates"


def fill_template(template: str, script: str = "", **values: Any) -> str:
    """Return a page; `script` is the name of the one script that it may run."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    text = (TEMPLATES / script).read_text(encoding="utf-8") if script else ""
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        policy=policy(text), style=Markup(style), script=Markup(text), svg=Markup, **values
    )


def policy(script: str) -> str:
    """Return a content security policy that lets a page run `script` and load nothing."""
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"'sha256-{checksum}'" if script else "'none'"
    parts = ("default-src 'none'", "style-src 'unsafe-inline'", f"script-src {allowed}", "img-src data:")
    return "; ".join((*parts, "base-uri 'none'", "form-action 'none'"))
