// Sends the files that are dropped or chosen, and shows what comes back. All text is set as text, never as markup.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  };
  const draw = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const say = (text) => { find("status").textContent = text; };
  const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
  const MOST_TRIES = 5;
  const SEXES = { female: "women", male: "men" };

  let card = null;
  let chosen = [];
  let latest = 0; // number of the request whose answer is waited for

  // As many decimals as the largest of the numbers needs.
  const digits = (...values) => {
    const size = Math.max(...values.filter((value) => value !== null).map(Math.abs));
    return size >= 100 ? 0 : size >= 10 ? 1 : 2;
  };
  const percent = (share) => share < 0.01 ? "< 1 %" : share > 0.99 ? "> 99 %" : `${Math.round(100 * share)} %`;
  const upper = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

  const ranges = (target, sex) => Object.entries(target.reference || {})
    .filter(([name, range]) => range && (!sex || name === sex));

  // Below or above all ranges that may apply; where the sex is not known, only what lies outside of both.
  const side = (value, known) => {
    if (!known.length) return "";
    if (known.every(([, range]) => value < range[0])) return "below";
    return known.every(([, range]) => value > range[1]) ? "above" : "";
  };

  const bar = (one, known) => {
    const ends = [one.value, one.low, one.high, ...known.flatMap(([, range]) => range)].filter((end) => end !== null);
    const low = Math.min(...ends), wide = Math.max(...ends) - low || 1;
    const x = (value) => 5 + 190 * (value - low) / wide;
    const svg = draw("svg", { viewBox: "0 0 200 22", preserveAspectRatio: "none", "aria-hidden": "true" });
    known.forEach(([, range], row) => {
      const height = 16 / known.length;
      svg.append(draw("rect", { class: "band", x: x(range[0]), y: 3 + row * height, width: x(range[1]) - x(range[0]), height: height - 1 }));
    });
    if (one.low !== null && one.high !== null) {
      svg.append(draw("line", { class: "interval", x1: x(one.low), x2: x(one.high), y1: 11, y2: 11 }));
    }
    svg.append(draw("rect", { class: "dot", x: x(one.value) - 2, y: 4, width: 4, height: 14 }));
    return svg;
  };

  const phenotypeRow = (one, target, sex) => {
    const head = make("th", { scope: "row" }, target.title || one.name);
    if (one.value === null) return make("tr", {}, head, make("td", { class: "value" }, "-"), make("td"), make("td", { class: "bar" }));
    const places = digits(one.value, one.low, one.high);
    const known = ranges(target, sex);
    const value = make("td", { class: "value" }, make("strong", {}, `${one.value.toFixed(places)} ${one.unit || ""}`.trim()));
    if (one.low !== null && one.high !== null) {
      value.append(make("br"), `${one.low.toFixed(places)} to ${one.high.toFixed(places)}`);
    }
    const where = side(one.value, known);
    const reference = make("td", { class: "reference" });
    known.forEach(([name, range], place) => {
      if (place) reference.append(make("br"));
      reference.append(`${SEXES[name] || name}: ${range[0].toFixed(digits(...range))} to ${range[1].toFixed(digits(...range))}`);
    });
    if (where) reference.append(" ", make("span", { class: "side" }, `${where} the range`));
    if (!known.length) reference.append("none");
    return make("tr", {}, head, value, reference, make("td", { class: "bar" }, bar(one, known)));
  };

  const phenotypeTables = (result, targets, sex) => {
    const groups = new Map();
    for (const one of result.phenotypes) {
      const target = targets.get(one.name) || {};
      const group = target.group || "Predictions";
      groups.set(group, [...(groups.get(group) || []), phenotypeRow(one, target, sex)]);
    }
    const level = result.phenotypes.map((one) => one.level).find((one) => one !== null);
    const interval = level ? `Value, ${Number((100 * level).toFixed(1))} % interval` : "Value";
    const heads = () => make("thead", {}, make("tr", {},
      make("th", { scope: "col" }, "Phenotype"), make("th", { scope: "col" }, interval),
      make("th", { scope: "col" }, "Reference range"),
      make("th", { scope: "col", class: "bar", "aria-hidden": "true" }, "")));
    return [...groups].map(([group, rows]) =>
      make("table", {}, make("caption", {}, group), heads(), make("tbody", {}, ...rows)));
  };

  const riskTable = (result, targets) => {
    if (!result.risks.length) return null;
    const rows = result.risks.map((one) => {
      const target = targets.get(one.name) || {};
      const isEvent = one.probability === null;
      const hazard = typeof one.relative_hazard === "number" ? `relative hazard ${Number(one.relative_hazard.toPrecision(3))}` : "-";
      const text = isEvent ? hazard : percent(one.probability) + (target.calibration ? "" : ", not calibrated");
      return make("tr", {}, make("th", { scope: "row" }, upper(target.title || one.name)), make("td", {}, text));
    });
    return make("table", {}, make("caption", {}, "Risks"), make("tbody", {}, ...rows));
  };

  const measured = (quality) => {
    const numbers = Object.entries(quality).filter(([name, value]) => typeof value === "number" && (name in card.measurements || name === "distance"));
    if (!numbers.length) return null;
    const list = make("dl");
    for (const [name, value] of numbers) {
      const { title, unit } = card.measurements[name] || { title: "distance from the training recordings", unit: "" };
      list.append(make("div", {}, make("dt", {}, upper(title)), make("dd", {}, `${value >= 100 ? Math.round(value) : Number(value.toPrecision(3))} ${unit}`.trim())));
    }
    return list;
  };

  const verdict = (result) => {
    const parts = [];
    if (result.refused) {
      parts.push(make("div", { class: "refusal" }, make("p", { class: "verdict alarm" }, "Refused: no prediction is given for this recording."),
        make("p", {}, `${upper(result.refused)}.`)));
    } else {
      parts.push(make("p", { class: "verdict" }, "Recording accepted."));
      if (result.in_distribution === true) parts.push(make("p", {}, "Like the training recordings."));
    }
    const quality = result.quality || {};
    const remarks = [...(quality.warnings || [])];
    // What else is said of single leads stands in the warnings, for all of them together.
    const derived = Object.entries(quality.leads || {}).filter(([, found]) => found.includes("derived")).map(([lead]) => lead);
    if (derived.length) remarks.push(`computed from other leads: ${derived.join(", ")}`);
    if (remarks.length) parts.push(make("ul", { "aria-label": "Remarks on the recording" }, ...remarks.map((text) => make("li", {}, upper(text)))));
    const numbers = measured(quality);
    return numbers ? [...parts, numbers] : parts;
  };

  const report = (result, targets, sex) => {
    const article = make("article", {}, make("h2", {}, result.file), ...verdict(result));
    if (result.tracing) {
      const picture = make("img", { src: result.tracing, alt: "Tracing of the recording: twelve leads in three rows and lead II below, 25 mm/s, 10 mm/mV" });
      article.append(make("div", { class: "tracing", tabindex: "0", role: "region", "aria-label": "Tracing" }, picture));
    }
    const risks = riskTable(result, targets);
    if (risks) article.append(risks);
    article.append(...phenotypeTables(result, targets, sex));
    article.append(make("p", { class: "note" }, `Model ${result.model.name}, version ${result.model.code_version}, weights ${result.model.sha256.slice(0, 12)}`));
    return article;
  };

  const failures = (failed) => make("article", { class: "failed" }, make("h2", {}, "Could not be read"),
    make("ul", {}, ...failed.map((one) => make("li", {}, one.reason.startsWith(one.file) ? one.reason : `${one.file}: ${one.reason}`))));

  const sent = async (number) => {
    const body = new FormData();
    for (const file of chosen) body.append("files", file);
    for (const field of find("person").querySelectorAll("select, input")) if (field.value) body.append(field.name, field.value);
    for (let attempt = 1; ; attempt += 1) {
      const answer = await fetch("/v1/predict?tracing=true", { method: "POST", body });
      if (answer.status !== 503 || attempt === MOST_TRIES || number !== latest) return answer;
      say("The server is busy; it is asked again in a moment.");
      await pause(Number(answer.headers.get("Retry-After")) || 2);
    }
  };

  const send = async () => {
    const size = chosen.reduce((sum, file) => sum + file.size, 0);
    if (!chosen.length) return;
    if (size > card.limits.request_bytes || chosen.length > card.limits.files) {
      say(`At most ${card.limits.files} files and ${Math.round(card.limits.request_bytes / 2 ** 20)} MB together can be sent.`);
      return;
    }
    latest += 1;
    const number = latest;
    const sex = find("sex").value;
    say(chosen.length === 1 ? "One file is being read." : `${chosen.length} files are being read.`);
    find("reports").replaceChildren();
    try {
      const answer = await sent(number);
      const content = await answer.json();
      if (number !== latest) return;
      const results = content.results || [], failed = content.failed || [];
      const targets = new Map(card.targets.map((target) => [target.name, target]));
      find("reports").append(...results.map((result) => report(result, targets, sex)));
      if (failed.length) find("reports").append(failures(failed));
      if (answer.ok) say(`Read: ${results.length}${failed.length ? `, not read: ${failed.length}` : ""}.`);
      else say(typeof content.detail === "string" ? `${upper(content.detail)}.` : `The server refused (${answer.status}).`);
      if (results.length) find("reports").focus({ preventScroll: true });
    } catch {
      if (number === latest) say("The server could not be reached, or a file has changed meanwhile; choose it again.");
    } finally {
      find("again").hidden = false;
    }
  };

  const choose = (files) => {
    chosen = [...files];
    send();
  };

  const start = async () => {
    try {
      card = await (await fetch("/v1/model")).json();
    } catch {
      say("The server could not be reached; load the page again.");
      return;
    }
    const subjects = card.training?.subjects?.train;
    find("model").textContent = `Model ${card.name}, version ${card.code_version}, weights ${card.sha256.slice(0, 12)}`
      + (subjects ? `, trained on ${subjects.toLocaleString("en")} subjects` : "");
    for (const name of card.covariates.filter((one) => one !== "sex")) {
      find("person").append(make("label", {}, `${upper(name.replaceAll("_", " "))} `, make("input", { type: "number", step: "any", name })));
    }
    if (!card.targets.length) {
      find("files").disabled = true;
      say("This model gives embeddings alone: send files to /v1/embed.");
      return;
    }
    const drop = find("drop");
    let inside = 0;
    const over = (change) => { inside += change; drop.classList.toggle("over", inside > 0); };
    for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault()); // else the file would be opened
    drop.addEventListener("dragenter", () => over(1));
    drop.addEventListener("dragleave", () => over(-1));
    drop.addEventListener("drop", (event) => { over(-inside); choose(event.dataTransfer.files); });
    find("files").addEventListener("change", (event) => { if (event.target.files.length) choose(event.target.files); });
    find("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
    document.body.dataset.ready = "yes";
  };
  start();
})();
