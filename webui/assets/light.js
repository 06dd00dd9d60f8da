// Gradio wraps what it is told of the page's events in proxies, and then looks through all of them for each of the page's
// components: a second of work. Svelte wraps nothing that has a class of its own, and nobody changes these events.
// And tabs for administrators are left out for others before it draws them, so that no menu of tabs names them.

class Told {}
class List extends Array {}

Object.defineProperty(window, "gradio_config", {
  configurable: true,
  set(config) {
    for (const event of config.dependencies ?? []) Object.setPrototypeOf(event, Told.prototype);
    if (document.documentElement.dataset.role === "user")
      for (const { type, props } of config.components ?? []) if (type === "tabitem" && props.elem_classes?.includes("admins")) props.visible = false;
    if (config.dependencies) Object.setPrototypeOf(config.dependencies, List.prototype);
    Object.defineProperty(window, "gradio_config", { value: config, writable: true, configurable: true });
  },
});
