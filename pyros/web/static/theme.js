"use strict";
// Dark or red, remembered on this device; runs before the first paint.
(() => {
  const root = document.documentElement;
  try { root.dataset.theme = localStorage.getItem("theme") === "red" ? "red" : "dark"; } catch { /* not remembered */ }
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const show = () => button.setAttribute("aria-pressed", String(root.dataset.theme === "red"));
    button.hidden = false;
    show();
    button.addEventListener("click", () => {
      root.dataset.theme = root.dataset.theme === "red" ? "dark" : "red";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not remembered */ }
      show();
    });
  });
})();
