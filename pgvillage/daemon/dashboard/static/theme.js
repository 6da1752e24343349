// Loaded before anything is drawn, so that the page does not flash in the other theme.
"use strict";
try {
  const chosen = localStorage.getItem("pgvillage-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch (_) { /* storage is switched off: the system's theme it is */ }
document.documentElement.classList.add("has-js");
