// Before the first paint, so that nothing flashes: the theme that was chosen (theme.js).
try {
  document.documentElement.dataset.theme = localStorage.getItem("unbroken.theme") || "auto";
} catch {
  // No storage: as the system is.
}
