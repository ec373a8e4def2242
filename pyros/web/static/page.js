"use strict";
// Keeps the page alive: parts as the server renders them, ages and the clock by the daemon's clock, and a loud word when it is silent.
(() => {
  const $ = (id) => document.getElementById(id);
  const body = document.body;
  const given = body.dataset;
  const shown = {};
  let critical = JSON.parse(given.critical);
  let clock = { now: given.now, speed: +given.speed, quiet_s: given.quietS === "" ? null : +given.quietS, away_s: +given.awayS };
  let heard = performance.now();

  const sinceHeard = () => (performance.now() - heard) / 1000;
  const nowMs = () => Date.parse(clock.now) + sinceHeard() * clock.speed * 1000;

  const spanText = (seconds) => {
    const s = Math.floor(Math.abs(seconds)), two = (n) => String(n).padStart(2, "0");
    if (s < 60) return `${s} s`;
    if (s < 600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
    return `${Math.floor(s / 86400)} d`;
  };
  const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };

  const tickAge = (time, now) => {
    const age = (now - Date.parse(time.dateTime)) / 1000, limit = time.dataset.staleS;
    const stale = limit !== undefined && age > +limit, holder = time.closest("[data-fresh]");
    write(time, (age > -1 ? `${spanText(age)} ago` : `in ${spanText(age)}`) + (stale ? ", stale" : ""));
    if (limit === undefined || !holder) return;
    const fresh = stale ? "no" : "yes";
    if (holder.dataset.fresh !== fresh) holder.dataset.fresh = fresh;
  };
  const tickPresent = (svg, now) => {
    const from = Date.parse(svg.dataset.start), share = (now - from) / (Date.parse(svg.dataset.end) - from);
    const line = svg.querySelector(".present"), x = (share * svg.viewBox.baseVal.width).toFixed(1);
    line.setAttribute("visibility", share >= 0 && share <= 1 ? "visible" : "hidden");
    for (const end of ["x1", "x2"]) line.setAttribute(end, x);
  };
  const tick = () => {
    const now = nowMs(), quiet = clock.quiet_s === null ? null : clock.quiet_s + sinceHeard();
    for (const time of document.querySelectorAll("time[data-ago]")) tickAge(time, now);
    for (const svg of document.querySelectorAll("svg[data-start]")) tickPresent(svg, now);
    write($("utc"), new Date(now).toISOString().slice(11, 19));
    const away = quiet === null || quiet > clock.away_s;
    body.toggleAttribute("data-away", away);
    $("away").hidden = !away;
    if (away) write($("quiet"), quiet === null ? "yet" : `for ${spanText(quiet)}`);
  };

  const hear = (update) => {
    clock = update;
    heard = performance.now();
    $("speed").hidden = clock.speed === 1;
    write($("speed"), `clock ×${clock.speed}`);
    for (const [id, html] of Object.entries(update.parts ?? {})) if (shown[id] !== html) $(id).innerHTML = shown[id] = html;
    if (update.title) document.title = update.title;
    if (update.critical) {
      const fresh = Object.keys(update.critical).filter((key) => !(key in critical));
      critical = update.critical;
      if (fresh.length) write($("announce"), fresh.map((key) => critical[key]).join(". "));
    }
    tick();
  };
  const reload = async () => {
    const answer = await fetch("/snapshot.json").catch(() => null);
    if (answer?.status === 401) location.assign("/login");
    else if (answer?.ok) hear(await answer.json());
    return answer?.ok;
  };
  const listen = () => {
    const source = new EventSource("/events");
    source.onopen = reload;
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) reload().then(() => setTimeout(listen, 5000));
    };
    source.addEventListener("Reload", reload);
    for (const tag of ["Clock", ...given.tags.split(" ")]) source.addEventListener(tag, (event) => hear(JSON.parse(event.data)));
  };

  document.addEventListener("error", (event) => event.target.classList?.add("missing"), true);
  setInterval(tick, 1000);
  tick();
  listen();
})();
