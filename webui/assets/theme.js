// Light or dark, as this browser's user chose; the address says it to gradio before it draws. ?__theme= in an address counts
// for that visit alone; without either the system's colours are taken.

(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("atelier.theme");
  } catch {} // a browser that keeps nothing
  const address = new URL(location.href);
  if (!["light", "dark"].includes(chosen) || address.searchParams.has("__theme")) return;
  address.searchParams.set("__theme", chosen);
  history.replaceState(history.state, "", address);
})();
