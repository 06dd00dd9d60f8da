// Several jobs, one for each picture of a batch, shown as if they were one.

import { FIRST_MAP } from "./gallery.js";
import { shown } from "./shown.js";
import { follow } from "./watch.js";

// Follows them in turn and tells `panel` of the whole; answers with a function that stops it.
export function followAll(jobs, panel, onUnknown) {
  let stop = () => {};
  let offset = 0; // pictures of the jobs before
  const troubles = [];
  const states = [];
  let took = 0;

  const next = () => {
    const at = states.length;
    let seen = 0;
    const part = {
      update(report) {
        const own = report.pictures.filter(({ position }) => position < FIRST_MAP);
        seen = Math.max(seen, ...own.map(({ position }) => position + 1));
        const all = own.map((picture) => ({ ...picture, position: picture.position + offset }));
        const pictures = shown.batch < 0 ? all : all.filter(({ position }) => position < shown.batch);
        const last = at === jobs.length - 1;
        if (report.over) {
          states.push(report.state);
          took += report.took ?? 0;
          if (report.state === "failed") troubles.push(report.message);
        }
        panel.update({
          ...report,
          job: jobs.join(","),
          source: report.job, // whose preview it is
          pictures,
          made: offset + seen,
          over: report.over && last,
          state: report.over ? (last ? whole(states) : "running") : report.state,
          fraction: (at + (report.over ? 1 : report.fraction)) / jobs.length,
          left: null, // the pictures to come may be of other sizes
          count: report.count * jobs.length,
          message: last ? troubles[0] ?? report.message : null,
          took: last ? took : null,
        });
        if (report.over && !last) {
          offset += seen;
          next();
        }
      },
      disconnected: () => panel.disconnected(),
      lost: () => panel.lost(),
    };
    stop = follow(jobs[at], part, onUnknown);
  };

  next();
  return () => stop();
}

const whole = (states) => ["failed", "stopped"].find((state) => states.includes(state)) ?? "done";
