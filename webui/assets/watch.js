// Follows one job by server-sent events, and does not let go of it when the connection breaks or falls silent (the server tells
// something every 5 seconds), or when something in between gathers events up, as some tunnels do: then it asks every 2 seconds.

const RETRY = 2000;
const FIRST = 6000; // the first event comes at once, the others every 5 seconds
const SILENCE = 12000;
const PATIENCE = 4000; // for one answer
const ASKED = 30; // answers before events are tried again where none came through

export function follow(job, panel, onUnknown) {
  const url = new URL(`atelier/watch/${job}`, document.baseURI);
  const once = new URL(`${url}?once=true`);
  let source = null;
  let timer = 0;
  let through = false; // events came through, the last time
  let asked = 0;

  const stop = () => {
    clearTimeout(timer);
    timer = null;
    source?.close();
  };
  const later = (work, time) => {
    if (timer === null) return;
    clearTimeout(timer);
    timer = setTimeout(work, time);
  };
  const take = (report) => {
    if (report.over) stop();
    panel.update(report);
  };

  function connect() {
    through = false;
    source = new EventSource(url);
    later(ask, FIRST);
    source.onmessage = ({ data }) => {
      through = true;
      later(ask, SILENCE);
      take(JSON.parse(data));
    };
    source.onerror = () => {
      panel.disconnected();
      if (source.readyState === EventSource.CLOSED) later(ask, 0); // refused; else the browser connects again by itself
    };
  }

  async function ask() {
    source.close();
    const answer = await fetch(once, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE) }).catch(() => null);
    const report = answer?.ok ? await answer.json().catch(() => null) : null;
    if (timer === null) return;
    if (answer?.status === 404) {
      stop();
      onUnknown();
      return panel.lost();
    }
    if (!report) {
      panel.disconnected();
      return later(ask, RETRY);
    }
    take(report);
    if (!through && ++asked < ASKED) return later(ask, RETRY);
    asked = 0;
    if (timer !== null) connect();
  }

  connect();
  return stop;
}
