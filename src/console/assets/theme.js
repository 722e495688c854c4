// The chosen theme, set before anything is drawn. Without a choice the system's counts.
(() => {
  const root = document.documentElement;
  const set = (theme) => (theme === "light" || theme === "dark" ? (root.dataset.theme = theme) : delete root.dataset.theme);
  let stored = "auto";
  try {
    stored = localStorage.getItem("causeway-theme") ?? "auto";
  } catch {
    // Storage can be switched off: then the choice lasts as long as the page.
  }
  set(stored);
  addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = root.dataset.theme ?? "auto";
    select.addEventListener("change", () => {
      set(select.value);
      try {
        localStorage.setItem("causeway-theme", select.value);
      } catch {
        // As above.
      }
    });
  });
})();
