// Text reaches the page as text nodes only: a file's name or a server's sentence is never markup.
"use strict";

const MAXIMUM_BYTES = 16 * 2 ** 20;
const ENDED = "no answer: has the program in the terminal ended?";
const find = (id) => document.getElementById(id);
const queue = [];
let busy = false, done = 0, refused = 0, unanswered = 0, asked = 0, said = "", round = 0;

function element(kind, attributes = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function picture(kind, source, description, caption) {
  const image = element("img", { src: source, alt: description, width: 224, height: 224 });
  return element("figure", { class: kind }, image, element("figcaption", {}, caption));
}

function verdict(opinion) {
  return element("span", { class: `verdict label-${opinion.label}` }, opinion.verdict);
}

function row(opinion) {
  const fill = element("div", { class: "fill" }), tick = element("span", { class: "tick" });
  fill.style.width = percent(opinion.probability).replace(" ", "");
  tick.style.left = percent(opinion.threshold).replace(" ", "");
  const rail = element("div", { class: "rail", "aria-hidden": "true" }, fill, tick);
  const value = element("span", { class: "value" }, percent(opinion.probability));
  return element("tr", { class: `${opinion.network === "ensemble" ? "ensemble " : ""}label-row` },
    element("th", { scope: "row" }, opinion.network),
    element("td", {}, verdict(opinion)),
    element("td", { class: "meter" }, element("div", { class: `track label-${opinion.label}` }, rail, value)),
    element("td", { class: "time" }, `${opinion.milliseconds.toFixed(0)} ms`));
}

function table(answer, name) {
  const heads = ["network", "verdict", `P(${answer.classes[1]})`, "time"].map((text, column) =>
    element("th", { scope: "col", class: ["", "", "meter", "time"][column] }, text));
  const caption = element("caption", { class: "hidden" }, `What each network says of ${name}: verdict, and probability of a ${answer.classes[1]}`);
  return element("table", {}, caption, element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...answer.opinions.map(row)));
}

function concerns(answer) {
  if (!answer.concerns.length) return [];
  const list = element("ul", {}, ...answer.concerns.map((concern) => element("li", {}, concern.text)));
  return [element("div", { class: "concerns" }, element("strong", {}, "Be careful: unlike the training cells"), list)];
}

function showAnswer(article, title, name, answer) {
  const ensemble = answer.opinions.at(-1), networks = answer.opinions.slice(0, -1);
  const head = element("div", { class: "head" }, title, verdict(ensemble),
    element("span", { class: "quiet" }, `ensemble, P(${answer.classes[1]}) ${percent(ensemble.probability)}`));
  const maps = networks.map((opinion) => picture("map", opinion.map,
    `Where ${opinion.network} looks in ${name}; its verdict is ${opinion.verdict}`, opinion.network));
  const pictures = element("div", { class: "pictures" },
    picture("crop", answer.crop, `The cell in ${name}, cropped as the networks see it`, "as the networks see it"), ...maps);
  article.replaceChildren(head, ...concerns(answer), pictures, table(answer, name));
}

async function read(file) {
  if (file.size > MAXIMUM_BYTES) throw new Error(`${file.name}: ${file.size} bytes: at most ${MAXIMUM_BYTES} are read`);
  try {
    return await file.arrayBuffer();
  } catch {
    throw new Error(`${file.name}: cannot be read: a folder, or changed since it was chosen`);
  }
}

async function classify(file) {
  const number = ++asked, mine = round;
  const title = element("h3", { id: `image-${number}` }, file.name);
  const article = element("article", { "aria-labelledby": `image-${number}` }, title);
  find("results").append(element("li", {}, article));
  find("results-section").hidden = find("clear").hidden = false;
  try {
    const body = await read(file);
    const response = await fetch(`/classify?name=${encodeURIComponent(file.name)}`, { method: "POST", body });
    const answer = await response.json();
    if (mine !== round) return; // cleared meanwhile: nobody waits for it any more
    if (!response.ok) throw new Error(answer.error);
    showAnswer(article, title, file.name, answer);
    said = `${file.name}: ${answer.opinions.at(-1).verdict}, says the ensemble.`;
    done += 1;
    if (find("state").classList.contains("failed")) showNetworks(); // the program was started again
  } catch (error) {
    if (mine !== round) return;
    const ended = error instanceof TypeError;
    if (ended) showState("failed", ENDED);
    article.append(element("p", { class: "problem", role: "alert" }, ended ? `${file.name}: ${ENDED}` : error.message));
    if (ended) unanswered += 1;
    else refused += 1;
  }
}

async function work() {
  if (busy) return;
  busy = true;
  while (queue.length) {
    find("news").textContent = `Classifying ${queue[0].name} … ${queue.length} to go.`;
    await classify(queue.shift());
  }
  busy = false;
  if (!done && !refused && !unanswered) return; // all of it was cleared
  const counts = [`${done} image${done === 1 ? "" : "s"} classified`];
  if (refused) counts.push(`${refused} refused`);
  if (unanswered) counts.push(`${unanswered} not answered`);
  find("news").textContent = `${counts.join(", ")}.` + (done === 1 && counts.length === 1 ? ` ${said}` : "");
}

function take(files) {
  queue.push(...files);
  work();
}

function card(network) {
  const rows = network.rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element("details", {}, element("summary", {}, `Card of ${network.network}`), element("dl", {}, ...rows));
}

function showState(kind, text) {
  find("state").classList.remove("ready", "failed");
  find("state").classList.add(kind);
  find("state-text").textContent = text;
}

async function showNetworks() {
  try {
    const response = await fetch("/networks");
    const answer = await response.json();
    if (response.status === 503) return void setTimeout(showNetworks, 200);
    const count = answer.networks.length;
    showState("ready", `${count} network${count === 1 ? "" : "s"} ready, ${answer.variant}, ${answer.provider}`);
    find("trained").textContent = `Trained on: ${answer.dataset}.`;
    for (const place of document.querySelectorAll("[data-label]")) place.textContent = answer.classes[place.dataset.label];
    find("cards").replaceChildren(...answer.networks.map(card));
    find("limits").replaceChildren(...answer.limits.map((limit) => element("li", {}, limit)));
    find("citation").textContent = `Data: ${answer.citation}`;
    find("cards-section").hidden = false;
  } catch {
    showState("failed", ENDED);
  }
}

find("files").addEventListener("change", (event) => { take(event.target.files); event.target.value = ""; });
find("clear").addEventListener("click", () => {
  queue.length = done = refused = unanswered = 0;
  round += 1;
  find("results").replaceChildren();
  find("results-section").hidden = find("clear").hidden = true;
  find("news").textContent = "Cleared.";
  find("files").focus();
});
for (const kind of ["dragover", "drop", "dragleave"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
showNetworks();
