// Follows one job by server-sent events, and does not let go of it when the connection breaks.

const RETRY = 2000;

export function follow(job, panel, onUnknown) {
  const url = new URL(`atelier/watch/${job}`, document.baseURI);
  let source = null;
  let stopped = false;

  function connect() {
    if (stopped) return;
    source = new EventSource(url);
    source.onmessage = ({ data }) => {
      const report = JSON.parse(data);
      panel.update(report);
      if (report.over) source.close();
    };
    source.onerror = () => {
      panel.disconnected();
      if (source.readyState === EventSource.CLOSED) give(); // else the browser connects again by itself
    };
  }

  // Refused: because the job is not known, or by something between us and the server that may pass.
  async function give() {
    const answer = await fetch(url, { headers: { Accept: "application/json" } }).catch(() => null);
    answer?.body?.cancel();
    if (answer?.status !== 404) {
      setTimeout(connect, RETRY);
    } else if (!stopped) {
      onUnknown();
      panel.lost();
    }
  }

  connect();
  return () => {
    stopped = true;
    source.close();
  };
}
