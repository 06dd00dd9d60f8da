// Who is logged in, as a link to the page Account; nothing where nobody has to log in.

import { make } from "./dom.js";

export async function showAccount() {
  const answer = await fetch(new URL("atelier/me", document.baseURI)).catch(() => null);
  const me = answer?.ok ? await answer.json() : null;
  const place = document.getElementById("quicksettings");
  if (!me?.login || !place || place.querySelector(".account")) return;
  place.append(make("a", { className: "account", href: "account", textContent: me.name, title: "Account" }));
}
