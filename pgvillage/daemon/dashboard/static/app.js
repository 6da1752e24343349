// Everything here is a comfort: the pages are read, filtered and signed in to without it.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { $("#said").textContent = text; };

  // Ages grow while the page is open.
  const age = (seconds) => seconds >= 172800 ? `${Math.floor(seconds / 86400)} d`
    : seconds >= 7200 ? `${Math.floor(seconds / 3600)} h`
    : seconds >= 120 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds)} s`;
  const growOlder = () => {
    const now = Date.now();
    for (const time of all("time[data-age]")) {
      const text = age(Math.abs(now - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(growOlder, 30000);

  // Theme, help, copying.
  const turn = () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("pgvillage-theme", root.dataset.theme); } catch (_) { /* not kept, then */ }
    say(`${root.dataset.theme} theme`);
  };
  const help = () => { const box = $("#help"); if (box.open) box.close(); else box.showModal(); };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-do], [data-copy]");
    if (!button) return;
    if (button.dataset.do === "theme") turn();
    if (button.dataset.do === "help") help();
    if (button.dataset.copy) {
      const text = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch (_) { // no clipboard over plain HTTP: select it instead
        getSelection().selectAllChildren(text);
        button.textContent = "Selected: press Ctrl+C";
      }
      say(button.textContent);
    }
  });

  // The estate's filter: rows are hidden, never asked for again.
  const rows = $("#rows");
  const box = $("[data-filter]");
  let condition = new URLSearchParams(location.search).get("is") || "";
  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const select = $("[data-label]");
    const label = select ? select.value.toLowerCase() : "";
    let shown = 0;
    for (const row of rows.children) {
      const text = row.dataset.find;
      const fits = (!condition || row.dataset.is.split(" ").includes(condition))
        && (!label || text.includes(label)) && words.every((word) => text.includes(word));
      if (row.hidden === fits) row.hidden = !fits;
      if (fits) shown += 1;
    }
    $("#shown").textContent = `${shown.toLocaleString("en")} shown`;
    $("#none").hidden = shown > 0;
    for (const chip of all(".chip")) {
      if (chip.dataset.is === condition) chip.setAttribute("aria-current", "true");
      else chip.removeAttribute("aria-current");
    }
    const query = new URLSearchParams();
    if (box.value) query.set("q", box.value);
    if (select && select.value) query.set("label", select.value);
    if (condition) query.set("is", condition);
    history.replaceState(null, "", query.size ? `/?${query}` : "/");
  };
  if (rows && box) {
    box.addEventListener("input", filter);
    $("[data-label]")?.addEventListener("change", filter);
    box.form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
    document.addEventListener("click", (event) => {
      const chip = event.target.closest(".chip[data-is]");
      if (!chip || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      condition = chip.dataset.is;
      filter();
    });
    filter();
  }

  // Keyboard.
  let before = "";
  const step = (by) => {
    const links = all(".rows .row:not([hidden]) .name, .inbox .card a:first-of-type, .log.wide li a");
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    const next = links[Math.min(Math.max(at + by, 0), links.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const key = event.key;
    if (before === "g") {
      before = "";
      const link = /^[a-z]$/.test(key) ? $(`nav [data-key="${key}"]`) : null;
      if (link) { event.preventDefault(); link.click(); return; }
    }
    before = key === "g" ? "g" : "";
    if (key === "?") help();
    else if (key === "t") turn();
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else if (key === "/" && $("#q")) { event.preventDefault(); $("#q").focus(); $("#q").select(); }
  });

  // News. A page is renewed in place, at most every two seconds; what is being typed or open is left alone.
  const changed = new Set();
  let waiting = null;
  const renewRows = async () => {
    const names = [...changed].slice(0, 50);
    for (const name of names) changed.delete(name);
    const query = new URLSearchParams(names.map((name) => ["target", name]));
    const answer = await fetch(`/rows?${query}`);
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const row of all(".row", fresh)) {
      const old = document.getElementById(row.id);
      const focused = old && old.contains(document.activeElement);
      if (old) old.replaceWith(row); else rows.prepend(row);
      row.classList.add("renewed");
      if (focused) $(".name", row).focus();
    }
    $("#summary").replaceWith($("#summary", fresh));
    filter();
  };
  const renew = async () => {
    waiting = null;
    if (document.hidden) return;
    try {
      if (rows) {
        while (changed.size) await renewRows();
        return;
      }
      changed.clear();
      const live = $("#live");
      if (!live || $("#live details[open]") || live.contains(document.activeElement) && document.activeElement !== live) return;
      await htmx.ajax("GET", location.pathname + location.search,
        { target: "#live", select: "#live", swap: "outerMorph" });
    } catch (_) { /* the next news tries again */ }
  };
  const soon = () => { waiting ??= setTimeout(renew, rows ? 500 : 2000); };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && changed.size) soon(); });

  const line = (list, news) => {
    const li = document.createElement("li");
    li.className = ["warning", "error"].includes(news.severity) ? news.severity : "info";
    const text = document.createElement("span");
    text.className = "grow";
    const reason = document.createElement("b");
    reason.textContent = news.reason;
    const message = document.createElement("bdi");
    message.textContent = news.message;
    text.append(reason, " ", message);
    const time = document.createElement("time");
    time.dateTime = news.at;
    time.dataset.age = "";
    time.textContent = "0 s";
    li.append(text, time);
    if (list.dataset.newest === "first") list.prepend(li); else list.append(li);
    const empty = list.nextElementSibling;
    if (empty && empty.classList.contains("empty")) empty.remove();
    while (list.children.length > 500) list.firstElementChild.remove();
  };

  const watches = rows || $("#live") || $("[data-log]");
  if (watches && window.EventSource) {
    const source = new EventSource(`/live?after=${document.documentElement.dataset.lastEvent}`);
    const state = $("#live-state");
    source.addEventListener("open", () => { state.hidden = false; state.classList.remove("off"); state.lastElementChild.textContent = "live"; });
    source.addEventListener("error", () => { state.classList.add("off"); state.lastElementChild.textContent = "not live"; });
    source.addEventListener("reload", () => location.reload());
    source.addEventListener("news", (message) => {
      const news = JSON.parse(message.data);
      for (const list of all("[data-log]")) if (list.dataset.log === news.target) line(list, news);
      const live = $("#live");
      if (rows || (live && [news.target, "*"].includes(live.dataset.live))) { changed.add(news.target); soon(); }
      if (news.severity === "error" || news.severity === "warning") say(`${news.target}: ${news.reason}`);
    });
    addEventListener("pagehide", () => source.close());
  }
})();
