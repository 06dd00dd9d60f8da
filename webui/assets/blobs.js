// Pictures that the user gave or drew, kept in the browser (IndexedDB) so that a reload finds them. Without a database
// (private windows) they live as long as the page.

import { newId } from "./memory.js";

const NAME = "atelier";
const STORE = "pictures";
const MOST = 200; // of older ones the oldest go
const KEPT = 30 * 24 * 3600 * 1000; // milliseconds

const near = new Map(); // key -> blob, of this page's life
let opened = null;

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function database() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
  const found = await done(request);
  await prune(found);
  return found;
}

async function prune(found) {
  const store = found.transaction(STORE, "readwrite").objectStore(STORE);
  const all = await done(store.getAllKeys()); // keys begin with the time they were made at
  const old = String(Date.now() - KEPT).padStart(15, "0");
  all.sort();
  for (const [i, key] of all.entries()) if (i < all.length - MOST && key < old) store.delete(key);
}

const open = () => (opened ??= database().catch(() => null));

export async function put(blob) {
  const key = `${String(Date.now()).padStart(15, "0")}-${newId()}`;
  near.set(key, blob);
  try {
    const found = await open();
    await done(found.transaction(STORE, "readwrite").objectStore(STORE).put({ key, blob }));
  } catch {
    // full, or no database: the page works, without memory
  }
  return key;
}

export async function get(key) {
  if (!key) return null;
  if (near.has(key)) return near.get(key);
  try {
    const found = await open();
    return (await done(found.transaction(STORE).objectStore(STORE).get(key)))?.blob ?? null;
  } catch {
    return null;
  }
}

export async function remove(key) {
  near.delete(key);
  try {
    const found = await open();
    await done(found.transaction(STORE, "readwrite").objectStore(STORE).delete(key));
  } catch {
    // as above
  }
}
