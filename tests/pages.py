# ruff: noqa: E501 - a script reads better one statement to a line
"""Look at a page as a reader's browser lays it out, and say what is wrong with it: needs Chromium, nothing else.

The page is put into frames as wide as a phone and as a desk, light and dark; a script measures in each whether anything
stands out at the side and how well every text stands out from what is behind it (WCAG 2: 4.5 to 1, whatever its size).
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

from pgrescue.ledger import pdf

WIDTHS = (360, 1280)
CONTRAST = 4.5
LOOK = """
const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const colour = text => { const n = (text.match(/[\\d.]+/g) || []).map(Number); return n.length < 3 ? null : [...n, 1].slice(0, 4); };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
const inside = (box, x, y) => box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
function behind(page, view, element, box) {
  const x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
  const svg = element.closest("svg");
  if (svg && element.namespaceURI.endsWith("svg")) {  // what was painted last before the text and lies below its middle
    const painted = [...svg.querySelectorAll("rect, circle, text")];
    const before = painted.slice(0, painted.indexOf(element)).reverse();
    for (const shape of before.filter(s => s.tagName !== "text" && inside(s.getBoundingClientRect(), x, y))) {
      const fill = colour(view.getComputedStyle(shape).fill);
      if (fill && fill[3] > 0) return fill;
    }
  }
  for (let at = element; at; at = at.parentElement) {
    const back = colour(view.getComputedStyle(at).backgroundColor);
    if (back && back[3] > 0) return over(back, [255, 255, 255]);
  }
  return [255, 255, 255];
}
function look(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, found = [];
  const wide = page.documentElement.scrollWidth - view.innerWidth;
  if (wide > 0) {
    const out = [...page.querySelectorAll("body *")].find(e => e.getBoundingClientRect().right > view.innerWidth + 0.5);
    found.push({wrong: "overflow", by: wide, what: out ? out.outerHTML.slice(0, 120) : ""});
  }
  let texts = 0;
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement, style = view.getComputedStyle(element);
    if (!node.data.trim() || ["STYLE", "SCRIPT"].includes(element.tagName) || !element.getClientRects().length) continue;
    texts += 1;
    const box = element.getBoundingClientRect(), back = behind(page, view, element, box);
    const drawn = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const ink = over(colour(drawn), back), pair = [light(ink), light(back)].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < LEAST) found.push({wrong: "contrast", by: +contrast.toFixed(2), what: node.data.trim().slice(0, 60)});
  }
  return {width: view.innerWidth, dark: view.matchMedia("(prefers-color-scheme: dark)").matches, texts, found};
}
addEventListener("load", () => {
  document.getElementById("found").textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
});
"""


def looked_at(page: str, *, dark: bool = False) -> list[dict[str, Any]]:
    """What was found at each width: `width, dark, texts, found[{wrong, by, what}]`."""
    frames = "".join(
        f'<iframe style="width:{width}px;height:800px;border:0" srcdoc="{html.escape(page)}"></iframe>'
        for width in WIDTHS
    )
    script = LOOK.replace("LEAST", str(CONTRAST))
    host = f'<!doctype html><meta name="color-scheme" content="light dark"><pre id="found"></pre>{frames}<script>{script}</script>'
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    dumped = pdf.run(host, scheme, "--window-size=1400,900", "--dump-dom").decode()
    said = re.search(r'<pre id="found">(.*?)</pre>', dumped, re.S)
    assert said and said[1], dumped[-2000:]
    found: list[dict[str, Any]] = json.loads(html.unescape(said[1]))
    return found


def wrong(page: str) -> list[str]:
    """Everything that is wrong, light and dark, at every width, in sentences."""
    return [
        f"{look['width']} px, {'dark' if look['dark'] else 'light'}: {one['wrong']} {one['by']} at {one['what']!r}"
        for dark in (False, True)
        for look in looked_at(page, dark=dark)
        for one in look["found"]
    ]
