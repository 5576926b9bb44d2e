// Light, dark, or as the system is; remembered. theme_early.js shows it before the first paint.

import { browserStorage } from "./model/storage.js";

const KEY = "unbroken.theme";
const ORDER = ["auto", "light", "dark"];
const storage = browserStorage();

export function theme() {
  const kept = storage?.getItem(KEY);
  return ORDER.includes(kept) ? kept : "auto";
}

export function nextTheme() {
  const next = ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length];
  storage?.setItem(KEY, next);
  showTheme();
}

export function showTheme() {
  document.documentElement.dataset.theme = theme();
}
