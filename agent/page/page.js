// Brings the page up to date in place. Without this script the page is whole, only it stands still.
"use strict";
(() => {
  const every = 3000;
  const soon = 1500; // the first time: by then the other members have mostly answered
  const patience = 15000;
  const silence = document.getElementById("silence");
  let since = null; // when the sidecar was last heard

  // busy: the reader marks text in there, to copy it. The verdict waits for nobody.
  const busy = (part) => {
    const marked = document.getSelection();
    return part.id !== "verdict" && marked && !marked.isCollapsed && part.contains(marked.anchorNode);
  };

  // carry takes over what the reader has done to the old part: opened, scrolled, focused.
  const carry = (from, to) => {
    const open = new Map();
    for (const d of from.querySelectorAll("details[data-key]")) open.set(d.dataset.key, d.open);
    for (const d of to.querySelectorAll("details[data-key]")) d.open = open.get(d.dataset.key) || false;
    const scrolled = [...from.querySelectorAll(".scroll")].map((s) => s.scrollLeft);
    const all = "a, summary, [tabindex]";
    const focus = [...from.querySelectorAll(all)].indexOf(document.activeElement);
    from.replaceWith(to);
    [...to.querySelectorAll(".scroll")].forEach((s, i) => { s.scrollLeft = scrolled[i] || 0; });
    if (focus >= 0) [...to.querySelectorAll(all)][focus]?.focus({ preventScroll: true });
  };

  const same = (a, b) => a.outerHTML.replaceAll(' open=""', "") === b.outerHTML;

  const show = (text) => {
    const next = new DOMParser().parseFromString(text, "text/html");
    if (!next.querySelector("main")) throw new Error("it is not a status page");
    document.title = next.title;
    document.querySelector("header .who").replaceChildren(...document.importNode(next.querySelector("header .who"), true).childNodes);
    // The search form is not touched: somebody may be typing.
    for (const part of document.querySelectorAll("main section:not(#targets), #found")) {
      const fresh = next.getElementById(part.id);
      if (fresh && !busy(part) && !same(part, fresh)) carry(part, document.importNode(fresh, true));
    }
  };

  const ask = async () => {
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(patience) });
      if (!answer.ok) throw new Error("it says " + answer.status + " " + answer.statusText);
      show(await answer.text());
      since = new Date();
      silence.hidden = true;
    } catch (error) {
      const last = since ? since.toLocaleTimeString() : "the page was loaded";
      silence.textContent = "✕ This sidecar has not answered since " + last + ": what you see is old. (" + error.message + ")";
      silence.hidden = false;
    }
    document.body.classList.toggle("old", !silence.hidden);
  };

  const loop = async () => {
    if (!document.hidden) await ask();
    setTimeout(loop, every);
  };
  setTimeout(loop, soon);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
})();
