// What this page remembers, each of its forms by its tab's name. A tab's own memory survives a reload (sessionStorage);
// a new tab of the browser starts from the values used last in this browser (localStorage), and takes up a job that no
// open one shows any more.

const FORM = "atelier.form";
const JOB = "atelier.job";
const FIRST = "txt2img"; // its memory also holds what all forms share
const SHARED = ["forge_additional_modules"];
const channel = "BroadcastChannel" in window ? new BroadcastChannel("atelier") : null;

const keyOf = (what, tab) => (tab === FIRST ? what : `${what}.${tab}`);

export const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export function read(key) {
  try {
    return sessionStorage.getItem(key) ?? localStorage.getItem(key);
  } catch {
    return null; // storage is switched off: the page works, without memory
  }
}

export function write(key, text) {
  try {
    sessionStorage.setItem(key, text);
    localStorage.setItem(key, text);
  } catch {
    // as above
  }
}

// -- the forms: {checkpoint, touched: {field: value}} --

const form = (tab) => JSON.parse(read(keyOf(FORM, tab)) ?? '{"checkpoint":null,"touched":{}}');
const picked = (values, wanted) => Object.fromEntries(Object.entries(values).filter(([name]) => wanted(name)));

export function text(tab) {
  const first = form(FIRST);
  const shared = picked(first.touched, (name) => SHARED.includes(name));
  return JSON.stringify({ checkpoint: first.checkpoint, touched: { ...form(tab).touched, ...shared } });
}

export function touch(tab, values) {
  const { sd_model_checkpoint: checkpoint, ...fields } = values;
  const common = picked(fields, (name) => SHARED.includes(name));
  if (checkpoint !== undefined || Object.keys(common).length) change(FIRST, common, checkpoint);
  change(tab, picked(fields, (name) => !SHARED.includes(name)));
}

function change(tab, fields, checkpoint) {
  const changed = form(tab);
  if (checkpoint !== undefined) changed.checkpoint = checkpoint;
  Object.assign(changed.touched, fields);
  write(keyOf(FORM, tab), JSON.stringify(changed));
}

// -- the job that each form of this tab shows --

const held = new Map();

export function job(tab) {
  try {
    return sessionStorage.getItem(keyOf(JOB, tab)) ?? held.get(tab) ?? null;
  } catch {
    return held.get(tab) ?? null;
  }
}

export function hold(tab, id) {
  held.set(tab, id);
  write(keyOf(JOB, tab), id);
}

channel?.addEventListener("message", ({ data }) => {
  if (data.ask && data.ask === job(data.tab)) channel.postMessage({ mine: data.ask });
});

// The job used last in this browser, if no open tab shows it.
export async function orphan(tab) {
  const id = read(keyOf(JOB, tab));
  if (!id || !channel) return id;
  return new Promise((resolve) => {
    const answer = ({ data }) => data.mine === id && done(null);
    const timer = setTimeout(() => done(id), 300);
    function done(found) {
      clearTimeout(timer);
      channel.removeEventListener("message", answer);
      resolve(found);
    }
    channel.addEventListener("message", answer);
    channel.postMessage({ ask: id, tab });
  });
}

// The server does not know that job (any more).
export function release(tab, id) {
  const key = keyOf(JOB, tab);
  if (held.get(tab) === id) held.delete(tab);
  try {
    for (const storage of [sessionStorage, localStorage]) if (storage.getItem(key) === id) storage.removeItem(key);
  } catch {
    // as above
  }
}
