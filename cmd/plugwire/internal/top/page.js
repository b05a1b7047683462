
"use strict";
// Replaces the table by that of a new page, without a flicker. A page that cannot be had
// leaves the last one, greyed out.
const interval = Number(document.body.dataset.interval);
async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.body.dataset.refreshes++;
  } catch {
    document.querySelector("main").classList.add("stale");
  }
  setTimeout(refresh, interval);
}
setTimeout(refresh, Math.min(interval, 500));
