// The page Account: texts are set as text, never as HTML.

const find = (selector) => document.querySelector(selector);
const say = (words) => (find("#told").textContent = words);

async function ask(path, method = "GET", body = undefined) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const answer = await fetch(`atelier/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const found = await answer.json().catch(() => ({}));
  if (answer.status === 401) location.assign("login?next=/account");
  if (!answer.ok) throw new Error(found.detail ?? "The server does not answer.");
  return found;
}

async function attempt(work) {
  try {
    say("");
    await work();
  } catch (error) {
    say(error.message);
  }
}

function row(cells, actions) {
  const line = document.createElement("tr");
  for (const text of cells) line.insertCell().textContent = text;
  line.firstElementChild.dataset.plain = ""; // a name that somebody gave
  const place = line.insertCell();
  place.className = "actions";
  for (const [text, label, work] of actions) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: text, onclick: () => attempt(work) });
    button.setAttribute("aria-label", label);
    place.append(button, " ");
  }
  return line;
}

function onSubmit(section, work) {
  const form = find(`#${section} form`);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      await work(new FormData(form));
      form.reset();
    });
  });
}

const fill = (section, rows) => find(`#${section} tbody`).replaceChildren(...rows);
const date = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleDateString() : "never");

async function showTokens() {
  const { tokens } = await ask("me/tokens");
  const remove = (id) => ask(`me/tokens/${id}`, "DELETE").then(showTokens);
  fill("tokens", tokens.map((t) => row([t.label, `used: ${date(t.seen)}`], [["Remove", `Remove token ${t.label}`, () => remove(t.id)]])));
}

async function showUsers() {
  const { users } = await ask("users");
  const at = (user) => `users/${encodeURIComponent(user.name)}`;
  const actions = (user) => [
    [user.admin ? "Make user" : "Make administrator", `Change the role of ${user.name}`, () => ask(at(user), "POST", { admin: !user.admin }).then(showUsers)],
    ["New password", `Give ${user.name} a new password`, () => renew(user, at(user))],
    ["Remove", `Remove ${user.name}`, () => ask(at(user), "DELETE").then(showUsers)],
  ];
  const role = (user) => (user.admin ? "administrator" : "user") + (user.given ? ", of the command line" : "");
  fill("users", users.map((user) => row([user.name, role(user)], user.given ? [] : actions(user))));
}

async function renew(user, path) {
  const letters = crypto.getRandomValues(new Uint8Array(20));
  const password = Array.from(letters, (n) => "abcdefghijkmnpqrstuvwxyz23456789"[n % 32]).join("");
  await ask(path, "POST", { password });
  say(`The new password of ${user.name} is ${password}`);
}

async function showJobs() {
  const { jobs } = await ask("jobs");
  const open = jobs.filter((job) => job.state === "queued" || job.state === "running").reverse();
  const stop = (job) => ask(`jobs/${job.id}/interrupt`, "POST").then(showJobs);
  fill("jobs", open.map((job) => row([job.user, job.state, job.kind], [["Stop", `Stop job ${job.id}`, () => stop(job)]])));
}

// Before a form can be seen: one that nobody listens to would be sent as an address, with what is typed.
onSubmit("password", async (form) => {
  await ask("me/password", "POST", { old: form.get("old"), new: form.get("new") });
  say("The password is changed. Other logins of this account have ended.");
});

onSubmit("tokens", async (form) => {
  const made = await ask("me/tokens", "POST", { label: form.get("label") });
  await showTokens();
  say(`Copy the token now, it is not shown again: ${made.token}`);
});

onSubmit("users", async (form) => {
  const password = form.get("password") || undefined;
  const made = await ask("users", "POST", { name: form.get("name"), password, admin: form.get("admin") === "on" });
  await showUsers();
  if (made.password) say(`The password of ${made.name} is ${made.password}`);
});

attempt(async () => {
  const me = await ask("me");
  find("#name").textContent = me.name;
  for (const part of ["logout", "password", "tokens"]) find(`#${part}`).hidden = !me.login;
  for (const part of ["users", "jobs"]) find(`#${part}`).hidden = !(me.login && me.admin);
  if (!me.login) return say("Nobody logs in here: start with --auth, --listen or --share to have accounts.");
  await showTokens();
  if (!me.admin) return;
  await showUsers();
  await showJobs();
  setInterval(() => document.hidden || showJobs().catch(() => {}), 5000);
});
