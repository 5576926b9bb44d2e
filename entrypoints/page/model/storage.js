// The browser's storage, or null where it gives none (a strict private window throws at the mere question).

export function browserStorage() {
  try {
    localStorage.setItem("unbroken.probe", "1");
    localStorage.removeItem("unbroken.probe");
    return localStorage;
  } catch {
    return null;
  }
}
