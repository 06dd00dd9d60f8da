// How gradio's events reach the page's own scripts: atelier("press", "txt2img", ...) calls that export of page.js.

window.atelier = async (name, ...values) => {
  const page = await import(new URL(`${window.atelierAssets}/page.js`, document.baseURI));
  return page[name](...values);
};
