// A sound and a notification of the browser when a job of this page is over.

let wanted = {};

export const allowNotifications = (settings) => (wanted = settings);

export function notify(tab, { state, message }) {
  if (wanted.notification_audio) sound(wanted.notification_volume / 100);
  if (!wanted.notification_popup || !document.hidden || window.Notification?.permission !== "granted") return;
  const words = { done: "The pictures are finished.", stopped: "Interrupted.", failed: message ?? "The job failed." };
  const body = window.localization?.translated(words[state]) ?? words[state];
  const shown = new Notification(`Atelier, ${tab}`, { body, tag: `atelier-${tab}` });
  shown.onclick = () => (window.focus(), shown.close());
}

export async function sound(volume) {
  const own = new Audio(new URL("atelier/notification.mp3", document.baseURI));
  own.volume = volume;
  await own.play().catch(() => chime(volume));
}

// Two soft tones, for those without a file of their own.
function chime(volume) {
  const audio = new AudioContext();
  [660, 880].forEach((frequency, i) => {
    const tone = new OscillatorNode(audio, { frequency });
    const gain = new GainNode(audio, { gain: 0 });
    const begin = audio.currentTime + 0.16 * i;
    gain.gain.setValueAtTime(0, begin);
    gain.gain.linearRampToValueAtTime(0.25 * volume, begin + 0.02);
    gain.gain.exponentialRampToValueAtTime(0.0001, begin + 0.5);
    tone.connect(gain).connect(audio.destination);
    tone.start(begin);
    tone.stop(begin + 0.5);
    if (i) tone.onended = () => audio.close();
  });
}
