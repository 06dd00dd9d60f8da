// Follows one job by server-sent events. The browser connects again by itself when the connection breaks.

export function follow(job, panel, onUnknown) {
  const source = new EventSource(new URL(`atelier/watch/${job}`, document.baseURI));
  source.onmessage = ({ data }) => {
    const report = JSON.parse(data);
    panel.update(report);
    if (report.over) source.close();
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CONNECTING) {
      panel.disconnected();
      return;
    }
    onUnknown();
    panel.lost();
  };
  return () => source.close();
}
