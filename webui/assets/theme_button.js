// The button that goes from the system's colours to light ones, to dark ones, and back.

const KEPT = "atelier.theme";
const WORDS = { system: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" };
const NEXT = { system: "light", light: "dark", dark: "system" };
const system = matchMedia("(prefers-color-scheme: dark)");

// The address says it: assets/theme.js wrote there what was kept.
const chosen = () => {
  const found = new URL(location.href).searchParams.get("__theme");
  return found in WORDS ? found : "system";
};

export function listenToTheme() {
  const button = document.getElementById("theme");
  if (!button) return;
  button.addEventListener("click", () => turn(NEXT[chosen()]));
  system.addEventListener("change", () => show(chosen()));
  tell();
}

function turn(theme) {
  const address = new URL(location.href);
  if (theme === "system") address.searchParams.delete("__theme");
  else address.searchParams.set("__theme", theme);
  history.replaceState(history.state, "", address);
  try {
    localStorage.setItem(KEPT, theme);
  } catch {} // a browser that keeps nothing
  show(theme);
}

function show(theme) {
  const dark = theme === "dark" || (theme === "system" && system.matches);
  document.body.classList.toggle("dark", dark);
  const { body_css: css } = window.gradio_config;
  document.body.style.background = dark ? css.body_background_fill_dark : css.body_background_fill;
  tell();
}

function tell() {
  const button = document.getElementById("theme");
  button.title = WORDS[chosen()];
  button.setAttribute("aria-label", button.title);
}
