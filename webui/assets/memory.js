// What this page remembers. A tab's own memory survives a reload (sessionStorage); a new tab starts from the values
// used last in this browser (localStorage), and takes up a job that no open tab shows any more.

const FORM = "atelier.form";
const JOB = "atelier.job";
const tabs = "BroadcastChannel" in window ? new BroadcastChannel("atelier") : null;

export const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function read(key) {
  try {
    return sessionStorage.getItem(key) ?? localStorage.getItem(key);
  } catch {
    return null; // storage is switched off: the page works, without memory
  }
}

function write(key, text) {
  try {
    sessionStorage.setItem(key, text);
    localStorage.setItem(key, text);
  } catch {
    // as above
  }
}

// -- the form: {checkpoint, touched: {field: value}} --

export const text = () => read(FORM) ?? JSON.stringify({ checkpoint: null, touched: {} });

export function touch(values) {
  const form = JSON.parse(text());
  const { sd_model_checkpoint: checkpoint, ...fields } = values;
  if (checkpoint !== undefined) form.checkpoint = checkpoint;
  Object.assign(form.touched, fields);
  write(FORM, JSON.stringify(form));
}

// -- the job this tab shows --

export function job() {
  try {
    return sessionStorage.getItem(JOB) ?? held;
  } catch {
    return held;
  }
}

let held = null;

export function hold(id) {
  held = id;
  write(JOB, id);
}

tabs?.addEventListener("message", ({ data }) => {
  if (data.ask && data.ask === job()) tabs.postMessage({ mine: data.ask });
});

// The job used last in this browser, if no open tab shows it.
export async function orphan() {
  const id = read(JOB);
  if (!id || !tabs) return id;
  return new Promise((resolve) => {
    const answer = ({ data }) => data.mine === id && done(null);
    const timer = setTimeout(() => done(id), 300);
    function done(found) {
      clearTimeout(timer);
      tabs.removeEventListener("message", answer);
      resolve(found);
    }
    tabs.addEventListener("message", answer);
    tabs.postMessage({ ask: id });
  });
}

// The server does not know that job (any more).
export function release(id) {
  if (held === id) held = null;
  try {
    for (const storage of [sessionStorage, localStorage]) if (storage.getItem(JOB) === id) storage.removeItem(JOB);
  } catch {
    // as above
  }
}
