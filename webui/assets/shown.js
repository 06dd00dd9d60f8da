// What the settings let this page show.

export const shown = { title: true, pictures: true, batch: -1 };
