// Light or dark: as the address says, else as was chosen here before, else as the system is.
export type Theme = "light" | "dark";

const KEY = "fourfold.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function known(text: string | null): Theme | null {
  return text === "light" || text === "dark" ? text : null;
}

function stored(): Theme | null {
  try {
    return known(localStorage.getItem(KEY));
  } catch {
    return null; // a browser that keeps nothing
  }
}

export function chosenTheme(): Theme | null {
  return known(new URLSearchParams(location.search).get("theme")) ?? stored();
}

export function currentTheme(): Theme {
  return chosenTheme() ?? (dark.matches ? "dark" : "light");
}

export function applyTheme(): void {
  const chosen = chosenTheme();
  if (chosen) document.documentElement.dataset["theme"] = chosen;
  else delete document.documentElement.dataset["theme"];
}

export function keepTheme(theme: Theme): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // the address still says it
  }
}

/** Call back when the system's theme changes; returns how to stop. */
export function onSystemTheme(changed: () => void): () => void {
  dark.addEventListener("change", changed);
  return () => dark.removeEventListener("change", changed);
}
